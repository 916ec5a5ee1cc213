"""ENVI cubes: a raw file and a text header beside it. Either of the two may be given.

Little is read at once: values are mapped, in any interleave, and only a foreign byte order or a compressed file has
to be brought into memory. A header that disagrees with its bytes is refused with the header values that would fit.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from palimpsest.atomic import replacing, write_text
from palimpsest.cubes import Cube, CubeShape
from palimpsest.cubes.mapped import KEPT_BYTES, forget
from palimpsest.errors import FormatError, HeaderMismatch
from palimpsest.formats.envi_fields import NOTE, read_meaning, write_meaning
from palimpsest.formats.envi_header import format_header, is_header, read_header, whole
from palimpsest.formats.sidecar import read_reasons, write_reasons

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

Interleave = Literal["bsq", "bil", "bip"]
DTYPE_OF_CODE = {
    1: "uint8", 2: "int16", 3: "int32", 4: "float32", 5: "float64", 12: "uint16", 13: "uint32",
}
REFUSED_CODES = {6: "complex64", 9: "complex128", 14: "int64", 15: "uint64"}
DATA_SUFFIXES = (".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".bin", ".cube", ".envi", "")
# Which axis of (band, row, col) each axis of the file is.
FILE_AXES: dict[str, tuple[int, int, int]] = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the bytes of the raw file stand for a cube."""

    shape: CubeShape
    dtype: np.dtype[np.generic]
    interleave: str
    offset: int

    @property
    def wanted_bytes(self) -> int:
        """Size that the raw file must have."""
        return self.offset + self.shape.voxels * self.dtype.itemsize

    @property
    def file_shape(self) -> tuple[int, int, int]:
        """Lengths of the axes in the order of the file."""
        first, second, third = FILE_AXES[self.interleave]
        return self.shape[first], self.shape[second], self.shape[third]

    def arrange(self, flat: NDArray[np.generic]) -> NDArray[np.generic]:
        """The values as ``(band, row, col)``, a view."""
        axes = FILE_AXES[self.interleave]
        return flat.reshape(self.file_shape).transpose(np.argsort(axes))


@dataclass(frozen=True, slots=True)
class Envi:
    """ENVI with its header; ``interleave`` and ``big_endian`` matter for writing only."""

    interleave: Interleave = "bsq"
    big_endian: bool = False
    name: str = "ENVI"
    suffixes: tuple[str, ...] = (".hdr", ".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".envi")

    def sniff(self, path: Path, head: bytes) -> bool:
        """A header by its first word, a raw file by the header beside it."""
        if is_header(head):
            return True
        header = _header_beside(path)
        if header is None or not path.is_file() or head[:4] in (b"II*\0", b"MM\0*", b"\x89HDF"):
            return False
        with header.open("rb") as stream:
            return is_header(stream.read(64))

    def read(self, path: Path) -> Cube:
        """The cube; values are a read-only memory map unless byte order or compression forbid it."""
        header = path if path.suffix.lower() == ".hdr" else _header_beside(path)
        if header is None and path.is_file():
            with path.open("rb") as stream:
                header = path if is_header(stream.read(64)) else None
        if header is None:
            raise FormatError("no header beside the raw file", where=path, wanted=f"{path.with_suffix('.hdr').name}")
        fields = read_header(header)
        layout, remark = _layout(fields, header)
        raw = path if path != header else _raw_beside(header, layout)
        data = _values(raw, header, fields, layout)
        meaning = read_meaning(fields, layout.shape.bands, header)
        metadata = dict(meaning.metadata)
        if remark:
            metadata[NOTE] = "; ".join(filter(None, (metadata.get(NOTE), remark)))
        sidecar = fields.get("palimpsest mask")
        return Cube(
            data, meaning.bands, None if sidecar is None else read_reasons(header, sidecar, layout.shape),
            nodata=meaning.nodata, scale=meaning.scale, offset=meaning.offset, units=meaning.units,
            georeference=meaning.georeference, name=header.name.removesuffix(header.suffix), sensor=meaning.sensor,
            metadata=metadata, history=meaning.history,
        )

    def write(self, cube: Cube, path: Path) -> None:
        """Write header and raw file; both names are derived from whichever of the two is given."""
        code = {name: code for code, name in DTYPE_OF_CODE.items()}.get(cube.data.dtype.name)
        if code is None:
            raise FormatError(
                "ENVI has no such data type", where=path, got=cube.data.dtype.name,
                wanted=f"{', '.join(DTYPE_OF_CODE.values())}; .tif, .nc and .zarr hold it",
            )
        suffix = path.suffix.lower()
        header = path.with_suffix(".hdr")
        raw = path.with_suffix(".img") if suffix == ".hdr" else path
        interleave = suffix[1:] if suffix in (".bil", ".bip", ".bsq") else self.interleave
        fields: dict[str, str | list[str]] = {
            "samples": str(cube.shape.cols), "lines": str(cube.shape.rows), "bands": str(cube.shape.bands),
            "header offset": "0", "file type": "ENVI Standard", "data type": str(code), "interleave": interleave,
            "byte order": str(int(self.big_endian)), **write_meaning(cube),
        }
        with replacing(raw) as fresh:
            _write_values(cube.data, fresh, interleave, big_endian=self.big_endian)
        sidecar = write_reasons(header, cube.reasons)
        write_text(header, format_header(fields if sidecar is None else {**fields, "palimpsest mask": sidecar}))


def _header_beside(path: Path) -> Path | None:
    lower = (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr"))
    names = (*lower, *(name.with_suffix(".HDR") for name in lower))
    return next((name for name in names if name != path and name.is_file()), None)


def _raw_beside(header: Path, layout: Layout) -> Path:
    stem = header.name[: -len(header.suffix)] if header.suffix.lower() == ".hdr" else header.name
    wanted = {stem.lower() + suffix for suffix in (*DATA_SUFFIXES, f".{layout.interleave}")} - {header.name.lower()}
    found = [p for p in sorted(header.parent.iterdir()) if p.name.lower() in wanted and p.name.startswith(stem)]
    found = [p for p in found if p.is_file()]
    if not found:
        raise FormatError(
            "no raw file beside the header", where=header, wanted=f"{stem} with one of {', '.join(DATA_SUFFIXES[:-1])}"
        )
    fitting = [p for p in found if p.stat().st_size == layout.wanted_bytes]
    return min(fitting or found, key=lambda p: DATA_SUFFIXES.index(p.suffix.lower() if p.name != stem else ""))


def _layout(fields: Mapping[str, str], header: Path) -> tuple[Layout, str]:
    kind = fields.get("file type", "")
    if "spectral library" in kind.lower():
        raise FormatError("a spectral library, not a cube", where=header, got=kind, wanted="file type = ENVI Standard")
    shape = CubeShape(*(whole(fields, key, header) for key in ("bands", "lines", "samples")))
    if 0 in shape:
        raise FormatError("an empty axis", where=header, got=f"bands, lines, samples = {tuple(shape)}")
    code = whole(fields, "data type", header)
    if code not in DTYPE_OF_CODE:
        raise FormatError(
            "a data type that is not read", where=header, got=f"{code} {REFUSED_CODES.get(code, '(unknown)')}",
            wanted=", ".join(f"{known} {name}" for known, name in DTYPE_OF_CODE.items()),
        )
    interleave = fields.get("interleave", "").strip().lower()
    if interleave not in FILE_AXES:
        raise FormatError("unknown interleave", where=header, got=repr(interleave), wanted="bsq, bil or bip")
    order = whole(fields, "byte order", header, default=0)
    if order not in (0, 1):
        raise FormatError("unknown byte order", where=header, got=order, wanted="0 (little endian) or 1 (big endian)")
    dtype = np.dtype(DTYPE_OF_CODE[code]).newbyteorder(">" if order else "<")
    silent = "byte order" not in fields and dtype.itemsize > 1
    remark = "byte order taken for little endian: the header gives none" if silent else ""
    return Layout(shape, dtype, interleave, whole(fields, "header offset", header, default=0)), remark


def _values(raw: Path, header: Path, fields: Mapping[str, str], layout: Layout) -> NDArray[np.generic]:
    with raw.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if packed and fields.get("file compression", "0").strip() == "1":
        return _native(layout.arrange(_unpacked(raw, header, layout)))
    actual = raw.stat().st_size
    if actual != layout.wanted_bytes:
        raise _mismatch(raw, layout, actual)
    mapped = np.memmap(raw, layout.dtype, mode="r", offset=layout.offset, shape=(layout.shape.voxels,))
    return _native(layout.arrange(mapped))


def _native(data: NDArray[np.generic]) -> NDArray[np.generic]:
    return data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))


