"""What a user would take instead: the codecs of a folder of rivals, and the error-bounded ones of imagecodecs.

Each is given its best: PCA + JPEG 2000 comes from the rivals' own code; SZ3, SPERR and LERC may choose between two
orders of the axes, and on integers may also round what they decode, which lets them work with half a unit more.
Nothing of the rivals is copied here; imagecodecs (BSD 3-clause) is an extra that this benchmark alone needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube

PCA_JPEG2000 = "pca_jpeg2000"
BOUNDED = ("sz3", "sperr", "lerc")
FLOATING = ("pcodec", "zfp", "lerc")  # that keep every bit of floating point; pcodec looks for integers in disguise
RATE_TOLERANCE = 0.01
MOST_TRIES = 14
ROUNDING = 0.49  # below one half, so that a rounded value never lies further away than the bound


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a rival made of a cube: bytes of the stream, and the values, ``(band, row, col)`` float32."""

    size: int
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RivalCodec:
    """PCA + JPEG 2000 out of a folder with a ``rivals.py``.

    Args:
        module: the loaded file, with ``pca_jpeg2000`` and ``curve_pca_jpeg2000``.
        code: hash of the file and of the packages below it.
    """

    module: Any
    code: str

    @classmethod
    def at(cls, folder: Path) -> RivalCodec:
        """Load it.

        Raises:
            UsageError: there is no ``rivals.py``, or imagecodecs is not installed.
        """
        path = folder / "rivals.py"
        if not path.is_file():
            raise UsageError("no rivals.py", where=folder)
        if importlib.util.find_spec("imagecodecs") is None:
            raise UsageError("rivals need imagecodecs", wanted="pip install 'palimpsest-hsi[benchmark]'")
        spec = importlib.util.spec_from_file_location("palimpsest_benchmark_rivals", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        code = hashlib.sha256(path.read_bytes() + imagecodecs_version().encode()).hexdigest()
        return cls(module, code)

    def curve(self, cube: Cube, rates: tuple[float, ...]) -> list[dict[str, float]]:
        """Points of its rate-distortion curve over a range of rates."""
        return list(self.module.curve_pca_jpeg2000(as_rows(cube), lowest=0.8 * min(rates), highest=1.2 * max(rates)))

    def at_rate(self, cube: Cube, bpppc: float) -> Decoded:
        """What it decodes at a rate, within 1 %; the nearest found where its steps are coarser than that."""
        return self.encoded(cube, self.step_at(cube, bpppc))

    def step_at(self, cube: Cube, bpppc: float, tolerance: float = RATE_TOLERANCE) -> float:
        """The quantiser step that gives a rate: along the secant of logarithms once both sides are known."""
        values = as_rows(cube)
        spread = float(values.std())
        sides: dict[bool, tuple[float, float]] = {}  # is too dear -> (log step, log of rate over target)
        at, best, best_off = math.log(0.05 * spread), 0.0, math.inf
        for _ in range(MOST_TRIES):
            size, _ = self.module.pca_jpeg2000(values, math.exp(at))
            off = math.log(8 * size / values.size / bpppc)
            if abs(off) < abs(best_off):
                best, best_off = at, off
            if abs(off) < tolerance or not 1e-5 < math.exp(at) / spread < 30:
                break
            sides[off > 0] = (at, off)
            if len(sides) < 2:
                at += max(-2.0, min(2.0, 1.3 * off))
            else:
                (dear, over), (cheap, under) = sides[True], sides[False]
                share = min(0.9, max(0.1, over / (over - under)))
                at = dear + share * (cheap - dear)
        return math.exp(best)

    def encoded(self, cube: Cube, step: float) -> Decoded:
        """What it makes of a cube at a step."""
        size, values = self.module.pca_jpeg2000(as_rows(cube), step)
        return Decoded(int(size), np.ascontiguousarray(np.moveaxis(values, 2, 0)))


def as_rows(cube: Cube) -> NDArray[np.float32]:
    """Values as the rivals take them, ``(row, col, band)`` float32."""
    return np.ascontiguousarray(np.moveaxis(np.asarray(cube.data), 0, 2).astype(np.float32))


def imagecodecs_version() -> str:
    """Versions of the codecs that imagecodecs carries; '' where it is not installed."""
    if importlib.util.find_spec("imagecodecs") is None:
        return ""
    import imagecodecs

    return str(imagecodecs.version())


def smallest_bounded(values: NDArray[np.generic], name: str, bound: float, *, rounds: bool) -> int:
    """Bytes of the smaller of two streams of an error-bounded codec, its bound checked.

    Args:
        values: ``(band, row, col)``.
        name: one of :data:`BOUNDED`.
        bound: largest absolute error, stored units.
        rounds: integers only: decoded values are rounded, so the codec may err by almost half a unit more.

    Raises:
        UsageError: no such codec, or none of its streams kept the bound.
    """
    if name not in BOUNDED:
        raise UsageError("no such rival", got=name, wanted=", ".join(BOUNDED))
    allowed = bound + ROUNDING if rounds else bound
    exact = np.asarray(values, np.float64)
    rounding_error = float(np.spacing(np.float32(np.abs(exact).max())))  # they compute in float32
    sizes = []
    for layout in _layouts(values):
        size, decoded = _bounded(name)(layout, allowed)
        back = decoded.reshape(layout.shape)
        back = back if layout.shape == values.shape else np.moveaxis(back, 2, 0)
        back = np.rint(back) if rounds else back
        if np.abs(back.astype(np.float64) - exact).max() <= bound + rounding_error:
            sizes.append(size)
    if not sizes:
        raise UsageError("the rival did not keep its own bound", where=name, wanted=bound)
    return min(sizes)


def smallest_lossless(values: NDArray[np.floating[Any]], name: str) -> int:
    """Bytes of the smaller of two lossless streams of floating-point values, ``(band, row, col)``, read back.

    Raises:
        UsageError: no such codec, or none of its streams came back bit by bit.
    """
    import imagecodecs

    coders: dict[str, tuple[Callable[..., bytes | bytearray], Callable[..., NDArray[Any]]]] = {
        "pcodec": (
            lambda cube: imagecodecs.pcodec_encode(cube, level=12),
            lambda stream, cube: imagecodecs.pcodec_decode(stream, cube.shape, cube.dtype),
        ),
        "zfp": (
            lambda cube: imagecodecs.zfp_encode(cube, mode="R"), lambda stream, cube: imagecodecs.zfp_decode(stream),
        ),
        "lerc": (
            lambda cube: bytes(imagecodecs.lerc_encode(cube, level=0)),
            lambda stream, cube: imagecodecs.lerc_decode(stream),
        ),
    }
    if name not in coders:
        raise UsageError("no such rival", got=name, wanted=", ".join(FLOATING))
    encode, decode = coders[name]
    sizes = []
    for layout in (np.ascontiguousarray(values), np.ascontiguousarray(np.moveaxis(values, 0, 2))):
        stream = encode(layout)
        if np.asarray(decode(stream, layout)).tobytes() == layout.tobytes():
            sizes.append(len(stream))
    if not sizes:
        raise UsageError("the rival did not keep every bit", where=name)
    return min(sizes)


def _layouts(values: NDArray[np.generic]) -> Iterator[NDArray[np.float32]]:
    yield np.ascontiguousarray(values.astype(np.float32))
    yield np.ascontiguousarray(np.moveaxis(values, 0, 2).astype(np.float32))


def _bounded(name: str) -> Callable[[NDArray[np.float32], float], tuple[int, NDArray[np.float32]]]:
    import imagecodecs

    def sz3(cube: NDArray[np.float32], bound: float) -> tuple[int, NDArray[np.float32]]:
        stream = imagecodecs.sz3_encode(cube, mode="abs", abs=bound)
        return len(stream), imagecodecs.sz3_decode(stream, cube.shape, np.float32)

    def sperr(cube: NDArray[np.float32], bound: float) -> tuple[int, NDArray[np.float32]]:
        stream = imagecodecs.sperr_encode(cube, bound, mode="pwe")
        return len(stream), imagecodecs.sperr_decode(stream)

    def lerc(cube: NDArray[np.float32], bound: float) -> tuple[int, NDArray[np.float32]]:
        stream = imagecodecs.lerc_encode(cube, level=bound)
        return len(stream), imagecodecs.lerc_decode(stream)

    return {"sz3": sz3, "sperr": sperr, "lerc": lerc}[name]
