"""Which source changed which voxel, packed, hashed and kept."""
