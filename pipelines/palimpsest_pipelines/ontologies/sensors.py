"""Sensors with their band centres and widths: as delivered where a product or library gives them, nominal elsewhere.

A nominal sensor states the range, the number of bands and the spacing that public documents give, and its centres are
computed from these; it is marked ``plm:nominal true`` and its source says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest_pipelines.ontologies import library
from palimpsest_pipelines.ontologies.turtle import Document, Term, numbers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor's band table with where it comes from; centres and widths in nm, ``(band,)``."""

    local: str
    label: str
    comment: str
    centre_nm: NDArray[np.float64]
    fwhm_nm: NDArray[np.float64]
    source: str
    spacing_nm: float | None = None
    flags: tuple[str, ...] = ()


def measured(libraries: Path) -> list[Sensor]:
    """Sensors whose band tables come with data: AVIRIS (two years), EnMAP and HyMap."""
    aviris = np.loadtxt(libraries / "usgs_1995_aviris" / "aviris1995_wavelength_um_fwhm_um.txt") * 1000
    _, centres, widths, _ = library.read(libraries)
    enmap = np.loadtxt(libraries.parent / "enmap_potsdam" / "wavelengths_nm.txt")
    hymap = _hymap(libraries.parent / "berlin_urban_gradient" / "subset_2017-02")
    return [
        Sensor("aviris-classic", "AVIRIS-Classic, 1995", "Four detectors overlap: centres are not monotonic.",
               aviris[:, 0], aviris[:, 1], "src:usgs1995"),
        Sensor("aviris-classic-18a", "AVIRIS-Classic, channels 18a", "The channels that splib06 was convolved to.",
               centres, widths, "src:splib06"),
        Sensor("enmap", "EnMAP HSI", "From a level 2A product of 2022; VNIR and SWIR overlap.",
               enmap[:, 0], enmap[:, 1], "src:enmap", flags=("enmap-defective", "enmap-cloud")),
        Sensor("hymap", "HyMap, Berlin 2009", "The 111 bands delivered of 126; widths are the nominal 15 nm.",
               hymap, np.full(hymap.shape, 15.0), "src:berlin"),
    ]


def nominal() -> list[Sensor]:
    """Sensors whose centres follow from the range and spacing that public documents state."""
    emit = np.linspace(381.0, 2493.0, 285)
    prisma_v, prisma_s = np.linspace(402.0, 1010.0, 66), np.linspace(920.0, 2505.0, 174)
    desis = np.linspace(402.0, 1000.0, 235)
    hyperion_v, hyperion_s = np.linspace(355.59, 1057.68, 70), np.linspace(851.92, 2577.08, 172)
    return [
        Sensor("emit", "EMIT", "285 bands, 381 to 2493 nm, about 7.4 nm apart, about 8.5 nm wide.",
               emit, np.full(emit.shape, 8.5), "src:emit", 7.4, ("emit-band-mask", "emit-cloud")),
        Sensor("prisma", "PRISMA", "66 VNIR bands, 402 to 1010 nm, and 174 SWIR bands, 920 to 2505 nm; 12 nm wide.",
               np.concatenate([prisma_v, prisma_s]), np.full(240, 12.0), "src:prisma", 9.3,
               ("prisma-invalid", "prisma-negative", "prisma-saturated")),
        Sensor("desis", "DESIS", "235 bands, 402 to 1000 nm, 2.55 nm apart, 3.5 nm wide.",
               desis, np.full(desis.shape, 3.5), "src:desis", 2.55),
        Sensor("hyperion", "EO-1 Hyperion", "70 VNIR bands, 356 to 1058 nm, and 172 SWIR bands, 852 to 2577 nm.",
               np.concatenate([hyperion_v, hyperion_s]), np.full(242, 10.9), "src:hyperion", 10.1),
    ]


def document(libraries: Path, version: str) -> Document:
    """Every sensor."""
    out = Document(
        "sensors", "Imaging spectrometers and their bands", version,
        "Generated from delivered band tables, and from public documents where it says nominal.", "src:palimpsest",
    )
    for sensor in [*measured(libraries), *nominal()]:
        out.add(f"sens:{sensor.local}", [
            ("a", [Term("plm:ImagingSpectrometer"), Term("sosa:Sensor"), Term("ssn:System")]),
            ("rdfs:label", sensor.label),
            ("rdfs:comment", sensor.comment),
            ("plm:nominal", sensor.spacing_nm is not None),
            ("plm:spacing", sensor.spacing_nm),
            ("plm:bandCentres", numbers(float(round(x, 3)) for x in sensor.centre_nm)),
            ("plm:bandWidths", numbers(float(round(x, 3)) for x in sensor.fwhm_nm)),
            ("plm:qualityFlag", [Term(f"defect:flag-{flag}") for flag in sensor.flags]),
            ("dcterms:source", Term(sensor.source)),
        ])
    return out


def _hymap(folder: Path) -> NDArray[np.float64]:
    """Centres in nm out of the band names of the HyMap scene's header (the scene has no wavelength field)."""
    header = (folder / "HyMap02_Berlin_Urban_Gradient_2009.hdr").read_text(encoding="latin-1")
    match = re.search(r"band names\s*=\s*\{(.*?)\}", header, re.DOTALL)
    found = re.findall(r"(\d+\.\d+)\s*(?:\)|Micro|Nano|um|nm|,|$)", match.group(1)) if match else []
    centres = np.array([float(word) for word in found])
    return centres * 1000 if centres.size and centres.max() < 100 else centres
