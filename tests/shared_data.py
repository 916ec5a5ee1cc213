"""Where the benchmark data lie beside the checkout, and the marks that skip a test with a reason where they do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PALIMPSEST_SHARED", ROOT.parent / "shared"))
SCENES = SHARED / "data" / "scenes"
RIVALS = SHARED / "rivals"

needs_shared = pytest.mark.skipif(not SCENES.is_dir(), reason="the benchmark data are not beside this checkout")
