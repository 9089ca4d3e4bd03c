"""One command (or command group) per file; heavy imports stand inside the function bodies."""
