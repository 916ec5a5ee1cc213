"""What knowledge says: which materials a scene's spectra are, mixtures and models of them in its light, rules."""
