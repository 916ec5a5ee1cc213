"""Test helpers are modules beside the tests; importlib mode does not put this folder on the path by itself."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# A fault of ours must show its traceback in a test, whatever the command line says to people.
os.environ["PALIMPSEST_TRACEBACK"] = "1"
