"""``palimpsest explain``: why one pixel of a restored cube is what it is."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest.commands import add_json, print_result
from palimpsest.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("provenance", type=Path, help="a file of `palimpsest restore --provenance`")
    parser.add_argument("--pixel", required=True, metavar="R,C", help="row and column, 0-based")
    parser.add_argument("--band-nm", type=float, metavar="NM", help="only the band nearest to this wavelength")
    parser.add_argument("--restoration", default="", metavar="ID", help="or name of the cube; the latest by default")
    parser.add_argument("--input", type=Path, metavar="FILE", help="the stream or cube, where it no longer lies there")
    parser.add_argument("--knowledge", metavar="RELEASE", help="the release of the record, where it lies elsewhere now")
    parser.add_argument("--paragraph", action="store_true", help="nothing but the paragraph in words")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Explain a pixel."""
    from functools import partial

    from palimpsest.provenance.explain import explain
    from palimpsest.provenance.recompute import restore_again

    row, col = _pixel(options.pixel)
    told = explain(
        options.provenance, row, col, options.band_nm, input_path=options.input,
        recompute=partial(restore_again, release=options.knowledge), which=options.restoration,
    ).to_dict()
    if options.json:
        print_result(told, as_json=True)
    elif options.paragraph:
        print(told["paragraph"])
    elif options.band_nm is not None:
        _tell_band(told)
    else:
        _tell_groups(told)
    return 0


def _pixel(text: str) -> tuple[int, int]:
    try:
        row, col = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError("not a pixel", got=repr(text), wanted="R,C, 0-based") from error
    return row, col


def _head(told: dict[str, Any]) -> None:
    print(f"{told['name']}, pixel {told['row']},{told['col']}: exact numbers {told['agreement']}; "
          f"quantum {told['quantum']:g}")
    print(f"release {(told['release'] or 'none')[:16]}, model {(told['model'] or 'none')[:16]}")
    print("\n" + textwrap.fill(told["paragraph"], 110))


def _tell_band(told: dict[str, Any]) -> None:
    _head(told)
    place = "" if told["centre_nm"] is None else f" at {told['centre_nm']:.1f} nm"
    print(f"\nband {told['band']}{place}: {told['class']}")
    print(f"  decoded   {_shown(told['decoded'])}")
    for one in told["contributions"]:
        print(f"  {one['value']:>+12g}  {_who(one)}")
    interval = told["interval"]
    sure = "" if interval is None else f"   90 % interval {interval[0]:g} to {interval[1]:g}"
    print(f"  restored  {_shown(told['restored'])}{sure}")


def _tell_groups(told: dict[str, Any]) -> None:
    _head(told)
    for group in told["groups"]:
        place = "" if group["from_nm"] is None else f", {group['from_nm']:.0f} to {group['to_nm']:.0f} nm"
        print(f"\nbands {group['bands']}{place}: {group['class']} (means over the bands)")
        width = "" if group["half_width"] is None else f" +- {group['half_width']:g}"
        print(f"  decoded {_shown(group['decoded'])}, restored {_shown(group['restored'])}{width}")
        for one in group["contributions"]:
            print(f"  {one['value']:>+12g}  {_who(one)}")


def _who(one: dict[str, Any]) -> str:
    named = one["rule"] or one["material"]
    return f"{one['source']}{f' <{named}>' if named else ''}, trust {one['confidence']:.2f}: {one['sentence']}"


def _shown(value: float | None) -> str:
    return "unknown (the input is not there)" if value is None else f"{value:g}"