def _unpacked(raw: Path, header: Path, layout: Layout) -> NDArray[np.generic]:
    try:
        with gzip.open(raw) as stream:
            content = stream.read(layout.wanted_bytes + 1)  # never more than the header promises
            while len(content) <= layout.wanted_bytes and (more := stream.read(1 << 20)):
                content += more
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError("compressed values cannot be unpacked", where=raw, got=str(error)) from error
    if len(content) != layout.wanted_bytes:
        got = f"more than {layout.wanted_bytes}" if len(content) > layout.wanted_bytes else f"{len(content)}"
        raise HeaderMismatch(
            "header and unpacked bytes disagree", where=header, got=f"{got} bytes",
            wanted=f"{layout.wanted_bytes} bytes",
        )
    return np.frombuffer(content, layout.dtype, offset=layout.offset)


def _mismatch(raw: Path, layout: Layout, actual: int) -> HeaderMismatch:
    fits = fitting_values(layout, actual)
    return HeaderMismatch(
        "header and bytes disagree", where=raw,
        got=f"{actual} bytes",
        wanted=f"{layout.wanted_bytes} bytes for {layout.shape.bands} bands x {layout.shape.rows} lines x "
        f"{layout.shape.cols} samples of {layout.dtype.name} after {layout.offset} bytes; "
        + (f"would fit: {', or '.join(fits)}" if fits else "no change of a single header value would fit"),
    )


def fitting_values(layout: Layout, actual: int) -> list[str]:
    """Single changes of the header with which a raw file of ``actual`` bytes would agree, in words."""
    payload, size, shape = actual - layout.offset, layout.dtype.itemsize, layout.shape
    fits = []
    for key, length in (("bands", shape.bands), ("lines", shape.rows), ("samples", shape.cols)):
        slab = shape.voxels // length * size
        if payload > 0 and payload % slab == 0:
            fits.append(f"{key} = {payload // slab}")
    for code, name in DTYPE_OF_CODE.items():
        if payload == shape.voxels * np.dtype(name).itemsize:
            fits.append(f"data type = {code} ({name})")
    if actual > shape.voxels * size:
        fits.append(f"header offset = {actual - shape.voxels * size}")
    return fits


def _write_values(data: NDArray[np.generic], path: Path, interleave: str, *, big_endian: bool) -> None:
    stored = data.dtype.newbyteorder(">" if big_endian else "<")
    in_file_order = data.transpose(FILE_AXES[interleave])
    written = 0
    with path.open("wb") as stream:
        # Slab by slab, so that a memory map larger than memory can be copied.
        for slab in in_file_order:
            stream.write(np.ascontiguousarray(slab, stored).data)
            written += slab.nbytes
            if written > KEPT_BYTES:
                forget(data)
                written = 0
