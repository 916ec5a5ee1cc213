"""Test helpers are modules beside the tests; importlib mode does not put this folder on the path by itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
