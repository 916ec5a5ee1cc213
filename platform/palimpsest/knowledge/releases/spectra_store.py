"""Reference spectra of a release: rows of a binary resource, two-column text files, or lists inside the graph.

All are brought onto one grid of 1 nm. A resource is believed only when its SHA-256 is the one that the graph names.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import KnowledgeError, UnknownTerm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from palimpsest.knowledge.releases.facts import Facts

GRID_NM: NDArray[np.float64] = np.arange(350.0, 2501.0)
LARGEST_RESOURCE = 256 * 2**20  # bytes once unpacked; a hostile archive is refused before it fills the memory


class SpectraStore:
    """Spectra by IRI, each resource opened once.

    Args:
        facts: the release's graph.
        resources: bytes by file name.
    """

    def __init__(self, facts: Facts, resources: Mapping[str, bytes]) -> None:
        self._facts = facts
        self._resources = resources
        self._opened: dict[str, NDArray[np.float32]] = {}

    def spectrum(self, iri: str) -> NDArray[np.float32]:
        """Reflectance on :data:`GRID_NM`, ``(grid,)`` float32, NaN where the library has none.

        Raises:
            KnowledgeError: the spectrum cannot be read, or its resource is not the one that the graph names.
        """
        facts = self._facts
        wavelengths = facts.numbers(iri, "plm:atWavelengths")
        if wavelengths is not None:
            values = facts.numbers(iri, "plm:reflectances")
            return on_grid(iri, wavelengths, np.zeros(0) if values is None else values)
        distribution = facts.link(iri, "plm:inDistribution")
        if distribution not in facts:
            raise UnknownTerm("the spectrum's resource is not in the release", where=iri, got=distribution)
        if distribution not in self._opened:
            self._opened[distribution] = self._open(distribution)
        rows = self._opened[distribution]
        row = int(facts.number(iri, "plm:row") or 0)
        if not 0 <= row < len(rows):
            raise KnowledgeError("no such row in the resource", where=iri, got=row, wanted=f"0 to {len(rows) - 1}")
        return np.asarray(rows[row], np.float32)

    def _open(self, iri: str) -> NDArray[np.float32]:
        name = self._facts.text(iri, "plm:fileName")
        content = self._resources.get(name)
        if content is None:
            raise KnowledgeError("the resource is not in the release", where=iri, got=name, wanted="a file beside it")
        checksum = self._facts.link(iri, "spdx:checksum")
        wanted = self._facts.text(checksum, "spdx:checksumValue")
        found = hashlib.sha256(content).hexdigest()
        if found != wanted:
            raise KnowledgeError("the resource was altered", where=iri, got=f"SHA-256 {found}", wanted=wanted)
        return _table(iri, name, content)


def _table(iri: str, name: str, content: bytes) -> NDArray[np.float32]:
    try:
        if name.endswith(".npz"):
            return _archive(iri, content)
        columns = np.loadtxt(io.StringIO(content.decode()), delimiter="," if name.endswith(".csv") else None, ndmin=2)
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise KnowledgeError(f"the resource cannot be read: {error}", where=iri, got=name) from error
    if columns.ndim != 2 or columns.shape[1] != 2:
        raise KnowledgeError("not two columns", where=iri, got=columns.shape, wanted="wavelength in nm, reflectance")
    return on_grid(iri, columns[:, 0], columns[:, 1])[None]


def _archive(iri: str, content: bytes) -> NDArray[np.float32]:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise KnowledgeError("not an .npz archive", where=iri) from error
    if size > LARGEST_RESOURCE:
        raise KnowledgeError("the resource is too large", where=iri, got=f"{size} bytes", wanted=LARGEST_RESOURCE)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        grid, spectra = arrays["grid_nm"], arrays["spectra"]
    if spectra.ndim != 2 or grid.shape != (spectra.shape[1],):
        raise KnowledgeError(
            "spectra do not fit their grid", where=iri, got=(grid.shape, spectra.shape), wanted="(grid,), (row, grid)"
        )
    if grid.shape == GRID_NM.shape and (grid == GRID_NM).all():
        return np.asarray(spectra, np.float32)
    return np.stack([on_grid(iri, grid, row) for row in spectra])


def on_grid(iri: str, wavelengths_nm: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float32]:
    """A spectrum brought onto :data:`GRID_NM` by linear interpolation; NaN beyond its ends, never extrapolated.

    Raises:
        KnowledgeError: lengths disagree, fewer than two samples, wavelengths not ascending or outside 300-3000 nm.
    """
    if wavelengths_nm.shape != values.shape or wavelengths_nm.size < 2:
        raise KnowledgeError(
            "wavelengths and reflectances do not fit", where=iri, got=(wavelengths_nm.size, values.size),
            wanted="two lists of one length, two samples or more",
        )
    if (np.diff(wavelengths_nm) <= 0).any():
        raise KnowledgeError("wavelengths do not ascend", where=iri, wanted="ascending nanometres")
    if wavelengths_nm[0] < 200 or wavelengths_nm[-1] > 20000:
        raise KnowledgeError(
            "wavelengths are not nanometres of reflected light", where=iri,
            got=f"{wavelengths_nm[0]:g} to {wavelengths_nm[-1]:g}", wanted="nanometres, 200 to 20000",
        )
    usable = np.isfinite(values)
    out = np.full(GRID_NM.shape, np.nan)
    if usable.sum() >= 2:
        out = np.interp(GRID_NM, wavelengths_nm[usable], values[usable], left=np.nan, right=np.nan)
        # A gap in the source stays a gap: a straight line over it would be an invention.
        nearest = np.searchsorted(wavelengths_nm, GRID_NM).clip(1, wavelengths_nm.size - 1)
        out[~(usable[nearest] & usable[nearest - 1])] = np.nan
    return out.astype(np.float32)
