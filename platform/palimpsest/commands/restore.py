"""``palimpsest restore``: bring back what compression and defects took; say why."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result
from palimpsest.errors import FormatError, UsageError

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.result import Restoration

_REPORTED = ("unrestored_voxels", "sources", "remark", "group", "companions", "hard_rules",
             "rules_broken_by_measured_voxels", "guarded_features")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH",
                        help="input and output; with --group: inputs and the output folder")
    parser.add_argument("--group", action="store_true", help="restore several cubes together")
    parser.add_argument("--mask", type=Path, action="append", default=[],
                        help="uint8 cube, 1 = usable (ENVI or .npy in band, row, col); with --group once a cube, in "
                             "their order, 'none' for a cube without")
    parser.add_argument("--knowledge", default=None, help="folder, built release, id, or 'none'")
    parser.add_argument("--provenance", type=Path, help="SQLite file that answers `explain` afterwards")
    parser.add_argument("--provenance-full", action="store_true", help="store every exact contribution in it")
    parser.add_argument("--weights", type=Path, help="another integrator (.safetensors)")
    parser.add_argument("--leave-out", action="append", default=[], metavar="PART",
                        help="do without a part of the integrator (to see what it is worth)")
    parser.add_argument("--infer-opaque", action="store_true",
                        help="also infer opaque and noisy bands; otherwise they stay as stored")
    parser.add_argument("--denoise", action="store_true",
                        help="also take the noise off voxels that were measured; otherwise they stay as stored")
    parser.add_argument("--workers", type=int, default=0,
                        help="blocks worked on at a time (default: all processors, four at most); the result is the "
                             "same")
    parser.add_argument("--no-edges", action="store_true", help="remove the edges of the graph")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Restore, write, and print what was done."""
    from palimpsest.restoration.computing.side_by_side import workers

    with workers(max(0, options.workers)):
        answer = _restored(options)
    print_result(answer, as_json=options.json)
    return 0


def _restored(options: argparse.Namespace) -> dict[str, object]:
    *inputs, out = options.paths
    if not inputs or (len(inputs) > 1 and not options.group):
        raise UsageError("restore takes one input and one output", got=f"{len(options.paths)} paths",
                         wanted="IN OUT, or IN... OUTDIR --group")
    if options.mask and len(options.mask) != len(inputs):
        raise UsageError("one mask for every cube", got=f"{len(options.mask)} masks, {len(inputs)} cubes",
                         wanted="--mask once a cube, 'none' for a cube without")
    masks = [None if str(path) == "none" else path for path in options.mask] or [None] * len(inputs)
    started = time.perf_counter()
    knowledge = _knowledge(options.knowledge)
    # A single cube is searched where it is repaired; cubes of a group before they meet.
    searched = [options.group and mask is None for mask in masks]
    opened = [open_input(path, is_searched=one) for path, one in zip(inputs, searched, strict=True)]
    if options.group:
        answer = _group(options, opened, masks, (inputs, out), knowledge)
    else:
        answer = _single(options, opened[0], masks[0], (inputs[0], out), knowledge)
    answer["seconds"] = round(time.perf_counter() - started, 2)
    return answer


def open_input(path: Path, *, is_searched: bool = True) -> tuple[Cube, bool]:
    """A cube, and whether it comes from a lossy stream.

    Args:
        path: a stream or a cube.
        is_searched: look for defects that nobody marked. A stream is never searched: it carries the mask that was made
            before coding, and what a coder smoothed must not pass for a defect.
    """
    if path.suffix == ".plm":
        from palimpsest.codec.decoder import decode, error_model

        return decode(path), error_model(path).bound != 0
    from palimpsest.formats import read
    from palimpsest.restoration.defects.defect_search import search

    cube = read(path)
    return (search(cube).marked().cube if is_searched else cube), False


def read_mask(path: Path, cube: Cube) -> NDArray[np.bool_]:
    """A mask file: True = usable, ``(band, row, col)``.

    Raises:
        FormatError: not a uint8 or bool array.
        CubeRefused: another shape than the cube's.
    """
    import numpy as np

    from palimpsest.restoration.defects.given_mask import given_mask

    if path.suffix == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise FormatError("not a mask", where=path, wanted=".npy of uint8 (band, row, col)") from error
    else:
        from palimpsest.formats import read

        values = np.asarray(read(path).data)
    return given_mask(values, cube, path)


def _knowledge(name: str | None) -> KnowledgeBase | None:
    if name == "none":
        return None
    from palimpsest.knowledge.releases.release import load

    return load(name)


def _places(options: argparse.Namespace) -> dict[str, str]:
    """Where a release that is not published and weights that are not packaged were read, to restore again from."""
    given = {"release_from": options.knowledge, "weights_from": options.weights}
    return {name: str(Path(value).resolve()) for name, value in given.items() if value and Path(value).exists()}


