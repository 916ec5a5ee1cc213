"""What missions say of their own voxels, as mask reasons.

EMIT: ``band_mask`` (one bit a band, the most significant first, set where the mission interpolated) and the cloud and
cirrus flags of ``mask``, in the cube's file or in the product ``..._MASK_...`` beside ``..._RFL_...``.
EnMAP: ``-QL_PIXELMASK*`` (1: a defective pixel of a band) and ``-QL_QUALITY_CLOUD`` (1: cloud) beside
``-SPECTRAL_IMAGE``. PRISMA: ``*_PIXEL_L2_ERR_MATRIX``, see :mod:`palimpsest.formats.prisma`.

A cloud is no defect and its voxels keep their values; it is a reason not to take them for the ground. The numbers are
those of the quality flags in ``ontologies/palimpsest_ontologies/defects.ttl`` (a test holds them together).

Sources: EMIT L2A user guide (JPL D-104239) and its tutorials' ``quality_mask``; EnMAP product specification
(EN-PCV-ICD-2009), quality layers; PRISMA product specification (ASI, issue 2.3), error matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.cubes import Reason
from palimpsest.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import CubeShape
    from palimpsest.formats.cf import Variable

# Layer, value -> reason; what no line names is usable.
FLAGS: dict[tuple[str, int], Reason] = {
    ("band_mask", 1): Reason.INTERPOLATED,
    ("mask", 1): Reason.CLOUD,
    ("QL_PIXELMASK", 1): Reason.DEAD,
    ("QL_QUALITY_CLOUD", 1): Reason.CLOUD,
    ("PIXEL_L2_ERR_MATRIX", 1): Reason.DEAD,
    ("PIXEL_L2_ERR_MATRIX", 2): Reason.NOISY,
    ("PIXEL_L2_ERR_MATRIX", 3): Reason.SATURATED,
}
EMIT_CLOUDS = ("cloud flag", "cirrus flag")
_IMAGE = "SPECTRAL_IMAGE"


def reasons_of(layer: str, values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Reasons of a mission's layer, of the same shape."""
    found = np.zeros(values.shape, np.uint8)
    for (name, value), reason in FLAGS.items():
        if name == layer:
            found[values == value] = reason
    return found


def joined(first: NDArray[np.uint8] | None, second: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Two masks as one, the first having the last word; None where nothing is flagged."""
    both = second if first is None else np.where(first > 0, first, second)
    return both if both.any() else None


def emit_reasons(
    variables: Mapping[str, Variable], words: Sequence[str], shape: CubeShape, path: Path
) -> NDArray[np.uint8] | None:
    """Mask reasons ``(band, row, col)`` from EMIT's own variables; None where there are none.

    Args:
        variables: of the cube's file or of the mask product, by path.
        words: what the layers of ``mask`` are called there.
        shape: of the cube.
        path: for messages.

    Raises:
        FormatError: a mask of another shape than the cube.
    """
    found: NDArray[np.uint8] | None = None
    packed = variables.get("band_mask")
    if packed is not None and packed.dtype == np.uint8 and len(packed.shape) == 3:
        if packed.shape[:2] != shape[1:] or 8 * packed.shape[2] < shape.bands:
            raise FormatError("band_mask of another shape", where=path, got=packed.shape, wanted=f"{shape[1:]} pixels")
        bits = np.unpackbits(np.asarray(packed.load()), axis=-1)[..., : shape.bands]
        found = joined(None, reasons_of("band_mask", bits.transpose(2, 0, 1)))
    flags = variables.get("mask")
    if flags is not None and len(flags.shape) == 3 and flags.shape[2] == len(words):
        if flags.shape[:2] != shape[1:]:
            raise FormatError("mask of another shape", where=path, got=flags.shape, wanted=f"{shape[1:]} pixels")
        clouds = [place for place, word in enumerate(words) if word.strip().lower() in EMIT_CLOUDS]
        if clouds:
            cloudy = (np.asarray(flags.load())[..., clouds] == 1).any(axis=-1)
            found = joined(found, np.broadcast_to(reasons_of("mask", cloudy.astype(np.uint8)), tuple(shape)))
    return found


def beside_emit(path: Path) -> Path | None:
    """The mask product that lies beside an EMIT reflectance or radiance product; None where none does."""
    for what in ("_RFL_", "_RAD_"):
        if what in path.name:
            other = path.with_name(path.name.replace(what, "_MASK_", 1))
            return other if other.is_file() else None
    return None


def beside_enmap(path: Path) -> dict[str, list[Path]]:
    """EnMAP's quality layers beside a spectral image: layer name to its files, VNIR before SWIR."""
    if _IMAGE not in path.name:
        return {}
    stem, _, _ = path.name.partition(_IMAGE)
    found: dict[str, list[Path]] = {}
    for layer in ("QL_PIXELMASK", "QL_QUALITY_CLOUD"):
        # VNIR comes after SWIR in the alphabet, and before it in wavelength.
        files = sorted(path.parent.glob(f"{stem}{layer}*"), key=lambda one: ("SWIR" in one.name, one.name))
        found[layer] = [one for one in files if one.suffix.lower() in (".tif", ".tiff")]
    return {layer: files for layer, files in found.items() if files}


def layer_reasons(layer: str, values: NDArray[np.generic], shape: CubeShape, path: Path) -> NDArray[np.uint8]:
    """Reasons ``(band, row, col)`` of one quality layer, of every band or of whole pixels.

    Raises:
        FormatError: a layer of another shape.
    """
    if values.shape[1:] != shape[1:] or values.shape[0] not in (1, shape.bands):
        raise FormatError("a quality layer of another shape", where=path, got=values.shape, wanted=tuple(shape))
    return np.broadcast_to(reasons_of(layer, values), tuple(shape))
