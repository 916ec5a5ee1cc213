"""Made scenes with known truth: library spectra and radiative transfer, seeded places, sensors, noise and defects."""

from palimpsest.scenes.defects import CASES, WIDE_CASES, WIDE_NM, Degraded, degrade
from palimpsest.scenes.landscapes import KINDS
from palimpsest.scenes.scene import MadeScene, SceneSettings, make_group, make_pile, make_scene
from palimpsest.scenes.sensors import SENSORS, Spectrometer, spectrometer

__all__ = [
    "CASES", "Degraded", "KINDS", "MadeScene", "SENSORS", "SceneSettings", "Spectrometer", "WIDE_CASES", "WIDE_NM",
    "degrade", "make_group", "make_pile", "make_scene", "spectrometer",
]
