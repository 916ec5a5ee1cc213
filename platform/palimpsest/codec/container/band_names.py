"""Band names in a few bytes: most are one sentence with a number and the band's own wavelength in it.

'band 7 (0.543600 Micrometers)' says nothing that the band table does not; where every name follows from one pattern,
the pattern is kept, and the names otherwise. A pattern is kept only if it gives every name back, letter for letter.

    >>> packed(("b 1 at 0.4554", "b 2 at 0.4694"), np.array([455.4, 469.4]))
    {'text': ['b ', ' at ', ''], 'numbers': [[[1, 2]], 'um4']}
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import StreamCorrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_UNITS = {"nm": 1.0, "um": 1000.0}  # nanometres in one
_MOST_DECIMALS = 9


def packed(names: Sequence[str], centre_nm: NDArray[np.float64] | None) -> list[str] | dict[str, object]:
    """Names as they go into the head: a pattern where there is one, else the list.

    Args:
        names: of the bands.
        centre_nm: band centres as the decoder will have them, nm, ``(band,)``; None when there are none.
    """
    plain = list(names)
    texts = [_NUMBER.split(name) for name in plain]
    if len(plain) < 2 or any(text != texts[0] for text in texts) or len(texts[0]) < 2:
        return plain
    columns = zip(*(_NUMBER.findall(name) for name in plain), strict=True)
    text, numbers = [texts[0][0]], []
    for column, after in zip(columns, texts[0][1:], strict=True):
        if len(set(column)) == 1:  # the same number in every name is text
            text[-1] += column[0] + after
            continue
        numbers.append(_column(column, centre_nm))
        text.append(after)
    if not numbers or any(number is None for number in numbers):
        return plain
    pattern: dict[str, object] = {"text": text, "numbers": numbers}
    return pattern if list(unpacked(pattern, len(plain), centre_nm)) == plain else plain


def unpacked(kept: object, bands: int, centre_nm: NDArray[np.float64] | None) -> tuple[str, ...]:
    """The names again.

    Args:
        kept: what :func:`packed` gave, out of a head.
        bands: how many there are.
        centre_nm: band centres, nm, ``(band,)``.

    Raises:
        StreamCorrupt: a pattern that no encoder writes.
    """
    if isinstance(kept, list | tuple):
        return tuple(str(name) for name in kept)
    if not isinstance(kept, dict):
        raise StreamCorrupt("band names of a kind that no encoder writes", got=type(kept).__name__)
    text, numbers = kept.get("text"), kept.get("numbers")
    if not isinstance(text, list) or not isinstance(numbers, list) or len(text) != len(numbers) + 1:
        raise StreamCorrupt("band names whose pattern does not fit together", got=str(kept)[:80])
    columns = [_written(number, bands, centre_nm) for number in numbers]
    return tuple(
        "".join([str(text[0]), *(column[band] + str(part) for column, part in zip(columns, text[1:], strict=True))])
        for band in range(bands)
    )


def _column(column: Sequence[str], centre_nm: NDArray[np.float64] | None) -> Any:  # noqa: ANN401 # JSON
    """A column of numbers as runs, or as the unit and decimals of the wavelength; None where it is neither."""
    if all(number.isdigit() and str(int(number)) == number for number in column):
        values = np.array([int(number) for number in column])
        starts = np.flatnonzero(np.diff(values, prepend=values[0] - 2) != 1)
        counts = np.diff(starts, append=values.size)
        if 3 * starts.size <= values.size + 2:
            return [[int(values[start]), int(count)] for start, count in zip(starts, counts, strict=True)]
    if centre_nm is None:
        return None
    decimals = len(column[0].partition(".")[2])
    for unit in _UNITS:
        for single in ("", "f"):
            if list(column) == _wavelengths(unit, decimals, centre_nm, single):
                return f"{unit}{decimals}{single}"
    return None


def _written(number: object, bands: int, centre_nm: NDArray[np.float64] | None) -> list[str]:
    if isinstance(number, str) and centre_nm is not None and re.fullmatch(r"(nm|um)\df?", number):
        return _wavelengths(number[:2], int(number[2]), centre_nm, number[3:])
    if isinstance(number, list) and all(isinstance(run, list) and len(run) == 2 for run in number):
        runs = [(int(start), int(count)) for start, count in number]
        if all(count > 0 for _, count in runs) and sum(count for _, count in runs) == bands:
            return [str(start + at) for start, count in runs for at in range(count)]
    raise StreamCorrupt("band names with numbers that no encoder writes", got=str(number)[:80])


def _wavelengths(unit: str, decimals: int, centre_nm: NDArray[np.float64], single: str = "") -> list[str]:
    """Centres as text; ``single`` is 'f' where they passed through 32-bit floating point: 426.820007 for 426.82."""
    values = [centre / _UNITS[unit] for centre in centre_nm]
    if single:
        values = [float(np.float32(value)) for value in values]
    return [f"{value:.{min(decimals, _MOST_DECIMALS)}f}" for value in values]
