"""The command line: one verb a module, imported only when it is typed, so that ``palimpsest info`` answers at once.

A verb's module offers ``configure(parser)`` and ``run(arguments) -> int``. Errors of the project become the exit code
that their class names: 2 wrong use, 3 input refused, 4 a promise that could not be kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from typing import TYPE_CHECKING

from palimpsest import __version__
from palimpsest.errors import PalimpsestError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS: dict[str, str] = {
    "demo": "a made scene through the whole path; writes pictures, prints the numbers",
    "info": "what a cube, stream or provenance file holds; --verify repeats its promises",
    "convert": "read any known format, write another",
    "compress": "cube to .plm stream: rate, error bound or lossless",
    "decompress": "stream to cube: whole, coarser, a window or some bands",
    "restore": "bring back what compression, noise and defects took; say why",
    "organise": "group a pile of cubes by place, sensor and content",
    "explain": "why one pixel of a restored cube was changed",
    "compare": "quality of one cube against another",
    "identify": "material of every pixel by the expert rules",
    "knowledge": "validate, compare, build, preview and publish releases",
    "train": "train the networks that ship",
    "benchmark": "measure against rivals in one run",
    "scene": "make a scene with known truth",
    "serve": "the REST service",
    "worker": "the process that runs jobs",
    "audit": "verify logs and evidence offline",
}


INTERNAL = 70  # exit code of a fault of ours (EX_SOFTWARE of sysexits.h)
TRACEBACK = "PALIMPSEST_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] == "--version":
        print(f"palimpsest {__version__}")
        return 0
    if not words or words[0] in ("-h", "--help") or words[0] not in VERBS:
        return _help(words)
    module = importlib.import_module(f"palimpsest.commands.{words[0]}")
    parser = argparse.ArgumentParser(prog=f"palimpsest {words[0]}", description=VERBS[words[0]])
    module.configure(parser)
    options = parser.parse_args(words[1:])
    try:
        return int(module.run(options))
    except PalimpsestError as error:
        return _report(error, error.exit_code, as_json=getattr(options, "json", False))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        return _report(error, 3, as_json=getattr(options, "json", False))
    except KeyboardInterrupt:
        print("palimpsest: interrupted; nothing half-written was left behind", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (head, less): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        return _report(error, 3, as_json=getattr(options, "json", False), instead="not enough memory for this")
    except Exception as error:  # the outermost room: a fault of ours is named as one, not spilled
        if os.environ.get(TRACEBACK):
            raise
        said = (
            f"internal error, {type(error).__name__}: {error}; this is a fault of palimpsest and not of your input; "
            f"{TRACEBACK}=1 shows where it happened"
        )
        return _report(error, INTERNAL, as_json=getattr(options, "json", False), instead=said)


def _help(words: list[str]) -> int:
    wrong = bool(words) and words[0] not in ("-h", "--help")
    out = sys.stderr if wrong or not words else sys.stdout
    if wrong:
        print(f"palimpsest: unknown command {words[0]!r}; one of these is wanted", file=out)
    print("usage: palimpsest COMMAND ...\n", file=out)
    for verb, summary in VERBS.items():
        print(f"  {verb:<11} {summary}", file=out)
    return 2 if wrong or not words else 0


def _report(error: Exception, code: int, *, as_json: bool, instead: str = "") -> int:
    said = instead or str(error)
    print(f"palimpsest: {said}", file=sys.stderr)
    if as_json:
        body = {"error": type(error).__name__, "message": said, "exit_code": code}
        for part in ("what", "where", "got", "wanted", "whole_level"):
            if getattr(error, part, None) is not None:
                body[part] = str(getattr(error, part))
        print(json.dumps(body))
    return code


def print_result(result: dict[str, object], *, as_json: bool) -> None:
    """The answer of a verb: one JSON object, or aligned lines for people."""
    if as_json:
        print(json.dumps(result, allow_nan=False, default=str))
        return
    width = max((len(key) for key in result), default=0)
    for key, value in result.items():
        shown = f"{value:.6g}" if isinstance(value, float) else value
        print(f"{key:<{width}}  {shown}")


def note(message: str) -> None:
    """Progress and remarks: to stderr, never mixed with the answer."""
    print(message, file=sys.stderr, flush=True)


def tiles_have_the_threads() -> None:
    """Let linear algebra run in the thread that asks: tiles are worked on side by side, and more threads only wait.

    Does nothing where arrays are in use already, as in a server.
    """
    if "numpy" not in sys.modules:
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")


def spent(start: float) -> dict[str, object]:
    """Seconds since ``time.perf_counter()`` gave ``start``, and the most memory that this process held, for answers."""
    import time

    found: dict[str, object] = {"seconds": round(time.perf_counter() - start, 3)}
    try:
        import resource
    except ImportError:  # not on Windows
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return {**found, "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}


def add_json(parser: argparse.ArgumentParser) -> None:
    """The ``--json`` option that every answering verb has."""
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
