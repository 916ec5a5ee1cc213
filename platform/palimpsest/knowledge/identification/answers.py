"""What is answered when a cube is to be identified: a raster of labels, and what is told of it.

One place for the command line and the service, so that both say the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.cubes import BandTable, Cube
from palimpsest.cubes.noise import noise_sigma
from palimpsest.knowledge.identification.identify import identify, relative_noise
from palimpsest.knowledge.identification.mixtures import compose
from palimpsest.knowledge.identification.probability import Calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from palimpsest.knowledge.identification.identify import Identification
    from palimpsest.knowledge.identification.mixtures import Composition
    from palimpsest.knowledge.rules import KnowledgeBase


def identified(
    cube: Cube, knowledge: KnowledgeBase, *, is_mixed: bool = False, is_probable: bool = False,
    pixel: tuple[int, int] | None = None,
) -> tuple[Cube, dict[str, Any]]:
    """What the command line and the service answer: a raster, and what is told of it.

    Args:
        cube: reflectance with wavelengths.
        knowledge: the compiled release.
        is_mixed: mixtures rather than the expert rules' names.
        is_probable: a second layer with how likely each name holds, in hundredths.
        pixel: row and column of one to tell of in words, with ``is_mixed``.

    Raises:
        CubeRefused: no such pixel, or bands that cannot be unmixed.
        MissingWavelengths: the cube has no band centres.
    """
    if is_mixed:
        mixed = compose(cube, knowledge)
        told = {
            "pixels": mixed.misfit.size, "unknown": int(mixed.is_unknown.sum()), "release": mixed.release,
            "counts": mixed.counts(), "notes": list(mixed.notes),
            **({} if pixel is None else {"pixel": mixed.sentence(*pixel)}),
        }
        return mixture_raster(cube, mixed), told
    found = identify(cube, knowledge, margins=is_probable)
    told = {
        "pixels": found.labels.size, "named": int((found.labels > 0).sum()), "release": found.release,
        "counts": found.counts(), "notes": list(found.notes),
    }
    raster = class_raster(cube, found)
    if not is_probable:
        return raster, told
    layer, mean = _probable(cube, found)
    bands = BandTable(2, names=("material", "probability, hundredths"))
    return replace(raster, data=np.concatenate([raster.data, layer[None]]), bands=bands), {**told, "probability": mean}


def _probable(cube: Cube, found: Identification) -> tuple[NDArray[np.uint16], dict[str, float]]:
    """Probability of every name in hundredths, 0 where there is none, and the mean of each name."""
    assert found.margin is not None
    sure = Calibration.packaged().name(found.margin, relative_noise(cube, noise_sigma(cube)))
    sure = np.where(found.labels > 0, sure, 0.0)
    mean = {
        found.names[label]: round(float(sure[found.labels == label].mean()), 4)
        for label in np.unique(found.labels) if label
    }
    return np.rint(100 * sure).astype(np.uint16), mean


def mixture_raster(cube: Cube, mixed: Composition) -> Cube:
    """Labels, shares and probabilities (hundredths) of three materials, and whether the pixel is unknown; uint16."""
    hundredths = [np.rint(100 * part).astype(np.uint16) for part in (mixed.shares, mixed.probability[0])]
    data = np.concatenate([mixed.materials, *hundredths, mixed.is_unknown[None].astype(np.uint16)])
    names = [
        f"{what} {place}"
        for what in ("material", "share, hundredths,", "probability, hundredths,") for place in (1, 2, 3)
    ]
    return Cube(
        data, BandTable(len(data), names=(*(name.rstrip(",") for name in names), "unknown")),
        georeference=cube.georeference, name=cube.name,
        metadata={
            "palimpsest release": mixed.release,
            "palimpsest labels": ", ".join(
                f"{label}: {mixed.names[0][label].replace(',', ';')}" for label in np.unique(mixed.materials) if label
            ),
        },
        history=(f"mixtures identified under release {mixed.release[:12]}",),
    )


def class_raster(cube: Cube, found: Identification) -> Cube:
    """The labels as a cube of one band with ENVI's class table in its metadata."""
    import colorsys

    colours = [(0, 0, 0)] + [
        # the golden angle apart, so that neighbours in the table look different
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(i * 0.381966 % 1, 0.55 + 0.4 * (i % 2), 0.95))
        for i in range(1, len(found.names))
    ]
    return Cube(
        found.labels[None], BandTable(1, names=("material",)), georeference=cube.georeference, name=cube.name,
        metadata={
            "classes": str(len(found.names)),
            "class names": "{" + ", ".join(name.replace(",", ";") for name in found.names) + "}",
            "class lookup": "{" + ", ".join(str(part) for colour in colours for part in colour) + "}",
            "palimpsest release": found.release,
        },
        history=(f"materials identified under release {found.release[:12]}",),
    )
