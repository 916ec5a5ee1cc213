"""The stream: spectral level, spatial levels, allocation, contexts, range coder, error bound."""
