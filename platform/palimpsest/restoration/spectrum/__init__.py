"""What a pixel's own observed bands say of its gaps: interpolation, kernels, kriging along the spectrum."""
