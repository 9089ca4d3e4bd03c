"""L1: one frame per file: columns, dtypes, units, nullability, and ``validate``."""
