"""GeoTIFF and cloud-optimised GeoTIFF, through rasterio (GDAL).

Bands carry centre and width in GDAL's IMAGERY domain (micrometres) and in the per-band tags that remote-sensing
desktops read; the ENVI domain holds the whole header exactly. Only GDAL's GTiff driver is ever asked to open a file.
The mask with reasons lies in a sidecar.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.atomic import replacing
from palimpsest.cubes import BandTable, Cube, CubeShape, Georeference
from palimpsest.cubes.cube import STORED_DTYPES, can_hold
from palimpsest.errors import FormatError
from palimpsest.formats.envi_fields import NOTE, write_meaning
from palimpsest.formats.envi_header import format_header, parse_header
from palimpsest.formats.header_text import agreed, fields_meaning
from palimpsest.formats.memory import refuse_beyond_memory
from palimpsest.formats.mission_flags import beside_enmap, joined, layer_reasons
from palimpsest.formats.sidecar import read_reasons, write_reasons
from palimpsest.formats.wavelengths import from_names, to_nm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEADER = "PALIMPSEST_HEADER"
FLAGGED = "the mission's quality layers are in the mask"
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class GeoTiff:
    """Tiled, deflated GeoTIFF; with ``is_cog`` in the layout that can be read in parts over the network."""

    name: str = "GeoTIFF"
    suffixes: tuple[str, ...] = (".tif", ".tiff")
    is_cog: bool = False

    def sniff(self, path: Path, head: bytes) -> bool:
        """The TIFF magic, of either byte order, classic or big."""
        return head[:4] in _MAGIC and not self.is_cog

    def read(self, path: Path) -> Cube:
        """The cube, read whole."""
        import rasterio

        with _rasterio_errors(path), rasterio.open(path, driver="GTiff") as source:
            shape = CubeShape(source.count, source.height, source.width)
            _check(source.dtypes, shape, path)
            fields = _header_fields(source, path)
            meaning, stated = fields_meaning(fields, shape.bands, path)
            own, remark = _band_table(source)
            scale, offset, gain_remark = _gains(source, meaning.scale, meaning.offset)
            metadata = dict(meaning.metadata) or {
                key.lower(): value for key, value in source.tags().items() if key not in (_HEADER, "AREA_OR_POINT")
            }
            remarks = [metadata.get(NOTE, ""), remark if stated is None else "", gain_remark]
            if any(remarks):
                metadata[NOTE] = "; ".join(filter(None, remarks))
            sidecar = fields.get("palimpsest mask")
            flagged = _layers_beside(path, shape)
            if flagged is not None:
                metadata[NOTE] = "; ".join(filter(None, (metadata.get(NOTE, ""), FLAGGED)))
            return Cube(
                source.read(), agreed(stated, own),
                flagged if sidecar is None else read_reasons(path, sidecar, shape),
                nodata=meaning.nodata if source.nodata is None else float(source.nodata), scale=scale, offset=offset,
                units=meaning.units or (source.units[0] or ""), georeference=_place(source, meaning.georeference),
                name=path.stem, sensor=meaning.sensor, metadata=metadata, history=meaning.history,
            )

    def write(self, cube: Cube, path: Path) -> None:
        """Write band after band; a cloud-optimised file is copied together from a plain one."""
        sidecar = write_reasons(path, cube.reasons)
        with _rasterio_errors(path), replacing(path) as fresh:
            plain = fresh.with_name("plain.tif") if self.is_cog else fresh
            _write_plain(cube, plain, sidecar)
            if self.is_cog:
                from rasterio import shutil

                shutil.copy(plain, fresh, driver="COG", compress="DEFLATE", predictor="YES", overviews="NONE")


def _layers_beside(path: Path, shape: CubeShape) -> NDArray[np.uint8] | None:
    """What EnMAP's quality layers beside a spectral image say, ``(band, row, col)``; None where there are none."""
    import rasterio

    found: NDArray[np.uint8] | None = None
    for layer, files in beside_enmap(path).items():
        parts = []
        for one in files:
            with _rasterio_errors(one), rasterio.open(one, driver="GTiff") as source:
                parts.append(source.read())
        if len({part.shape[1:] for part in parts}) > 1:
            raise FormatError("quality layers of different size", where=files[0], got=[part.shape for part in parts])
        told = layer_reasons(layer, np.concatenate(parts), shape, files[0])
        found = joined(found, told) if found is not None or told.any() else None
    return found


