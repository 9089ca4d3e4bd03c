"""L3: health records: cohort, labels, windows, codes, units, quality."""
