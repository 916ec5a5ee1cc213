"""A spectral library as a value: named reflectance spectra on one wavelength grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused, UnknownTerm
from palimpsest.spectra.resampling import resample

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SpectralLibrary:
    """Spectra of known things.

    Args:
        names: one a spectrum, no two alike.
        grid_nm: wavelengths, nm, ascending, ``(grid,)``.
        spectra: reflectance 0..1, ``(name, grid)``, NaN where unknown.
        source: where they come from, for reports.

    Raises:
        CubeRefused: names, grid and spectra disagree, the grid does not ascend, or a name stands twice.
    """

    names: tuple[str, ...]
    grid_nm: NDArray[np.float64]
    spectra: NDArray[np.floating]
    source: str = ""

    def __post_init__(self) -> None:
        if self.spectra.shape != (len(self.names), self.grid_nm.size):
            raise CubeRefused(
                "library of the wrong shape", where=self.source or "spectral library", got=self.spectra.shape,
                wanted=(len(self.names), self.grid_nm.size),
            )
        if not (np.diff(self.grid_nm) > 0).all():
            raise CubeRefused("the library's wavelengths do not ascend", where=self.source or "spectral library")
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise CubeRefused("a name stands twice", where=self.source or "spectral library", got=twice)

    def spectrum(self, name: str) -> NDArray[np.floating]:
        """The spectrum of a name, ``(grid,)``.

        Raises:
            UnknownTerm: the library has no such name.
        """
        if name not in self.names:
            raise UnknownTerm("no such spectrum in the library", where=self.source, got=name, wanted=f"{self.names}")
        return np.asarray(self.spectra[self.names.index(name)])

    def at(self, centre_nm: NDArray[np.float64], fwhm_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """The spectra as a sensor would see them, ``(name, band)``; NaN where the library does not reach."""
        return resample(self.spectra, self.grid_nm, centre_nm, fwhm_nm)
