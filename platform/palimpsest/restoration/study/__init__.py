"""A scene looked at once: who may propose a value, and what trials on voxels of known truth say of each."""
