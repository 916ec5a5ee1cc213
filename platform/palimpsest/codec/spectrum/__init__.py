"""Level 0: the spectral basis, how it is told, which of its components are sent, and what an error weighs."""
