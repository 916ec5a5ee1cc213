"""A stream is read with numpy and the integer kernels alone: knowledge and torch may be gone in twenty years."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys

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


def spent():
    """Processor time of the processes that were waited for, seconds: a busy machine does not make them heavier."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
    best = 1e9
    for _ in range(3):
        start = spent()
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        best = min(best, spent() - start)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bands"] == 16
    assert best < 1.0
