"""The encoder: one pass over a cube, and the search for the step that a rate or a bound asks for."""
