"""Which voxels to distrust: those a caller marks, stuck ones, and those that a pixel's other bands contradict."""
