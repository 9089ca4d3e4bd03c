"""Compiled kernels of the readers; importing one loads numba (0.5 CPU s), so each is imported where it is used."""
