"""One report section per file; the registry finds a module's ``SECTION``."""