@contextmanager
def _rasterio_errors(path: Path) -> Iterator[None]:
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a drill core has no place on the ground
            with _listening() as said:
                yield
    except RasterioError as error:
        raise FormatError("GDAL cannot work on this file", where=path, got=str(error)) from error
    cut = [line for line in said if "IO error" in line]
    if cut:  # tags behind the end of a truncated file are only remarked on, and nodata would be lost with them
        raise FormatError("truncated: tags lie beyond the end of the file", where=path, got=cut[0])


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What GDAL remarks on meanwhile, kept off the terminal."""
    said: list[str] = []
    ear = logging.Handler(logging.WARNING)
    ear.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # a handler of one line
    log = logging.getLogger("rasterio")
    log.addHandler(ear)
    try:
        yield said
    finally:
        log.removeHandler(ear)


def _check(dtypes: tuple[str, ...], shape: CubeShape, path: Path) -> None:
    if dtypes[0] not in STORED_DTYPES:
        raise FormatError("a data type that is not read", where=path, got=dtypes[0], wanted=", ".join(STORED_DTYPES))
    refuse_beyond_memory(shape.voxels * np.dtype(dtypes[0]).itemsize, path)


def _header_fields(source: Any, path: Path) -> dict[str, str]:  # noqa: ANN401  rasterio ships no types
    header = source.tags().get(_HEADER)
    if header is not None:
        return parse_header(header, path)
    return {key.replace("_", " "): _bare(value) for key, value in source.tags(ns="ENVI").items()}


def _bare(value: str) -> str:
    text = value.strip()
    return text[1:-1].strip() if text.startswith("{") and text.endswith("}") else text


def _band_table(source: Any) -> tuple[BandTable, str]:  # noqa: ANN401  as above
    """What the per-band tags and names say, without the ENVI domain."""
    count = source.count
    imagery = [source.tags(band, ns="IMAGERY") for band in range(1, count + 1)]
    tags = [{k.lower(): v for k, v in source.tags(band).items()} for band in range(1, count + 1)]
    names = tuple(name or "" for name in source.descriptions)
    centres = _numbers([entry.get("CENTRAL_WAVELENGTH_UM") for entry in imagery])
    widths, unit = _numbers([entry.get("FWHM_UM") for entry in imagery]), "um"
    tagged = _numbers([entry.get("wavelength") for entry in tags])
    if tagged is not None:  # given to more digits than GDAL's own domain
        centres, widths = tagged, _numbers([entry.get("fwhm") for entry in tags])
        unit = tags[0].get("wavelength_units", tags[0].get("wavelength_unit", ""))
    remark = ""
    if centres is None and (hidden := from_names(names)) is not None:
        (centres, unit), remark = hidden, "wavelengths read from the band names; "
    centre_nm, fwhm_nm, said = (None, None, "") if centres is None else to_nm(centres, widths, unit)
    flags = _numbers([entry.get("bbl") for entry in tags])
    good = np.ones(count, bool) if flags is None else np.asarray(flags) != 0
    if fwhm_nm is not None and not (fwhm_nm > 0).all():
        fwhm_nm = None
    return BandTable(count, centre_nm, fwhm_nm, good, names=names if any(names) else ()), (remark + said).rstrip("; ")


def _numbers(texts: list[str | None]) -> list[float] | None:
    try:
        return [float(text) for text in texts if text is not None] if None not in texts else None
    except ValueError:
        return None


def _gains(source: Any, scale: float, offset: float) -> tuple[float, float, str]:  # noqa: ANN401  as above
    gains, offsets = set(source.scales), set(source.offsets)
    if gains == {1.0} and offsets == {0.0}:
        return scale, offset, ""
    if len(gains) == 1 and len(offsets) == 1:
        return float(gains.pop()), float(offsets.pop()), ""
    return 1.0, 0.0, "gains and offsets differ between bands: values are kept as stored"


def _place(source: Any, stated: Georeference | None) -> Georeference | None:  # noqa: ANN401  as above
    affine = source.transform
    transform = (affine.a, affine.b, affine.c, affine.d, affine.e, affine.f)
    if source.crs is None and transform == _IDENTITY:
        return None
    if stated is not None and np.allclose(stated.transform, transform, rtol=1e-12):
        return stated  # the words of the coordinate system as they came, not as GDAL spells them
    return Georeference(source.crs.to_wkt() if source.crs is not None else "", transform)


def _write_plain(cube: Cube, path: Path, sidecar: str | None) -> None:
    import rasterio
    from rasterio.transform import Affine

    bands, rows, cols = cube.shape
    place = cube.georeference
    profile: dict[str, object] = {
        "driver": "GTiff", "count": bands, "height": rows, "width": cols, "dtype": cube.data.dtype.name, "tiled": True,
        "compress": "deflate", "predictor": 3 if cube.data.dtype.kind == "f" else 2, "interleave": "band",
        "BIGTIFF": "IF_SAFER",
    }
    if cube.nodata is not None and can_hold(cube.data.dtype, cube.nodata):
        profile["nodata"] = cube.nodata
    if place is not None:
        profile |= {"transform": Affine(*place.transform), **({"crs": place.crs_wkt} if place.crs_wkt else {})}
    with rasterio.open(path, "w", **profile) as target:
        for band in range(bands):
            target.write(np.ascontiguousarray(cube.data[band]), band + 1)
        fields = write_meaning(cube) | ({} if sidecar is None else {"palimpsest mask": sidecar})
        target.update_tags(**{_HEADER: format_header(fields)})  # GDAL's COG driver drops the ENVI domain
        target.update_tags(ns="ENVI", **{key.replace(" ", "_"): _braced(value) for key, value in fields.items()})
        if (cube.scale, cube.offset) != (1.0, 0.0):
            target.scales, target.offsets = [cube.scale] * bands, [cube.offset] * bands
        if cube.units:
            target.units = [cube.units] * bands
        _tag_bands(target, cube.bands)


def _braced(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "{" + ", ".join(value) + "}"


def _tag_bands(target: Any, bands: BandTable) -> None:  # noqa: ANN401  as above
    for i in range(bands.count):
        if bands.names:
            target.set_band_description(i + 1, bands.names[i])
        tags, imagery = ({} if bands.good.all() else {"bbl": str(int(bands.good[i]))}), {}
        if bands.centre_nm is not None:
            tags |= {"wavelength": repr(float(bands.centre_nm[i])), "wavelength_units": "Nanometers"}
            imagery["CENTRAL_WAVELENGTH_UM"] = f"{bands.centre_nm[i] / 1000:.9g}"
        if bands.fwhm_nm is not None:
            tags["fwhm"] = repr(float(bands.fwhm_nm[i]))
            imagery["FWHM_UM"] = f"{bands.fwhm_nm[i] / 1000:.9g}"
        if tags:
            target.update_tags(i + 1, **tags)
        if imagery:
            target.update_tags(i + 1, ns="IMAGERY", **imagery)


CLOUD_OPTIMISED = GeoTiff("COG", (".cog.tif", ".cog.tiff", ".cog"), is_cog=True)

