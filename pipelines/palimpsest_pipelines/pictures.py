"""The one picture that says what the project is for: original, decoded, restored, confidence, and a pixel explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube

TRUE_COLOUR_NM = (640.0, 550.0, 470.0)
FALSE_COLOUR_NM = (2200.0, 860.0, 660.0)


@dataclass(frozen=True, slots=True)
class PixelStory:
    """What the picture tells of one pixel.

    Args:
        row, col: the pixel.
        truth, observed, decoded, restored, half_width: ``(band,)``, stored units; ``truth`` may be None.
        damaged: True where the voxel was changed, ``(band,)``.
        lines: the explanation, a line for each source.
    """

    row: int
    col: int
    truth: NDArray[np.float64] | None
    observed: NDArray[np.float64]
    decoded: NDArray[np.float64]
    restored: NDArray[np.float64]
    half_width: NDArray[np.float64]
    damaged: NDArray[np.bool_]
    lines: Sequence[str]


def composite(
    cube: Cube, limits: NDArray[np.float64] | None = None, bands: Sequence[int] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A colour picture of a cube, ``(row, col, 3)`` in 0..1, and the stretch limits used, ``(3, 2)``.

    Without ``bands``: false colour where the cube reaches 2200 nm, else true colour, else three bands spread over it.
    """
    bands = _three_bands(cube) if bands is None else list(bands)
    planes = np.asarray(cube.data)[bands].astype(np.float64)
    if limits is None:
        limits = np.array([np.nanpercentile(plane, (2, 98)) for plane in planes])
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    stretched = np.clip((planes - low) / np.maximum(high - low, 1e-9), 0, 1)
    return stretched.transpose(1, 2, 0), limits


def _three_bands(cube: Cube) -> list[int]:
    centre = cube.bands.centre_nm
    if centre is None:
        return [int(share * (cube.bands.count - 1)) for share in (0.75, 0.5, 0.25)]
    wanted = FALSE_COLOUR_NM if centre.max() > FALSE_COLOUR_NM[0] else TRUE_COLOUR_NM
    return [int(np.abs(centre - nm).argmin()) for nm in wanted]


def overview(
    path: Path, cubes: Sequence[tuple[str, Cube]], confidence: NDArray[np.float64], story: PixelStory,
    centre_nm: NDArray[np.float64], bands: Sequence[int] | None = None,
) -> None:
    """Write the picture as PNG.

    Args:
        path: where to.
        cubes: (title, cube) for the upper row, all of one size; the first sets the colours.
        confidence: mean half width of the 90 % interval per pixel, ``(row, col)``, stored units; 0 where unchanged.
        story: the pixel below.
        centre_nm: band centres, ``(band,)``.
        bands: the three bands to show as red, green and blue; see :func:`composite`.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(4 * (len(cubes) + 1), 9), layout="constrained")
    grid = figure.add_gridspec(2, len(cubes) + 1, height_ratios=(1, 1.15))
    limits = None
    for at, (title, cube) in enumerate(cubes):
        image, limits = composite(cube, limits, bands)
        axes = figure.add_subplot(grid[0, at])
        axes.imshow(image, interpolation="nearest")
        axes.plot(story.col, story.row, "o", mfc="none", mec="white", ms=11, mew=2)
        axes.set(title=title, xticks=(), yticks=())
    axes = figure.add_subplot(grid[0, len(cubes)])
    shown = axes.imshow(np.where(confidence > 0, confidence, np.nan), cmap="viridis", interpolation="nearest")
    axes.set(title="half width of the 90 % interval", xticks=(), yticks=())
    axes.set_facecolor("0.9")
    figure.colorbar(shown, ax=axes, shrink=0.8)
    _spectrum(figure.add_subplot(grid[1, :]), story, centre_nm)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _spectrum(axes: object, story: PixelStory, centre_nm: NDArray[np.float64]) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    order = np.argsort(centre_nm, kind="stable")
    at = centre_nm[order]
    damaged = story.damaged[order]
    if story.truth is not None:
        axes.plot(at, story.truth[order], color="0.6", lw=4, label="truth")
    axes.plot(at, np.where(damaged, np.nan, story.decoded[order]), color="tab:blue", lw=1.2, label="decoded")
    axes.plot(at[damaged], story.observed[order][damaged], "x", color="tab:red", ms=5, label="as observed, damaged")
    axes.errorbar(
        at[damaged], story.restored[order][damaged], story.half_width[order][damaged], fmt="o", ms=3, lw=0.8,
        color="tab:green", label="restored, 90 % interval",
    )
    axes.set(xlabel="wavelength, nm", ylabel="stored units", title=f"pixel {story.row},{story.col}: why it was changed")
    axes.legend(loc="upper left", fontsize=9)
    axes.text(
        0.995, 0.97, "\n".join(story.lines), transform=axes.transAxes, ha="right", va="top", fontsize=8.5,
        multialignment="left", family="monospace", bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "0.8"},
    )
