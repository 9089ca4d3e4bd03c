"""L6: exact attributions and the chain from a feature back to records and variants."""
