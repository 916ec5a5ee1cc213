"""What the codec promises and what it needs from others, as types.

The codec takes the importance map as a value and the judge of its closed loop as a protocol, so that neither
encoding without knowledge nor decoding at all imports ``palimpsest.knowledge``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube

Mode = Literal["rate", "bound", "lossless"]


class LabelJudge(Protocol):
    """Says which material each pixel is; the closed loop of ``--keep labels`` asks it again and again."""

    @property
    def release(self) -> str:
        """Hash of the knowledge release that the labels stand on."""
        ...

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label; label 0 is 'unnamed'."""
        ...

    def labels(self, cube: Cube) -> NDArray[np.uint16]:
        """Label of each pixel, ``(row, col)``; 0 where nothing is named."""
        ...

    def labels_of(
        self, spectra: NDArray[np.generic], cube: Cube, usable: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint16]:
        """Labels of single spectra ``(spectrum, band)`` of a cube's bands: what :meth:`labels` would say of them."""
        ...

    def decision_bands(self, cube: Cube, labels: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Bands that a pixel's label hangs on, ``(label, band)``: what to refine when the label flipped."""
        ...


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How to encode.

    Args:
        mode: 'rate', 'bound' or 'lossless'.
        bpppc: target in bits per pixel per channel (rate mode; with ``keep_labels``, a ceiling or None).
        max_error: largest absolute error in stored units (bound mode).
        strength: 0 is uniform weights, 1 the full importance map.
        effort: 1 fastest ... 9 may tune to the cube.
        keep_labels: run the closed loop until every label is the original's.
        trained_levels: which spatial levels use their trained networks (ablation); None is all.
        model: name of the installed weights; '' is the default (a model that did not see a scene measures it).
        workers: tiles worked on at a time; 0 is as many as processors may be used. The stream is the same.
        tile: side of a tile in pixels, a multiple of 8; 0 chooses it by the rate.
    """

    mode: Mode = "rate"
    bpppc: float | None = 0.5
    max_error: float | None = None
    strength: float = 0.5
    effort: int = 5
    keep_labels: bool = False
    trained_levels: tuple[int, ...] | None = None
    model: str = ""
    workers: int = 0
    tile: int = 0


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What came out.

    Args:
        size: bytes of the whole stream.
        bpppc: 8 x size / voxels.
        psnr_db: peak = the cube's maximum over usable voxels.
        max_error: largest absolute error over usable voxels, stored units.
        labels_kept: share of pixels whose label is the original's; None when not asked.
        stream_sha256: of the whole stream.
    """

    size: int
    bpppc: float
    psnr_db: float
    max_error: float
    labels_kept: float | None
    stream_sha256: str
