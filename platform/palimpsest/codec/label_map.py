"""The label map that a stream with kept labels carries: what is where, without decoding a spectrum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.codec.container.damage import refusing
from palimpsest.codec.container.header import checked_plan
from palimpsest.codec.container.stream import LABELS, open_stream
from palimpsest.codec.keeping.refinement import map_digest, unpack_labels
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.container.stream import Stream


def read_labels(path: Path | str) -> tuple[tuple[str, ...], NDArray[np.uint16]]:
    """Names of the labels, and the index of each pixel's, ``(row, col)`` uint16.

    Raises:
        StreamCorrupt: the stream carries no label map, or a damaged one.
    """
    stream = open_stream(Path(path))
    with refusing(stream):
        return _read(stream)


def _read(stream: Stream) -> tuple[tuple[str, ...], NDArray[np.uint16]]:
    path = stream.path
    certificate = stream.head.get("certificate")
    if not isinstance(certificate, dict) or not stream.has(LABELS):
        raise StreamCorrupt("the stream carries no label map", where=path, wanted="one made with --keep labels")
    bands, rows, cols = checked_plan(stream).shape
    labels, _, _ = unpack_labels(stream.read(LABELS), rows, cols, bands)
    if certificate.get("map", "") not in ("", map_digest(labels)):  # the first streams did not say
        raise StreamCorrupt("the label map is not the one that was certified", where=path)
    names = tuple(str(name) for name in certificate.get("labels", ()))
    if int(labels.max()) >= len(names):
        raise StreamCorrupt("label without a name", where=path, got=int(labels.max()), wanted=f"below {len(names)}")
    return names, labels.astype(np.uint16)
