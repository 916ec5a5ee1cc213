"""Lossless and error-bounded coding: bits per sample against CCSDS-123, bytes against SZ3, SPERR and LERC."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.measure import max_error
from palimpsest_pipelines.codec_benchmark import ccsds123
from palimpsest_pipelines.codec_benchmark.distortion import coded
from palimpsest_pipelines.codec_benchmark.ledger import code_of, own_code
from palimpsest_pipelines.codec_benchmark.rivals import (
    BOUNDED,
    FLOATING,
    imagecodecs_version,
    smallest_bounded,
    smallest_lossless,
)

if TYPE_CHECKING:
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger
    from palimpsest_pipelines.codec_benchmark.scenes import Scene

LOSSLESS, BOUND = "lossless", "bound"
CCSDS = "ccsds123"
SHARES = (0.005, 0.02, 0.08)  # of the standard deviation: near lossless, a careful user's choice, a coarse one
OURS = "palimpsest"


def measure_lossless(scene: Scene, ledger: Ledger) -> None:
    """Bits per sample; every voxel compared after decoding. CCSDS-123 has integers alone to do with."""
    ledger.measured(scene, LOSSLESS, OURS, {}, own_code(), lambda: _lossless(scene))
    if not scene.cube.is_integer:
        _measure_floating(scene, ledger)
        return
    code = code_of("palimpsest_pipelines.codec_benchmark.ccsds123")
    for settings in ccsds123.CANDIDATES:
        ledger.measured(
            scene, LOSSLESS, CCSDS, {"settings": settings.label}, code,
            lambda settings=settings: _ccsds(scene, settings),  # type: ignore[misc] # bound now
        )


def _measure_floating(scene: Scene, ledger: Ledger) -> None:
    if importlib.util.find_spec("imagecodecs") is None:
        return
    values = np.asarray(scene.cube.data)
    code = code_of("palimpsest_pipelines.codec_benchmark.rivals") + imagecodecs_version()
    for name in FLOATING:
        ledger.measured(
            scene, LOSSLESS, name, {}, code,
            lambda name=name: {  # type: ignore[misc] # bound now
                "bits": 8 * smallest_lossless(values, name) / values.size
            },
        )


def _lossless(scene: Scene) -> dict[str, object]:
    from palimpsest.codec.contract import EncodeSettings

    settings = EncodeSettings(mode="lossless", bpppc=None, strength=0.0, model=scene.model)
    report, decoded = coded(scene.cube, settings)
    return {"bits": report.bpppc, "is_exact": decoded.data.tobytes() == np.ascontiguousarray(scene.cube.data).tobytes()}


def _ccsds(scene: Scene, settings: ccsds123.Settings) -> dict[str, object]:
    values = np.asarray(scene.cube.data)
    return {"bits": ccsds123.coded_bits(values, settings) / values.size}


def measure_bound(scene: Scene, ledger: Ledger) -> None:
    """Bytes of a scene at three bounds; ours verified voxel by voxel after decoding."""
    for bound in bounds(scene):
        ledger.measured(
            scene, BOUND, OURS, {"max_error": bound}, own_code(),
            lambda bound=bound: _bound(scene, bound),  # type: ignore[misc] # bound now
        )
        if importlib.util.find_spec("imagecodecs") is None:
            continue
        code = code_of("palimpsest_pipelines.codec_benchmark.rivals") + imagecodecs_version()
        for name in BOUNDED:
            for rounds in (False, True) if scene.cube.is_integer else (False,):
                ledger.measured(
                    scene, BOUND, f"{name}+rounding" if rounds else name, {"max_error": bound}, code,
                    lambda name=name, bound=bound, rounds=rounds: {  # type: ignore[misc] # bound now
                        "bytes": smallest_bounded(np.asarray(scene.cube.data), name, bound, rounds=rounds)
                    },
                )


def bounds(scene: Scene) -> tuple[float, ...]:
    """Largest errors to ask for, stored units: whole numbers on integer scenes."""
    values = np.asarray(scene.cube.data)[scene.cube.usable()]
    found = [share * float(values.std()) for share in SHARES]
    if scene.cube.is_integer:
        return tuple(dict.fromkeys(float(max(1, round(value))) for value in found))
    return tuple(float(f"{value:.3g}") for value in found)


def _bound(scene: Scene, bound: float) -> dict[str, object]:
    from palimpsest.codec.contract import EncodeSettings

    settings = EncodeSettings(mode="bound", bpppc=None, max_error=bound, strength=0.0, model=scene.model)
    report, decoded = coded(scene.cube, settings)
    worst = max_error(scene.cube, decoded)
    return {"bytes": report.size, "bpppc": report.bpppc, "worst": worst, "is_kept": bool(worst <= bound)}
