"""One tile: its planes to code and back."""
