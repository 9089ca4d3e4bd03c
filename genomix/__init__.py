"""genomix: genetic variants and health records of the same people, one leakage-safe feature frame, explained models.

The library's rooms are layered and imports point down only; see ``docs/explanation/architecture.md``.
"""

__version__ = "0.1.0"
