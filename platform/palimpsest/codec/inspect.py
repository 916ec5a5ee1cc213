"""What a stream says of itself, and whether it is true: without decoding, or with everything decoded and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from palimpsest.codec.container.stream import TRAILER, WHOLE, WORST, open_stream
from palimpsest.codec.integers.sampling import voxel_reasons
from palimpsest.cubes.window import tiles
from palimpsest.errors import StreamCorrupt, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.codec.contract import FeatureJudge, LabelJudge
    from palimpsest.cubes import Cube, Window

STRIP = 128  # side of the squares in which features are measured


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


def verify(
    path: Path | str, judge: LabelJudge | None = None, original: Cube | None = None
) -> dict[str, object]:
    """Check every promise that the stream carries.

    Decodes everything: section checksums, the hash of each tile's decoded values, the hash of the file, and, where
    the stream certifies labels and a judge of the same release is given, every label. How deep features were before
    is not in the stream: with the original their depths are compared one by one, without it the decoded values, whose
    hashes agree, are those that were measured when the certificate was written.

    Raises:
        StreamCorrupt: any of it does not hold.
    """
    from palimpsest.codec.container import worst
    from palimpsest.codec.decoder import decode
    from palimpsest.codec.label_map import read_labels

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
    if stream.has(WORST, WHOLE):
        found["worst_errors"] = worst.check(path, cube, worst.certified(stream), original)
    certificate = stream.head.get("certificate")
    if not isinstance(certificate, dict):
        return found
    keeps_labels, features = "agreement" in certificate, certificate.get("features")
    same = judge is not None and certificate.get("release") == judge.release
    unrepeated = "certified; not repeated, for want of the release"
    if judge is not None and not same:
        unrepeated = f"certified under another release: {certificate.get('release')}"
    read_labels(path)  # the map itself agrees with its hash, whoever judges
    if keeps_labels:
        found["labels"] = _check_labels(path, cube, judge) if same and judge is not None else unrepeated
    if isinstance(features, dict):
        found["features"] = unrepeated
        if same and judge is not None:
            found["features"] = _check_features(path, cube, features, cast("FeatureJudge", judge), original)
    return found


def _check_features(
    path: Path | str, cube: Cube, promised: dict[str, object], judge: FeatureJudge, original: Cube | None
) -> str:
    tolerance = float(str(promised["tolerance"]))
    if original is None:
        return f"certified within {tolerance}; the original (--original CUBE) is needed to measure again"
    if original.shape != cube.shape:
        raise UsageError("another cube than was encoded", got=tuple(original.shape), wanted=tuple(cube.shape))
    checked, worst = 0, 0.0
    for window in tiles(cube.shape.rows, cube.shape.cols, STRIP):
        before, counts = _features(judge, original, original, window)
        after, _ = _features(judge, cube, original, window)
        off = np.abs(np.nan_to_num(after) - before)[counts] / np.abs(before[counts])
        checked, worst = checked + off.size, max(worst, float(off.max(initial=0)))
    if worst > tolerance or checked != promised.get("checked"):
        raise StreamCorrupt(
            "features are not as deep as was certified", where=path, got=f"{checked} features, worst {worst:.4g}",
            wanted=f"{promised.get('checked')} features, worst {tolerance}",
        )
    return f"all {checked} depths within {tolerance}, worst {worst:.4g}"


def _features(
    judge: FeatureJudge, cube: Cube, read_as: Cube, window: Window
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    part = cube.window(window)
    spectra = np.asarray(part.data).reshape(part.shape.bands, -1).T
    void = voxel_reasons(read_as, window).reshape(part.shape.bands, -1).T != 0
    return judge.features_of(spectra, read_as, ~void)


def _check_labels(path: Path | str, cube: Cube, judge: LabelJudge) -> str:
    from palimpsest.codec.label_map import read_labels

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
