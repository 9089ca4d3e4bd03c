"""One stage per file; the registry finds a module's ``STAGE``."""
