"""A foreign vocabulary or spectral library mapped onto a release, with what speaks for each candidate."""