def _single(
    options: argparse.Namespace, opened: tuple[Cube, bool], mask_path: Path | None, paths: tuple[Path, Path],
    knowledge: KnowledgeBase | None,
) -> dict[str, object]:
    from palimpsest.formats import write
    from palimpsest.restoration.repair import repair

    cube, is_decoded = opened
    path, out = paths
    mask = None if mask_path is None else read_mask(mask_path, cube)
    is_searched = mask is None and path.suffix != ".plm"
    result = repair(
        cube, knowledge=knowledge, is_searched=is_searched, is_denoised=options.denoise, mask=mask,
        weights=options.weights, parts_left_out=tuple(options.leave_out), edges=not options.no_edges,
        is_decoded=is_decoded, infer_opaque=options.infer_opaque,
    )
    write(result.restored, out)
    answer = _report(result) | {"out": str(out)}
    if options.provenance is not None:
        from palimpsest.provenance.record import Origin, write_provenance

        settings = {
            "parts_left_out": list(options.leave_out), "edges": not options.no_edges, "is_decoded": is_decoded,
            "mask": mask is not None, "infer_opaque": options.infer_opaque,
            "searched": is_searched, "denoised": options.denoise,
            **_places(options),
        }
        origin = Origin.of_file(path, settings)
        answer["restoration"] = write_provenance(result, options.provenance, origin, full=options.provenance_full)
        answer["provenance"] = str(options.provenance)
    return answer


def _group(
    options: argparse.Namespace, opened: list[tuple[Cube, bool]], mask_paths: list[Path | None],
    paths: tuple[list[Path], Path], knowledge: KnowledgeBase | None,
) -> dict[str, object]:
    from palimpsest.formats import write
    from palimpsest.restoration.group import restore_group

    inputs, out = paths
    outputs = [out / f"{path.stem}{_suffix(path)}" for path in inputs]
    if len(set(outputs)) != len(outputs) or {path.resolve() for path in outputs} & {path.resolve() for path in inputs}:
        raise UsageError("outputs would overwrite each other or an input", where=out,
                         got=", ".join(str(path) for path in inputs), wanted="different names, another folder")
    cubes = [cube for cube, _ in opened]
    masks = [None if path is None else read_mask(path, cube) for path, cube in zip(mask_paths, cubes, strict=True)]
    results = restore_group(
        cubes, knowledge=knowledge, masks=masks, weights=options.weights, parts_left_out=tuple(options.leave_out),
        edges=not options.no_edges, are_decoded=[lossy for _, lossy in opened], infer_opaque=options.infer_opaque,
        is_denoised=options.denoise,
    )
    out.mkdir(parents=True, exist_ok=True)
    for path, result in zip(outputs, results, strict=True):
        write(result.restored, path)
    answer: dict[str, object] = {"out": str(out), "cubes": [_report(result) for result in results]}
    if options.provenance is not None:
        answer["restorations"] = _record_group(options, opened, masks, inputs, results)
        answer["provenance"] = str(options.provenance)
    return answer


def _record_group(
    options: argparse.Namespace, opened: list[tuple[Cube, bool]], masks: list[NDArray[np.bool_] | None],
    inputs: list[Path], results: list[Restoration],
) -> list[str]:
    """The ids of the records, one a cube, all of them in one file."""
    from palimpsest.provenance.record import Origin, write_provenance
    from palimpsest.provenance.together import pile_settings

    searched = [mask is None and path.suffix != ".plm" for path, mask in zip(inputs, masks, strict=True)]
    pile = pile_settings(inputs, [cube for cube, _ in opened], [mask is not None for mask in masks], searched)
    written = []
    for number, (path, result) in enumerate(zip(inputs, results, strict=True)):
        settings = {
            "parts_left_out": list(options.leave_out), "edges": not options.no_edges,
            "is_decoded": opened[number][1], "mask": masks[number] is not None, "infer_opaque": options.infer_opaque,
            "searched": searched[number], "denoised": options.denoise, "group": pile, "number": number,
            **_places(options),
        }
        origin = Origin.of_file(path, settings)
        written.append(write_provenance(result, options.provenance, origin, full=options.provenance_full))
    return written


def _suffix(path: Path) -> str:
    return ".hdr" if path.suffix in ("", ".plm", ".img", ".dat", ".bsq", ".bil", ".bip") else path.suffix


def _report(result: Restoration) -> dict[str, object]:
    remark = result.report.get("remark")
    if remark:
        note(f"{result.decoded.name}: {remark}")
    return {
        "name": result.decoded.name, "restored_voxels": int(result.changed.size), "exact": result.is_exact(),
        "quantum": result.quantum, "decisions": len(result.decisions), "release": result.release, "model": result.model,
        **{key: result.report[key] for key in _REPORTED if key in result.report},
    }
