"""One feature family per file; the registry finds a module's ``FAMILY``."""
