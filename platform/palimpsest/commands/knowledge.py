"""``palimpsest knowledge``: validate, compare, build, preview, publish and list releases, and align foreign ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, note, print_result

if TYPE_CHECKING:
    import argparse

SHOWN = 200  # lines of a difference that are printed for people; --json has all


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb: one sub-command a step of a release's life."""
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")

    validate = steps.add_parser("validate", help="is it fit to be published? every finding in plain words")
    validate.add_argument("release", nargs="?", help="folder, .plk file or id (default: the active release)")
    add_json(validate)

    diff = steps.add_parser("diff", help="what differs between two releases, stated and inferred")
    diff.add_argument("old", help="folder, .plk file, id or 'packaged'")
    diff.add_argument("new", help="the same")
    diff.add_argument("--stated", action="store_true", help="leave conclusions out")
    add_json(diff)

    build = steps.add_parser("build", help="validate a folder and pack it into one file")
    build.add_argument("folder", help="folder of .ttl and the resources they name")
    build.add_argument("out", type=Path, help="file to write, .plk")
    add_json(build)

    preview = steps.add_parser("preview", help="what a draft would change on cubes: names of pixels, importance")
    preview.add_argument("release", help="the draft: folder, .plk file or id")
    preview.add_argument("cubes", nargs="+", type=Path, metavar="CUBE", help="reflectance cubes with wavelengths")
    preview.add_argument("--against", metavar="RELEASE", help="release to compare with (default: the active one)")
    add_json(preview)

    publish = steps.add_parser(
        "publish", help="make a release the active one, under a new number; an old one by its number is a rollback"
    )
    publish.add_argument("release", help="folder, .plk file, number or hash of an earlier one, or 'packaged'")
    publish.add_argument("--publisher", required=True, help="who publishes")
    publish.add_argument("--reviewer", required=True, help="who reviewed; must be another person (four eyes)")
    publish.add_argument("--note", default="", help="why")
    add_json(publish)

    add_json(steps.add_parser("list", help="published releases, and which is active"))

    align = steps.add_parser("align", help="map a foreign vocabulary or spectral library onto a release, for review")
    align.add_argument("foreign", type=Path, help="RDF (.ttl, .rdf, .nt, .jsonld), or spectra (.sli, .csv, .txt)")
    align.add_argument("table", type=Path, help="table to write, .tsv, for a person to accept line by line")
    align.add_argument("--knowledge", metavar="RELEASE", help="release to map onto (default: the active one)")
    align.add_argument("--base", default="https://example.org/library", help="IRI that names of spectra are put under")
    add_json(align)

    accept = steps.add_parser("accept", help="the accepted lines of a reviewed table as SKOS mappings")
    accept.add_argument("table", type=Path, help="of `align`, with yes, exact, close or no in its last column")
    accept.add_argument("out", type=Path, help="Turtle to write")
    accept.add_argument("--reviewer", required=True, help="who accepted")
    add_json(accept)


def run(options: argparse.Namespace) -> int:
    """Take the step."""
    steps = {
        "validate": _validate, "diff": _diff, "build": _build, "preview": _preview, "publish": _publish, "list": _list,
        "align": _align, "accept": _accept,
    }
    return steps[options.step](options)


def _validate(options: argparse.Namespace) -> int:
    from palimpsest.knowledge.releases.facts import digest
    from palimpsest.knowledge.releases.release import read
    from palimpsest.knowledge.releases.validate import validate

    release, _ = read(options.release)
    found = validate(release)
    wrong = sum(one.severity == "violation" for one in found)
    if not options.json:
        for one in found:
            note(str(one))
    readable = not any(one.iri in release.files for one in found)
    print_result(
        {
            "origin": release.origin,
            "release": digest(release.triples()) if readable else "",
            "violations": wrong,
            "warnings": len(found) - wrong,
            **({"findings": [_as_dict(one) for one in found]} if options.json else {}),
        },
        as_json=options.json,
    )
    return 3 if wrong else 0


def _diff(options: argparse.Namespace) -> int:
    from palimpsest.knowledge.releases.diff import diff
    from palimpsest.knowledge.releases.release import read

    old, new = read(options.old)[0], read(options.new)[0]
    changes = [one for one in diff(old.triples(), new.triples()) if one.is_stated or not options.stated]
    added = sum(one.kind == "added" for one in changes)
    if not options.json:
        for one in changes[:SHOWN]:
            note(str(one))
        if len(changes) > SHOWN:
            note(f"... and {len(changes) - SHOWN} more; --json prints all")
    changed_files = sorted(
        name for name in {**old.resources, **new.resources} if old.resources.get(name) != new.resources.get(name)
    )
    print_result(
        {
            "added": added,
            "removed": len(changes) - added,
            "resources_changed": changed_files,
            **({"changes": [_as_dict(one) for one in changes]} if options.json else {}),
        },
        as_json=options.json,
    )
    return 0


def _build(options: argparse.Namespace) -> int:
    from palimpsest.errors import UsageError

    if options.out.suffix != ".plk":
        raise UsageError("a packed release has the suffix .plk", where=str(options.out), wanted="OUT.plk")
    content, described = _packed(options.folder)
    options.out.write_bytes(content)
    print_result({**described, "out": str(options.out), "bytes": len(content)}, as_json=options.json)
    return 0


