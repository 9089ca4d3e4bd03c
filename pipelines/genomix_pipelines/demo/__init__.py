"""The demo study: real genotypes, SIMULATED health records and outcome."""
