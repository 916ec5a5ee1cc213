"""What a stream says of itself, and whether it is true: without decoding, or with everything decoded and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.codec.stream import TRAILER, open_stream
from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from palimpsest.codec.contract import LabelJudge


def describe(path: Path | str) -> dict[str, object]:
    """The head of a stream in words; reads a few hundred bytes and imports no kernels.

    Raises:
        StreamCorrupt: not a stream, or a damaged head.
    """
    stream = open_stream(Path(path))
    head = stream.head
    shape = [int(n) for n in head.get("shape", (0, 0, 0))]
    voxels = max(1, shape[0] * shape[1] * shape[2])
    found: dict[str, object] = {
        "kind": "Palimpsest stream", "name": head.get("name", ""), "bands": shape[0], "rows": shape[1],
        "cols": shape[2], "dtype": head.get("dtype"), "mode": head.get("mode"), "bytes": stream.size,
        "bpppc": 8 * stream.size / voxels, "tiles": len(stream.tile_hashes), "components": head.get("components"),
        "step": head.get("step"), "strength": head.get("strength", 0.0), "release": head.get("release", ""),
        "model": head.get("model", "") or "hand-made levels", "units": head.get("units", ""),
        "georeferenced": "geotransform" in head, "history": head.get("history", []),
    }
    if "wavelengths" in head:
        found["wavelengths_nm"] = head["wavelengths"]
    if "max_error" in head:
        found["max_error"] = head["max_error"]
    if "certificate" in head:
        found["certificate"] = head["certificate"]
    return found


def verify(path: Path | str, judge: LabelJudge | None = None) -> dict[str, object]:
    """Check every promise that the stream carries.

    Decodes everything: section checksums, the hash of each tile's decoded values, the hash of the file, and, where
    the stream certifies labels and a judge of the same release is given, every label.

    Raises:
        StreamCorrupt: any of it does not hold.
    """
    from palimpsest.codec.decoder import decode

    stream = open_stream(Path(path))
    size = Path(path).stat().st_size
    if size != stream.size:
        raise StreamCorrupt("stream is cut or has grown", where=path, got=f"{size} bytes", wanted=f"{stream.size}")
    digest = stream.sha256()
    for kind, tile in stream.sections:
        stream.read(kind, tile)
    cube = decode(path)
    found: dict[str, object] = {
        "sections": len(stream.sections), "tiles": len(stream.tile_hashes), "body_sha256": digest,
        "decoded_values": "agree with their hashes", "trailer_bytes": TRAILER,
    }
    certificate = stream.head.get("certificate")
    if isinstance(certificate, dict) and judge is not None:
        found["labels"] = _check_labels(path, cube, certificate, judge)
    elif isinstance(certificate, dict):
        found["labels"] = "certified; not repeated, for want of the release"
    return found


def _check_labels(path: Path | str, cube: object, certificate: dict[str, object], judge: LabelJudge) -> str:
    from palimpsest.codec.label_map import read_labels
    from palimpsest.cubes import Cube

    assert isinstance(cube, Cube)
    if certificate.get("release") != judge.release:
        return f"certified under another release: {certificate.get('release')}"
    names, promised = read_labels(path)
    judged = judge.labels(cube)
    table = list(judge.label_names)
    wrong = sum(
        int((judged[promised == index] != table.index(name)).sum()) if name in table else int((promised == index).sum())
        for index, name in enumerate(names)
    )
    if wrong:
        raise StreamCorrupt("labels are not those that were certified", where=path, got=f"{wrong} pixels", wanted="0")
    return f"all {judged.size} agree"
