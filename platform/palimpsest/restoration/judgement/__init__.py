"""Whom to believe in each cell, and the judgement carried out voxel by voxel as named contributions."""
