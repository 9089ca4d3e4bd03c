"""L3: genotype mathematics: quality control, Hardy-Weinberg, kinship, principal components, scores."""
