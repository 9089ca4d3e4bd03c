"""L5: boosted and linear models, metrics with intervals, calibration, the ladder, model bundles."""
