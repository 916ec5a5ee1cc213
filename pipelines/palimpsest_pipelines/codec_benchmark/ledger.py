"""What was measured already: one JSON line a measurement, named by the hash of everything that it hangs on.

A run that was killed continues where it stopped, and a rival is not run twice: a line is taken as it stands while
scene, settings and code are the same. Code is hashed by its bytes, so an edit of a codec measures it anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from palimpsest_pipelines.codec_benchmark.scenes import Scene

    Row = dict[str, Any]

CODE_SUFFIXES = (".py", ".npz", ".npy", ".json", ".bin", ".ttl")
OWN = ("palimpsest.codec", "palimpsest.knowledge")


class Ledger:
    """Rows of this run, and lines of earlier ones.

    Args:
        path: the file of JSON lines; lines are only added.
        fresh: measure everything again, whatever the file holds.
        note: told every measurement.
    """

    def __init__(self, path: Path, note: Callable[[str], None], *, fresh: bool = False) -> None:
        self.path, self.note = path, note
        self.rows: list[Row] = []
        self._known: dict[str, Row] = {}
        if path.exists() and not fresh:
            for line in path.read_text().splitlines():
                row = _parsed(line)
                if row is not None:
                    self._known[row["key"]] = row

    def measured(
        self, scene: Scene, part: str, subject: str, settings: Mapping[str, object], code: str,
        measure: Callable[[], Mapping[str, object]],
    ) -> Row:
        """The row of a measurement: a known one, or a new one, which is written before it is returned.

        Args:
            scene: what it is measured on.
            part: which part of the benchmark.
            subject: which codec, or which variant of ours.
            settings: what else it hangs on.
            code: hash of the code that is measured.
            measure: does it; the columns that come out.
        """
        key = row_key(scene.digest, part, subject, settings, code)
        row = self._known.get(key)
        if row is None:
            start = time.perf_counter()
            measures = dict(measure())
            row = {
                "key": key, "part": part, "scene": scene.name, "subject": subject, **settings, **measures,
                "wall_s": round(time.perf_counter() - start, 3),
            }
            row = {name: _finite(value) for name, value in row.items()}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as lines:
                lines.write(json.dumps(row, allow_nan=False) + "\n")
            self._known[key] = row
            self.note(_shown(row))
        self.rows.append(row)
        return row


def row_key(digest: str, part: str, subject: str, settings: Mapping[str, object], code: str) -> str:
    """Name of a measurement: the same only while scene, question, settings and code are."""
    told = json.dumps([digest, part, subject, dict(sorted(settings.items())), code], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:20]


@cache
def code_of(*packages: str) -> str:
    """Hash of the code and the data files of installed packages or modules, by their dotted names."""
    found = hashlib.sha256()
    for name in packages:
        spec = find_spec(name)
        assert spec is not None, name
        places = spec.submodule_search_locations or []
        files = [f for place in places for f in sorted(Path(place).rglob("*")) if f.suffix in CODE_SUFFIXES]
        for file in files or [Path(spec.origin or "")]:
            found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()


def own_code() -> str:
    """Hash of this project's codec and of the knowledge that steers it."""
    return code_of(*OWN)


def _parsed(line: str) -> Row | None:
    """A line's row; None for one that a killed run left half written."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "key" in row else None


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(row: Row) -> str:
    figures = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if name not in ("key", "part", "scene", "subject") and isinstance(value, (int, float, str))
    ]
    return f"{row['part']} {row['scene']} {row['subject']}: " + ", ".join(figures)