def _packed(name: str) -> tuple[bytes, dict[str, object]]:
    """A release as one file after validation, and what to say of it."""
    from palimpsest.knowledge.releases.facts import Facts, digest
    from palimpsest.knowledge.releases.release import read, version_of
    from palimpsest.knowledge.releases.store import pack
    from palimpsest.knowledge.releases.validate import require_valid

    release, _ = read(name)
    for warning in require_valid(release):
        note(str(warning))
    triples = release.triples()
    identity, version = digest(triples), version_of(Facts(triples))
    described: dict[str, object] = {"release": identity, "version": version, "triples": len(triples)}
    return pack(release, digest=identity, version=version), described


def _preview(options: argparse.Namespace) -> int:
    from palimpsest import formats
    from palimpsest.knowledge.preview import preview
    from palimpsest.knowledge.releases.release import load

    before, after = load(options.against), load(options.release)
    cubes: dict[str, object] = {}
    for path in options.cubes:
        note(f"{path}: identifying under both releases")
        cubes[str(path)] = preview(formats.read(path), before, after).summary()
    result: dict[str, object] = {"old": before.release, "new": after.release}
    if options.json:
        print_result({**result, "cubes": cubes}, as_json=True)
        return 0
    print_result(result, as_json=False)
    for name, summary in cubes.items():
        assert isinstance(summary, dict)
        print(f"\n{name}")
        print_result({key: value for key, value in summary.items() if not isinstance(value, list)}, as_json=False)
        for change in summary["transitions"][:20]:
            print(f"  {change['pixels']:>8}  {change['from']} -> {change['to']}")
    return 0


def _publish(options: argparse.Namespace) -> int:
    from palimpsest.knowledge.releases.store import Store

    content, described = _packed(options.release)
    for line in _vanished(options.release):
        note(line)
    record = Store().publish(
        content, release=str(described["release"]), version=str(described["version"]), publisher=options.publisher,
        reviewer=options.reviewer, note=options.note,
    )
    print_result(_as_dict(record), as_json=options.json)
    return 0


def _vanished(name: str) -> list[str]:
    """A remark where terms of the active release are gone: they should be deprecated, never deleted."""
    from palimpsest.knowledge.releases.facts import Facts
    from palimpsest.knowledge.releases.release import read

    new, old = Facts(read(name)[0].triples()), Facts(read(None)[0].triples())
    gone = [iri for iri in old.of_class("skos:Concept") if iri not in new]
    if not gone:
        return []
    return [
        f"{len(gone)} concepts of the active release are not in this one ({', '.join(gone[:3])}); unless this is a "
        "rollback, keep them and say owl:deprecated true"
    ]


def _list(options: argparse.Namespace) -> int:
    from palimpsest.knowledge.releases.store import Store

    store = Store()
    records, active = store.published(), store.active()
    if options.json:
        print_result({"active": active, "releases": [_as_dict(one) for one in records]}, as_json=True)
        return 0
    for one in records:
        print(
            f"{one.number:>4}  {one.release[:12]}  {one.version:<10} {one.published_at}  "
            f"published by {one.publisher}, reviewed by {one.reviewer}  {one.note}"
        )
    print_result({"active": active}, as_json=False)
    return 0


def _as_dict(value: object) -> dict[str, object]:
    from dataclasses import asdict, is_dataclass

    assert is_dataclass(value)
    assert not isinstance(value, type)
    return asdict(value)


def _align(options: argparse.Namespace) -> int:
    from palimpsest.atomic import write_bytes
    from palimpsest.formats.spectral_library import read_spectra
    from palimpsest.knowledge.alignment import alignment
    from palimpsest.knowledge.releases.facts import Facts
    from palimpsest.knowledge.releases.release import load, read

    if options.foreign.suffix.lower() in (".ttl", ".rdf", ".owl", ".xml", ".nt", ".jsonld"):
        foreign = alignment.named_concepts(options.foreign.read_bytes(), options.foreign.name)
    else:
        foreign = [
            alignment.measured_concept(one.name, one.wavelengths_nm, one.values, options.base)
            for one in read_spectra(options.foreign)
        ]
    facts = Facts(read(options.knowledge)[0].triples())
    found = alignment.align(foreign, load(options.knowledge), facts)
    write_bytes(options.table, alignment.table(found).encode())
    proposed = [one.predicate for one in found]
    print_result(
        {"concepts": len(foreign), "lines": len(found), "exact": proposed.count("skos:exactMatch"),
         "close": proposed.count("skos:closeMatch"), "table": str(options.table)},
        as_json=options.json,
    )
    return 0


def _accept(options: argparse.Namespace) -> int:
    from palimpsest.atomic import write_bytes
    from palimpsest.knowledge.alignment.alignment import accepted

    turtle, count = accepted(options.table.read_text("utf-8"), options.reviewer, str(options.table))
    write_bytes(options.out, turtle.encode())
    print_result({"mappings": count, "out": str(options.out)}, as_json=options.json)
    return 0
