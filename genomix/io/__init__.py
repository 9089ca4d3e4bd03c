"""L2: one format per file: file to validated frame or genotype blocks, and back."""
