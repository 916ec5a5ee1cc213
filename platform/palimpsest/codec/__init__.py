"""The stream: spectral level, spatial levels, allocation, contexts, range coder, error bound.

``encoder.encode`` and ``decoder.decode`` are the two doors; ``inspect`` looks at a stream without decoding it.
"""
