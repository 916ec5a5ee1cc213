"""Streams that were damaged or forged: how many of many thousands crash, hang, take memory, or lie.

Small streams of every mode, of one tile and of several, with labels and features kept, are struck in seven ways: bits
flipped, cut, two files spliced, sections altered or swapped with their checksums mended, rows of the index that lie,
and heads and certificates that claim absurd things with everything mended. Each batch is decoded in a process of its
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

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest_pipelines.codec_benchmark.ledger import Ledger

PART = "hostile"
BATCH = 1000
MOST_MEMORY = 1 << 30
MOST_SECONDS = 10
ABSURD: dict[str, tuple[object, ...]] = {
    "shape": ([1 << 15, 1 << 20, 1 << 20], [10, 0, 20], [10, -5, 20], "many", [10, 18], [1e300, 1, 1], [10, 19, 20]),
    "dtype": ("complex128", 7, "int8", "float64"), "mode": ("magic", "rate", "bound", "lossless"),
    "tile": (1, 8, 1 << 40, -512), "quantum": (0, -1.0, 1e300), "step": (0, 1e308, "wide", 1e-300),
    "fraction_bits": (900, -3, 0), "components": (0, 1 << 40, 9, -1), "model": ("0" * 64, 3), "version": (99, None),
    "nodata": ([], 5), "max_error": ("none", 1e30, -1, [1.0], [4.0] * 10, [[4]]),
    "lattice": ([1e4], [0.0], [-3.0] * 10, "tenth", []), "coder": ("quick", "slow", 3),
    "trained_levels": ([99], [1], "all"),
    "geotransform": ([1, 2],), "metadata": (3,), "names": (5, [[]] * 9),
    "certificate": (7, {"labels": 3}, {"labels": ["x"], "map": "0"}, {"features": {"tolerance": []}}),
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


class Judge:
    """Names pixels and measures a depth without a release, so that kept streams are made in milliseconds."""

    release = "bands"
    label_names = ("unnamed", "bright", "dark")

    def labels_of(
        self, spectra: NDArray[np.generic], cube: Cube, usable: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint16]:
        """By the fourth band."""
        value = spectra[:, 3].astype(np.float64)
        return np.where(value > 600, 1, np.where(value < -600, 2, 0)).astype(np.uint16)

    def labels(self, cube: Cube) -> NDArray[np.uint16]:
        """Of a cube, ``(row, col)``."""
        bands, rows, cols = cube.shape
        return self.labels_of(np.asarray(cube.data).reshape(bands, -1).T, cube).reshape(rows, cols)

    def decision_bands(self, cube: Cube, labels: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """The fourth band decides, ``(label, band)``."""
        bands = np.zeros((3, cube.shape.bands), bool)
        bands[:, 3] = True
        return bands

    def features_of(
        self, spectra: NDArray[np.generic], cube: Cube, usable: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """One feature about the sixth band, of named pixels."""
        values = spectra.astype(np.float64)
        depth = (values[:, [4]] + values[:, [8]] - 2 * values[:, [6]]) / 1000 + 0.5
        return depth, (self.labels_of(spectra, cube) > 0)[:, None] & (np.abs(depth) > 0.01)

    def feature_bands(self, cube: Cube) -> tuple[NDArray[np.intp], ...]:
        """Bands 5 to 7."""
        return (np.array([5, 6, 7]),)


def struck(seed: int, count: int, folder: Path) -> Counter[str]:
    """What became of ``count`` struck streams: 'refused', 'harmless', 'wrong', 'crashed', 'hung' or 'memory'."""
    originals = _streams(folder)
    truths = {_decoded(path) for path in originals}
    rng = random.Random(seed)
    path, found = folder / "struck.plm", Counter[str]()
    kept = {_labels(path) for path in originals} - {b""}
    for _ in range(count):
        strike = rng.choice(STRIKES)
        path.write_bytes(strike(originals, rng))
        signal.alarm(MOST_SECONDS)
        found[_outcome(path, truths, kept)] += 1
        signal.alarm(0)
    return found


def _outcome(path: Path, truths: set[bytes], kept: set[bytes]) -> str:
    try:
        outcomes = [_one_outcome(lambda: _decoded(path), truths), _one_outcome(lambda: _labels(path), {*kept, b""})]
    except TimeoutError:
        return "hung"
    except MemoryError:
        return "memory"
    except Exception:  # whatever else comes out is what this counts
        return "crashed"
    return next((bad for bad in ("wrong", "refused") if bad in outcomes), "harmless")


def _one_outcome(read: Callable[[], bytes], right: set[bytes]) -> str:
    try:
        return "harmless" if read() in right else "wrong"
    except PalimpsestError:
        return "refused"


def _labels(path: Path) -> bytes:
    """The label map; nothing where the stream has none."""
    from palimpsest.codec.container.stream import LABELS, open_stream
    from palimpsest.codec.label_map import read_labels

    return read_labels(path)[1].tobytes() if open_stream(path).has(LABELS) else b""


def _decoded(path: Path) -> bytes:
    from palimpsest.codec.decoder import decode

    return np.asarray(decode(path).data).tobytes()


def _streams(folder: Path) -> list[Path]:
    from palimpsest.codec.contract import EncodeSettings
    from palimpsest.codec.encoder import encode

    cube = small_cube()
    counts = cube.with_data(np.asarray(cube.data).astype(np.float32) / np.float32(10000), "counts over 10000")
    asked = {
        "quick": EncodeSettings(bpppc=2.5, strength=0, effort=1),
        "floats": EncodeSettings(mode="lossless", strength=0),
        "bounds": EncodeSettings(mode="bound", max_error=tuple(np.arange(2.0, 12.0)), strength=0),
        "rate": EncodeSettings(bpppc=2.5, strength=0), "bound": EncodeSettings(mode="bound", max_error=4, strength=0),
        "lossless": EncodeSettings(mode="lossless", strength=0),
        "coarse": EncodeSettings(bpppc=1.5, strength=0, model="plain"),
        "tiles": EncodeSettings(bpppc=3.0, strength=0, tile=8),
        "kept": EncodeSettings(bpppc=None, strength=0, keep_labels=True, keep_depths=0.1, tile=16),
    }
    for name, settings in asked.items():
        judge = Judge() if settings.keeps else None
        encode(counts if name == "floats" else cube, settings, judge=judge, out=folder / f"{name}.plm")
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


def _swapped(paths: Sequence[Path], rng: random.Random) -> bytes:
    """Two sections exchange their data, their checksums mended; one of them may come from another file."""
    first, second = rng.choice(paths), rng.choice(paths)
    sections, donors = _opened(first)[1], _opened(second)[1]
    one, other = rng.randrange(len(sections)), rng.randrange(len(donors))
    sections[one] = (*sections[one][:2], donors[other][2])
    if first == second:
        sections[other] = (*sections[other][:2], donors[one][2])
    return _repacked(first, sections=sections)


def _lying(paths: Sequence[Path], rng: random.Random) -> bytes:
    """Rows of the index name other kinds or tiles, or are missing, or there twice."""
    path = rng.choice(paths)
    _, sections, hashes = _opened(path)
    at = rng.randrange(len(sections))
    kind, tile, data = sections[at]
    choice = rng.randrange(4)
    if choice == 0:
        sections[at] = (rng.randrange(256), tile, data)
    elif choice == 1:
        sections[at] = (kind, rng.randrange(-2, 99), data)
    elif choice == 2:
        del sections[at]
    else:
        sections.insert(at, (kind, tile, rng.randbytes(rng.randrange(200))))
    return _repacked(path, sections=sections, hashes=hashes[: rng.choice((None, None, -1))])


def _absurd(paths: Sequence[Path], rng: random.Random) -> bytes:
    path = rng.choice(paths)
    fields = rng.sample(sorted(ABSURD), rng.choice((1, 1, 2)))
    return _repacked(path, head=_opened(path)[0] | {field: rng.choice(ABSURD[field]) for field in fields})


STRIKES: tuple[Callable[[Sequence[Path], random.Random], bytes], ...] = (
    _flipped, _cut, _spliced, _altered, _swapped, _lying, _absurd
)


def _opened(path: Path) -> tuple[dict[str, Any], list[tuple[int, int, bytes]], tuple[bytes, ...]]:
    from palimpsest.codec.container.stream import open_stream

    stream = open_stream(path)
    sections = [(kind, tile, stream.read(kind, tile)) for kind, tile in stream.sections]
    return dict(stream.head), sections, stream.tile_hashes


def _repacked(
    path: Path, head: dict[str, Any] | None = None, sections: list[tuple[int, int, bytes]] | None = None,
    hashes: Sequence[bytes] | None = None,
) -> bytes:
    """A stream with another head or other sections, every checksum mended but the hashes of the decoded values."""
    from palimpsest.codec.container.stream import pack

    old_head, old_sections, old_hashes = _opened(path)
    return pack(
        old_head if head is None else head, old_sections if sections is None else sections,
        old_hashes if hashes is None else hashes,
    )


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
