"""Streams that were damaged or forged: how many of many thousands crash, hang, take memory, or lie.

Small streams of every mode are struck in five ways: bits flipped, cut, two files spliced, sections altered with their
checksums mended, and heads that claim absurd things with everything mended. Each batch is decoded in a process of its
own under limits of memory and time, so that even a crash is counted and not suffered. Values are wrong when decoding
succeeds and gives anything but what was encoded.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.errors import PalimpsestError
from palimpsest_pipelines.codec_benchmark.ledger import own_code
from palimpsest_pipelines.codec_benchmark.scenes import Scene, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from palimpsest.cubes import Cube
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger

PART = "hostile"
BATCH = 1000
MOST_MEMORY = 1 << 30
MOST_SECONDS = 20
ABSURD: dict[str, tuple[object, ...]] = {
    "shape": ([1 << 15, 1 << 20, 1 << 20], [10, 0, 20], [10, -5, 20], "many", [10, 18], [1e300, 1, 1], [10, 19, 20]),
    "dtype": ("complex128", 7, "int8", "float64"), "mode": ("magic", "rate", "bound", "lossless"),
    "tile": (1, 8, 1 << 40, -512), "quantum": (0, -1.0, 1e300), "step": (0, 1e308, "wide", 1e-300),
    "fraction_bits": (900, -3, 0), "components": (0, 1 << 40, 9, -1), "model": ("0" * 64, 3), "version": (99, None),
    "nodata": ([], 5), "max_error": ("none", 1e30, -1), "trained_levels": ([99], [1], "all"),
    "geotransform": ([1, 2],), "metadata": (3,),
}


def measure(ledger: Ledger, count: int) -> None:
    """Strike ``count`` streams in batches."""
    cube = small_cube()
    scene = Scene("small", cube, digest(cube))
    for seed in range(-(-count // BATCH)):
        number = min(BATCH, count - seed * BATCH)
        ledger.measured(
            scene, PART, "mutated streams", {"seed": seed, "count": number}, own_code(),
            lambda seed=seed, number=number: _batch(seed, number),  # type: ignore[misc] # bound now
        )


def _batch(seed: int, count: int) -> dict[str, object]:
    from palimpsest_pipelines.codec_benchmark.speed import run_measured

    words = ["-m", "palimpsest_pipelines.codec_benchmark.mutations", str(seed), str(count)]
    try:
        run = run_measured(words)
    except PalimpsestError as error:
        return {"crashed": 1, "complaint": str(error.got)}  # the process died: one at least of its streams killed it
    return {**json.loads(run.told), "peak_mb": run.peak_mb}


def small_cube() -> Cube:
    """A cube that is coded and decoded in milliseconds, with a hole."""
    from palimpsest.cubes import BandTable, Cube

    rng = np.random.default_rng(5)
    spectra = np.cumsum(rng.normal(size=(10, 3)), axis=0)
    fields = np.cumsum(np.cumsum(rng.normal(size=(3, 18, 20)), 1), 2)
    values = np.tensordot(spectra, fields, 1) + rng.normal(size=(10, 18, 20))
    data = np.rint(values / np.abs(values).max() * 3000).astype(np.int16)
    data[:, 3:6, 3:6] = -9999
    return Cube(data, BandTable(10, np.linspace(400.0, 2400.0, 10)), nodata=-9999, name="small")


def struck(seed: int, count: int, folder: Path) -> Counter[str]:
    """What became of ``count`` struck streams: 'refused', 'harmless', 'wrong', 'crashed', 'hung' or 'memory'."""
    originals = _streams(folder)
    truths = {_decoded(path) for path in originals}
    rng = random.Random(seed)
    path, found = folder / "struck.plm", Counter[str]()
    for _ in range(count):
        strike = rng.choice(STRIKES)
        path.write_bytes(strike(originals, rng))
        signal.alarm(MOST_SECONDS)
        found[_outcome(path, truths)] += 1
        signal.alarm(0)
    return found


def _outcome(path: Path, truths: set[bytes]) -> str:
    try:
        values = _decoded(path)
    except PalimpsestError:
        return "refused"
    except TimeoutError:
        return "hung"
    except MemoryError:
        return "memory"
    except Exception:  # whatever else comes out is what this counts
        return "crashed"
    return "harmless" if values in truths else "wrong"


def _decoded(path: Path) -> bytes:
    from palimpsest.codec.decoder import decode

    return np.asarray(decode(path).data).tobytes()


def _streams(folder: Path) -> list[Path]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.encoder import encode

    cube = small_cube()
    asked = {
        "rate": EncodeSettings(bpppc=2.5, strength=0), "bound": EncodeSettings(mode="bound", max_error=4, strength=0),
        "lossless": EncodeSettings(mode="lossless", strength=0),
        "coarse": EncodeSettings(bpppc=1.5, strength=0, model="plain"),
    }
    for name, settings in asked.items():
        encode(cube, settings, out=folder / f"{name}.plm")
    return [folder / f"{name}.plm" for name in asked]


def _flipped(paths: Sequence[Path], rng: random.Random) -> bytes:
    data = bytearray(rng.choice(paths).read_bytes())
    for _ in range(rng.choice((1, 1, 2, 30))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(paths: Sequence[Path], rng: random.Random) -> bytes:
    data = rng.choice(paths).read_bytes()
    return data[: rng.randrange(len(data))]


def _spliced(paths: Sequence[Path], rng: random.Random) -> bytes:
    first, second = rng.sample(list(paths), 2)
    if rng.random() < 0.5:
        head, body = first.read_bytes(), second.read_bytes()
        at = rng.randrange(min(len(head), len(body)))
        return head[:at] + body[at:]
    return _repacked(second, head=_opened(first)[0])


def _altered(paths: Sequence[Path], rng: random.Random) -> bytes:
    path = rng.choice(paths)
    _, sections, _ = _opened(path)
    at = rng.choice([i for i, (_, _, data) in enumerate(sections) if data])
    kind, tile, data = sections[at]
    body = bytearray(data)
    for _ in range(rng.choice((1, 3, 50))):
        body[rng.randrange(len(body))] = rng.randrange(256)
    if rng.random() < 0.2:
        body = body[: rng.randrange(len(body))]
    sections[at] = (kind, tile, bytes(body))
    return _repacked(path, sections=sections)


def _absurd(paths: Sequence[Path], rng: random.Random) -> bytes:
    path = rng.choice(paths)
    fields = rng.sample(sorted(ABSURD), rng.choice((1, 1, 2)))
    return _repacked(path, head=_opened(path)[0] | {field: rng.choice(ABSURD[field]) for field in fields})


STRIKES: tuple[Callable[[Sequence[Path], random.Random], bytes], ...] = (_flipped, _cut, _spliced, _altered, _absurd)


def _opened(path: Path) -> tuple[dict[str, Any], list[tuple[int, int, bytes]], tuple[bytes, ...]]:
    from palimpsest.codec.stream import open_stream

    stream = open_stream(path)
    sections = [(kind, tile, stream.read(kind, tile)) for kind, tile in stream.sections]
    return dict(stream.head), sections, stream.tile_hashes


def _repacked(
    path: Path, head: dict[str, Any] | None = None, sections: list[tuple[int, int, bytes]] | None = None
) -> bytes:
    """A stream with another head or other sections, every checksum mended but the hashes of the decoded values."""
    from palimpsest.codec.stream import pack

    old_head, old_sections, hashes = _opened(path)
    return pack(old_head if head is None else head, old_sections if sections is None else sections, hashes)


def main(arguments: Sequence[str]) -> int:
    """``SEED COUNT``: strikes that many streams under limits and prints what became of them, as JSON."""
    import resource

    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _streams(folder)  # kernels and weights are loaded before memory is limited
        status = Path("/proc/self/status")
        if status.exists():
            used = int(status.read_text().split("VmSize:")[1].split()[0]) << 10
            resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, resource.RLIM_INFINITY))
        found = struck(int(arguments[0]), int(arguments[1]), folder)
    outcomes = ("refused", "harmless", "wrong", "crashed", "hung", "memory")
    sys.stdout.write(json.dumps({name: found[name] for name in outcomes}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
