"""``palimpsest convert IN OUT``: any known format to another; bare arrays with what the user tells about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("source", metavar="IN", type=Path, help="ENVI, GeoTIFF, netCDF, Zarr, .npy or .mat")
    parser.add_argument("target", metavar="OUT", type=Path, help="suffix .hdr, .tif, .cog.tif, .nc, .zarr or .npy")
    parser.add_argument("--variable", metavar="NAME", help="which cube of a file that holds several")
    parser.add_argument("--axes", choices=("brc", "rcb", "rbc"), help="axes of a bare array: band, row, column")
    parser.add_argument("--wavelengths", metavar="FILE", type=Path, help="band centres, one line a band, nm or µm")
    parser.add_argument("--fwhm", metavar="FILE", type=Path, help="band widths; in the same file, its next column")
    parser.add_argument("--nodata", metavar="V", type=float, help="value that stands for 'no data'")
    parser.add_argument("--scale", metavar="S", type=float, help="physical value = stored value x S")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Read, amend, write."""
    from palimpsest import formats
    from palimpsest.formats.bare import Telling, read_told
    from palimpsest.formats.envi_fields import NOTE

    told = Telling(
        options.variable, options.axes, options.wavelengths, options.fwhm, options.nodata, options.scale
    )
    known_as = formats.FORMATS.of_content(options.source)
    formats.FORMATS.of_suffix(options.target)  # refuse an unknown suffix before the work, not after it
    cube = read_told(options.source, known_as, told)
    formats.write(cube, options.target)
    if NOTE in cube.metadata:
        note(f"{options.source.name}: {cube.metadata[NOTE]}")
    print_result(
        {
            "from": known_as.name, "to": str(options.target), "bands": cube.shape.bands, "rows": cube.shape.rows,
            "cols": cube.shape.cols, "dtype": cube.data.dtype.name, "has_wavelengths": cube.bands.has_wavelengths,
        },
        as_json=options.json,
    )
    return 0
