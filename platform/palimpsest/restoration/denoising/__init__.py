"""Noise taken off measured voxels, and what must not go with it."""
