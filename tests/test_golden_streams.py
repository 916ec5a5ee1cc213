"""Streams made by an earlier version stay decodable, to the same integers, on every machine."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from palimpsest.codec.decoder import decode
from palimpsest.codec.inspect import verify

FOLDER = Path(__file__).parent / "golden"
GOLDEN = {
    f"version {version} {name}": stream
    for version in ("1", "2", "2_model_v3", "3_quick", "3_model_v5")
    for name, stream in json.loads((FOLDER / f"streams_v{version}.json").read_text())["streams"].items()
}


@pytest.fixture(params=sorted(GOLDEN))
def golden(request, tmp_path) -> tuple[Path, dict[str, str]]:
    path = tmp_path / "golden.plm"
    path.write_bytes(base64.b64decode(GOLDEN[request.param]["stream"]))
    return path, GOLDEN[request.param]


def test_a_golden_stream_decodes_to_the_integers_it_was_made_for(golden):
    path, wanted = golden
    assert path.read_bytes()[:8] == bytes.fromhex("89504c4d0d0a010a")
    for level, key in ((0, "decoded_sha256"), (1, "coarse_sha256")):
        values = np.ascontiguousarray(decode(path, level=level).data)
        assert hashlib.sha256(values.tobytes()).hexdigest() == wanted[key]
    assert verify(path)["tiles"] == 1


def test_decoding_needs_neither_torch_nor_rdflib_nor_the_ontologies(golden):
    path, wanted = golden
    code = f"""
import sys
for name in ("torch", "torch_geometric", "rdflib", "pyoxigraph", "pyshacl", "palimpsest_ontologies",
             "palimpsest.knowledge", "scipy", "networkx"):
    sys.modules[name] = None
import hashlib
from palimpsest.codec.decoder import decode
print(hashlib.sha256(decode({str(path)!r}).data.tobytes()).hexdigest())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == wanted["decoded_sha256"]
