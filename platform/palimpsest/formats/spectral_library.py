"""Named spectra in files: ENVI spectral libraries, tables of columns, and the text files of the ECOSTRESS library.

ENVI: a header with ``file type = ENVI Spectral Library`` beside its values. Table (``.csv``): the first column is the
wavelength, each other one a spectrum named in the first line. ECOSTRESS text: lines ``Key: value`` with a ``Name``,
then two columns. Reflectance in percent (values above 2) becomes a fraction.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import FormatError
from palimpsest.formats.envi_header import parse_header
from palimpsest.formats.wavelengths import to_nm

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST_BYTES = 1 << 30
_DTYPES = {"1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8", "12": "u2", "13": "u4"}
_PERCENT = 2.0
_DELETED = -1e20  # and below: 'deleted' in the libraries of the USGS


@dataclass(frozen=True, slots=True)
class NamedSpectrum:
    """A spectrum with its name.

    Args:
        name: as the file has it.
        wavelengths_nm: ascending, ``(sample,)``.
        values: reflectance, ``(sample,)``, NaN where deleted.
    """

    name: str
    wavelengths_nm: NDArray[np.float64]
    values: NDArray[np.float64]


def read_spectra(path: Path) -> list[NamedSpectrum]:
    """Every spectrum of a file.

    Raises:
        FormatError: none of the three layouts, or a damaged file.
        FileNotFoundError: nothing there.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise FormatError("too large for a spectral library", where=path, got=path.stat().st_size, wanted=LARGEST_BYTES)
    if path.suffix.lower() in (".sli", ".hdr"):
        return _envi(path)
    try:
        text = path.read_text("utf-8", errors="strict")
    except UnicodeDecodeError:
        text = path.read_text("latin-1")
    return _table(text, path) if path.suffix.lower() == ".csv" else _ecostress(text, path)


def _envi(path: Path) -> list[NamedSpectrum]:
    header = path if path.suffix.lower() == ".hdr" else path.with_suffix(".hdr")
    fields = parse_header(header.read_text("latin-1"), header)
    if "spectral library" not in fields.get("file type", "").lower():
        raise FormatError("not a spectral library", where=header, got=fields.get("file type", "no file type"))
    stored = header.with_suffix(".sli") if header.with_suffix(".sli").exists() else header.with_suffix("")
    try:
        count, samples = int(fields["lines"]), int(fields["samples"])
        order = ">" if fields.get("byte order", "0").strip() == "1" else "<"
        dtype = np.dtype(order + _DTYPES[fields["data type"].strip()])
        centres = [float(one) for one in fields["wavelength"].split(",")]
        offset = int(fields.get("header offset", "0"))
        factor = float(fields.get("reflectance scale factor", "1")) or 1.0
    except (KeyError, ValueError) as error:
        raise FormatError("the header of the library lacks something", where=header, got=str(error)) from error
    if min(count, samples) < 1 or stored.stat().st_size < offset + count * samples * dtype.itemsize:
        raise FormatError("the library is cut short", where=stored, got=stored.stat().st_size, wanted=f"{count} rows")
    values = np.fromfile(stored, dtype, count * samples, offset=offset).reshape(count, samples).astype(np.float64)
    names = [one.strip() for one in fields.get("spectra names", "").split(",")]
    if len(names) != count:
        names = [f"spectrum {number}" for number in range(1, count + 1)]
    at, _, _ = to_nm(centres, None, fields.get("wavelength units", ""))
    return [_spectrum(name, at, row / factor, header) for name, row in zip(names, values, strict=True)]


def _table(text: str, path: Path) -> list[NamedSpectrum]:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if len(rows) < 3 or len(rows[0]) < 2:
        raise FormatError("not a table of spectra", where=path, got=f"{len(rows)} lines", wanted="names, then numbers")
    try:
        numbers = np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows[1:]])
        if numbers.shape[1] != len(rows[0]):
            raise ValueError(f"{numbers.shape[1]} columns under {len(rows[0])} names")
    except ValueError as error:
        raise FormatError("not a table of spectra", where=path, got=str(error), wanted="columns of numbers") from error
    at, _, _ = to_nm(numbers[:, 0].tolist(), None, "")
    columns = zip(rows[0][1:], numbers[:, 1:].T, strict=True)
    return [_spectrum(name.strip(), at, column, path) for name, column in columns]


def _ecostress(text: str, path: Path) -> list[NamedSpectrum]:
    fields: dict[str, str] = {}
    numbers: list[tuple[float, float]] = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and not numbers:
            fields.setdefault(key.strip().lower(), value.strip())
            continue
        parts = line.split()
        if len(parts) >= 2:
            try:
                numbers.append((float(parts[0]), float(parts[1])))
            except ValueError:
                continue
    if "name" not in fields or len(numbers) < 3:
        raise FormatError("no layout of spectra that is known", where=path, wanted=".sli, .csv, or 'Name:' and columns")
    columns = np.array(numbers)
    at, _, _ = to_nm(columns[:, 0].tolist(), None, fields.get("x units", ""))
    return [_spectrum(fields["name"], at, columns[:, 1], path)]


def _spectrum(name: str, at: NDArray[np.float64] | None, values: NDArray[np.float64], path: Path) -> NamedSpectrum:
    if at is None or at.size != values.size:
        raise FormatError("wavelengths do not fit the values", where=path, got=values.size, wanted="one a value")
    order = np.argsort(at, kind="stable")
    at, values = at[order], np.where(values[order] > _DELETED, values[order], np.nan)
    apart = np.concatenate([[True], np.diff(at) > 0])
    known = values[np.isfinite(values)]
    if known.size and np.percentile(known, 95) > _PERCENT:
        values = values / 100
    return NamedSpectrum(name or "unnamed", at[apart], values[apart])
