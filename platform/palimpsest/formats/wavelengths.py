"""Band centres and widths in the spellings seen in the wild, brought to nanometres; what was guessed is said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NM_PER_UNIT = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "mu", "micrometer", "micrometers"), 1000.0),
    **dict.fromkeys(("micrometre", "micrometres", "mum"), 1000.0),
    **dict.fromkeys(("å", "a", "angstrom", "angstroms"), 0.1),
    **dict.fromkeys(("m", "meter", "meters", "metre"), 1e9),
}
PER_CENTIMETRE = ("wavenumber", "wavenumbers", "cm-1", "1/cm", "cm^-1")
PLAUSIBLE_NM = (150.0, 30_000.0)  # from the ultraviolet to the thermal infrared

_WITH_UNIT = re.compile(
    r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(nanomet(?:er|re)s?|micromet(?:er|re)s?|microns?|nm|um|µm|μm)\b", re.IGNORECASE
)
_LAST_IN_BRACKETS = re.compile(r"\(\s*(\d+\.\d+)\s*\)\s*$")


def to_nm(
    centres: Sequence[float], widths: Sequence[float] | None, unit: str
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, str]:
    """Centres and widths in nanometres and a remark.

    Args:
        centres: band centres as the file gives them, ``(band,)``.
        widths: full widths at half maximum in the same unit, or None.
        unit: the file's word for the unit, '' when it gives none.

    Returns:
        ``(centre_nm, fwhm_nm, remark)``; the remark is empty when nothing was guessed. Without a unit, or with one
        that would put the bands outside 150 nm ... 30 µm, the magnitude decides between nm and µm; where neither is
        plausible both are None.
    """
    word = unit.strip().lower().rstrip(".")
    values = np.asarray(centres, np.float64)
    spans = None if widths is None else np.asarray(widths, np.float64)
    if word in PER_CENTIMETRE and (values > 0).all():
        centre = 1e7 / values
        return centre, None if spans is None else 1e7 * spans / values**2, ""
    factor = NM_PER_UNIT.get(word)
    if factor is not None and _plausible(values * factor):
        return _exact(values, factor), None if spans is None else _exact(spans, factor), ""
    # 1, 2, 3 ... are band numbers, not micrometres.
    numbered = len(values) > 1 and values[0] in (0.0, 1.0) and bool((np.diff(values) == 1.0).all())
    for guess, name in () if numbered else ((1.0, "nanometres"), (1000.0, "micrometres")):
        if _plausible(values * guess):
            said = f"the file says {unit.strip()!r}" if word else "the file gives no unit"
            remark = f"wavelengths taken for {name} by their magnitude: {said}"
            return _exact(values, guess), None if spans is None else _exact(spans, guess), remark
    return None, None, f"wavelengths ignored: {values[0]:g} ... {values[-1]:g} {unit.strip() or '(no unit)'}"


def _exact(values: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    # 0.4554 µm times 1000 is 455.40000000000003 nm in binary; nine decimals are a billionth of a nanometre.
    return values if factor == 1.0 else np.round(values * factor, 9)


def _plausible(values_nm: NDArray[np.float64]) -> bool:
    low, high = PLAUSIBLE_NM
    return bool(np.isfinite(values_nm).all() and (values_nm >= low).all() and (values_nm <= high).all())


def from_names(names: Sequence[str]) -> tuple[list[float], str] | None:
    """Centres and unit hidden in band names ('band 1 (0.455400 Micrometers)', 'Resize (Band 1) (426.820007)').

    None unless every name holds one.
    """
    with_unit = [_WITH_UNIT.search(name) for name in names]
    if names and all(with_unit):
        found = [match for match in with_unit if match is not None]
        return [float(match[1]) for match in found], found[0][2]
    bare = [_LAST_IN_BRACKETS.search(name) for name in names]
    if names and all(bare):
        return [float(match[1]) for match in bare if match is not None], ""
    return None
