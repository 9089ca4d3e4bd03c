"""L4: split before anything is fitted, feature families, fitted transforms, the feature matrix."""
