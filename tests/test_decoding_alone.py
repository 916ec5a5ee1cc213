"""A stream is read with numpy and the integer kernels alone: knowledge and torch may be gone in twenty years."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time

import numpy as np

from palimpsest.codec.contract import EncodeSettings
from palimpsest.codec.decoder import decode
from palimpsest.codec.encoder import encode
from palimpsest.cubes import BandTable, Cube

BLOCKED = (
    "torch", "torch_geometric", "rdflib", "pyoxigraph", "pyshacl", "networkx", "sqlalchemy", "matplotlib", "scipy",
    "palimpsest_ontologies", "palimpsest.knowledge", "palimpsest.restoration", "palimpsest_pipelines", "fastapi",
)

SCRIPT = """
import sys, hashlib

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in {blocked!r} or name.startswith(tuple(b + "." for b in {blocked!r})):
            raise ImportError(f"{{name}} is gone")
        return None

sys.meta_path.insert(0, Gone())
from palimpsest.codec.decoder import decode
print(hashlib.sha256(decode({path!r}).data.tobytes()).hexdigest())
"""


def made_stream(folder, **how):
    rng = np.random.default_rng(1)
    fields = np.cumsum(np.cumsum(rng.normal(size=(3, 40, 44)), 1), 2)
    data = np.rint(np.tensordot(rng.normal(size=(16, 3)), fields, 1) + 2000).astype(np.int16)
    path = folder / "made.plm"
    encode(Cube(data, BandTable(16, np.linspace(450.0, 2300.0, 16))), EncodeSettings(strength=0, **how), out=path)
    return path


def timed(*command):
    """Seconds by the clock and the finished process."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, check=False)
    return time.monotonic() - start, done


def test_decoding_imports_neither_knowledge_nor_torch(tmp_path):
    for how in ({"bpppc": 1.0}, {"mode": "lossless"}):
        path = made_stream(tmp_path, **how)
        here = hashlib.sha256(decode(path).data.tobytes()).hexdigest()
        code = SCRIPT.format(blocked=BLOCKED, path=str(path))
        there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert there.stdout.strip() == here


def test_info_answers_without_the_kernels_and_at_once(tmp_path):
    path = made_stream(tmp_path, bpppc=1.0)
    code = (
        "import sys; from palimpsest.commands import main; code = main(['info', sys.argv[1], '--json']); "
        "heavy = {'numba', 'torch', 'rdflib', 'scipy', 'rasterio'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr); sys.exit(code or bool(heavy))"
    )
    best = bare = 1e9
    for _ in range(3):
        bare = min(bare, timed("import numpy")[0])
        seconds, done = timed(code, str(path))
        best = min(best, seconds)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bands"] == 16
    # A second, and on a machine that is busy with others as much longer as an interpreter alone takes there.
    assert best < max(1.0, 5 * bare)
