"""The stream: spectral level, spatial levels, allocation, contexts, range coder, error bound.

``encoder.encode`` and ``decoder.decode`` are the two doors; ``reader.open_stream`` reads pixels, windows and levels,
``inspect`` looks at a stream without decoding it, ``label_map`` at the labels that it carries; ``contract`` says what
may be asked for.

Behind them are rooms, and each uses only rooms named before it: ``quantisation``, ``space``, ``entropy``, ``quick``,
``spectrum``, ``integers``, ``tiles``, ``container``, ``encoding``, ``keeping``. ``encoding`` is the encoder's alone.
"""
