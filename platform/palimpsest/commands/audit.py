"""``palimpsest audit verify``: hold a provenance file, a catalogue or an evidence bundle against its log, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.commands import add_json, print_result

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", required=True)
    verify = actions.add_parser("verify", help="hold everything that is stored against the log; exit 4 if broken")
    verify.add_argument("path", type=Path, help="provenance file, SQLite catalogue, or evidence bundle (.zip)")
    verify.add_argument("--head", type=Path, metavar="FILE", help="a head kept elsewhere, which the log must grow from")
    verify.add_argument("--public-key", default="", metavar="HEX", help="the Ed25519 key that must have signed it")
    verify.add_argument("--recompute", action="store_true", help="restore again, and say how well it agrees")
    verify.add_argument("--restoration", default="", metavar="ID", help="which one to make again; default: the latest")
    verify.add_argument("--input", type=Path, metavar="FILE", help="the stream or cube, for --recompute")
    verify.add_argument("--restored", type=Path, metavar="FILE", help="the kept result, for --recompute elsewhere")
    verify.add_argument("--knowledge", metavar="RELEASE", help="the release of the record, for --recompute elsewhere")
    add_json(verify)
    head = actions.add_parser("head", help="print the newest head, to be kept elsewhere")
    head.add_argument("path", type=Path)
    bundle = actions.add_parser("bundle", help="write an evidence bundle (RO-Crate) of a provenance file")
    bundle.add_argument("path", type=Path)
    bundle.add_argument("out", type=Path, metavar="OUT.zip")


def run(options: argparse.Namespace) -> int:
    """Verify, print the head, or write a bundle."""
    return {"verify": _verify, "head": _head, "bundle": _bundle}[options.action](options)


def _verify(options: argparse.Namespace) -> int:
    from palimpsest.provenance.bundle import verify_path
    from palimpsest.provenance.ledger import Head

    head = None if options.head is None else Head.read(options.head)
    found = verify_path(options.path, head=head, public_key=options.public_key)
    if options.recompute:
        from functools import partial

        from palimpsest.provenance.recompute import restore_again
        from palimpsest.provenance.repeat import repeat

        found |= repeat(
            options.path, input_path=options.input, restored_path=options.restored,
            recompute=partial(restore_again, release=options.knowledge), which=options.restoration,
        )
    print_result({"verified": True, **found}, as_json=options.json)
    return 0


def _head(options: argparse.Namespace) -> int:
    from palimpsest.catalogue.database import open_file
    from palimpsest.errors import FormatError
    from palimpsest.provenance.ledger import latest_head

    database = open_file(options.path)
    try:
        with database.reading() as session:
            head = latest_head(session)
    finally:
        database.close()
    if head is None:
        raise FormatError("an empty log has no head", where=options.path)
    print_result(head.to_dict(), as_json=True)
    return 0


def _bundle(options: argparse.Namespace) -> int:
    from palimpsest.provenance.bundle import write_bundle

    write_bundle(options.path, options.out)
    print_result({"bundle": str(options.out), "bytes": options.out.stat().st_size}, as_json=False)
    return 0
