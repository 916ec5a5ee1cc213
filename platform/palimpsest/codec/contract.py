"""What the codec promises and what it needs from others, as types.

The codec takes the importance map as a value and the judge of its closed loop as a protocol, so that neither
encoding without knowledge nor decoding at all imports ``palimpsest.knowledge``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube

Mode = Literal["rate", "bound", "lossless"]
EXACT_MODES = ("bound", "lossless")


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


class FeatureJudge(LabelJudge, Protocol):
    """Also measures how deep the diagnostic features are; ``--keep features=D`` asks it."""

    def features_of(
        self, spectra: NDArray[np.generic], cube: Cube, usable: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Depth of every diagnostic feature, and whether it counts, each ``(spectrum, feature)``.

        A depth is NaN where there is no such feature. A feature counts where a material that it is diagnostic of
        passes all its rules, the one named among them.
        """
        ...

    def feature_bands(self, cube: Cube) -> tuple[NDArray[np.intp], ...]:
        """Stored bands of each feature between its shoulders, by wavelength; at least one."""
        ...


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How to encode.

    Args:
        mode: 'rate', 'bound' or 'lossless'.
        bpppc: target in bits per pixel per channel (rate mode; of what is kept a ceiling, or None for the least).
        max_error: largest absolute error in stored units (bound mode), for all bands or one for each.
        strength: 0 is uniform weights, 1 the full importance map.
        effort: 1 the quick coder (in rate mode), 2 one pass of the trellis, 3 to 9 two.
        keep_labels: run the closed loop until every label is the original's.
        keep_depths: largest relative error of a diagnostic feature's depth; run the closed loop until none is larger.
        trained_levels: which spatial levels use their trained networks (ablation); None is all.
        model: name of the installed weights; '' is the default (a model that did not see a scene measures it).
        workers: tiles worked on at a time; 0 is as many as processors may be used. The stream is the same.
        tile: side of a tile in pixels, a multiple of 8; 0 chooses it by the rate.
    """

    mode: Mode = "rate"
    bpppc: float | None = 0.5
    max_error: float | tuple[float, ...] | None = None
    strength: float = 0.5
    effort: int = 5
    keep_labels: bool = False
    keep_depths: float | None = None
    trained_levels: tuple[int, ...] | None = None
    model: str = ""
    workers: int = 0
    tile: int = 0

    @property
    def keeps(self) -> bool:
        """Whether a closed loop runs."""
        return self.keep_labels or self.keep_depths is not None


def asked_to_keep(text: str) -> tuple[bool, float | None]:
    """Whether labels are to be kept, and how well depths are, of 'labels', 'features=D', both with a comma, or ''.

    Raises:
        UsageError: anything else.
    """
    labels, depths = False, None
    for word in text.split(",") if text else ():
        name, _, value = word.partition("=")
        share = float(value) if name == "features" and re.fullmatch(r"[0-9]*\.?[0-9]+(e-?[0-9]+)?", value) else 0.0
        if word == "labels":
            labels = True
        elif 0 < share < 1:
            depths = share
        else:
            wanted = "labels, features=D with D between 0 and 1, or both with a comma"
            raise UsageError("cannot keep that", got=repr(word), wanted=wanted)
    return labels, depths


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What came out.

    Args:
        size: bytes of the whole stream.
        bpppc: 8 x size / voxels.
        psnr_db: peak = the cube's maximum over usable voxels.
        max_error: largest absolute error over usable voxels, stored units.
        labels_kept: share of pixels whose label is the original's; None when not asked.
        depth_error: largest relative error of a diagnostic feature's depth; None when not asked.
        stream_sha256: of the whole stream.
    """

    size: int
    bpppc: float
    psnr_db: float
    max_error: float
    labels_kept: float | None
    stream_sha256: str
    depth_error: float | None = None
