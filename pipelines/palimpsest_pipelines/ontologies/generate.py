"""Every generated file of the packaged ontologies, as bytes that depend on the sources alone."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.knowledge.releases.spectra_store import GRID_NM
from palimpsest_pipelines.ontologies import library, mica, sensors
from palimpsest_pipelines.ontologies.turtle import Document, Plain, Term

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

VERSION = "1.0.0"
RESOURCE, AVIRIS_RESOURCE = "reference_spectra.npz", "aviris_spectra.npz"


def generate(libraries: Path) -> dict[str, bytes]:
    """The generated Turtle files and the resource of reference spectra, by name.

    Args:
        libraries: folder of the public spectral libraries, one folder each.
    """
    rules, arrays = mica.read(libraries)
    labels = {str(rule): str(label) for rule, label in zip(arrays["rule"], arrays["label"], strict=True)}
    order = {name: row for row, name in enumerate(labels)}
    rows = [on_grid_um(arrays["grid"], arrays["spectra"][order[name]]) for name in rules]
    names, centres, _, channels = library.read(libraries)
    ascending = np.argsort(centres, kind="stable")  # the detectors overlap
    resource = archive(GRID_NM, np.stack(rows))
    aviris = archive(centres[ascending], channels[library.chosen_rows(names)][:, ascending])
    return {
        "materials_mica.ttl": mica.document(rules, labels, 0, VERSION).text().encode(),
        "materials_usgs.ttl": library.document(names, VERSION).text().encode(),
        "sensors.ttl": sensors.document(libraries, VERSION).text().encode(),
        "libraries.ttl": _libraries(resource, len(rows), aviris, len(library.CHOSEN)).text().encode(),
        RESOURCE: resource,
        AVIRIS_RESOURCE: aviris,
    }


def on_grid_um(grid_um: NDArray[np.float64], spectrum: NDArray[np.float64]) -> NDArray[np.float32]:
    """A spectrum that is already sampled at 1 nm, as float32; nothing is interpolated.

    Raises:
        ValueError: the samples are not those of the grid.
    """
    if not np.allclose(grid_um * 1000.0, GRID_NM, atol=1e-6):
        raise ValueError(f"expected 1 nm samples from 350 to 2500 nm, got {grid_um[0]} to {grid_um[-1]} um")
    return spectrum.astype(np.float32)


def archive(grid_nm: NDArray[np.float64], spectra: NDArray[np.float32]) -> bytes:
    """An .npz whose bytes do not depend on the clock: ``grid_nm`` float64, ``spectra`` float32 ``(row, grid)``."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, values in (("grid_nm", grid_nm), ("spectra", spectra)):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, content.getvalue(), compresslevel=9)
    return out.getvalue()


def _libraries(resource: bytes, rows: int, aviris: bytes, aviris_rows: int) -> Document:
    out = Document(
        "libraries", "Spectral libraries and their packaged form", VERSION,
        "Generated together with the resources that it describes.", "src:palimpsest",
    )
    _library(out, "splib07", "USGS Spectral Library Version 7, records that the MICA rules refer to", "reference")
    _distribution(out, "reference", "Reference spectra at 1 nm, 350 to 2500 nm", RESOURCE, resource, rows)
    _library(out, "splib06", "USGS digital spectral library splib06a at AVIRIS channels, chosen records", "aviris")
    _distribution(
        out, "aviris", "Spectra at 224 AVIRIS channels, ascending", AVIRIS_RESOURCE, aviris, aviris_rows
    )
    return out


def _library(out: Document, local: str, title: str, distribution: str) -> None:
    out.add(f"lib:{local}", [
        ("a", [Term("plm:SpectralLibrary"), Term("dcat:Dataset")]),
        ("dcterms:title", title),
        ("dcat:distribution", Term(f"lib:{distribution}-spectra")),
        ("dcterms:license", Plain("Public domain")),
        ("dcterms:source", Term(f"src:{local}")),
    ])


def _distribution(out: Document, local: str, title: str, name: str, content: bytes, rows: int) -> None:
    out.add(f"lib:{local}-spectra", [
        ("a", Term("dcat:Distribution")),
        ("dcterms:title", title),
        ("dcterms:description", f"{rows} rows of float32 reflectance; NaN where the library has no value"),
        ("plm:fileName", Plain(name)),
        ("dcat:mediaType", Plain("application/vnd.numpy.npz")),
        ("dcat:byteSize", len(content)),
        ("spdx:checksum", Term(f"lib:{local}-spectra-checksum")),
        ("dcterms:source", Term("src:palimpsest")),
    ])
    out.add(f"lib:{local}-spectra-checksum", [
        ("a", Term("spdx:Checksum")),
        ("spdx:algorithm", Term("spdx:checksumAlgorithm_sha256")),
        ("spdx:checksumValue", Plain(hashlib.sha256(content).hexdigest())),
    ])
