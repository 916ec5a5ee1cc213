"""The house keeps its plan: arrows one way, no shadowed standard library, no overgrown rooms."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE_ROOTS = ("platform", "ontologies", "api", "pipelines", "alembic")

LAYERS = {  # a folder may import itself and the folders of this tuple, nothing else of the project
    "errors": (),
    "atomic": ("errors",),
    "cubes": ("errors",),
    "spectra": ("errors", "cubes"),
    "measure": ("errors", "cubes", "spectra"),
    "formats": ("errors", "atomic", "cubes", "spectra"),
    "knowledge": ("errors", "cubes", "spectra", "measure"),
    "codec": ("errors", "atomic", "cubes", "spectra", "measure"),
    "radiative_transfer": ("errors",),
    "scenes": ("errors", "cubes", "spectra", "measure", "knowledge", "radiative_transfer"),
    "restoration": ("errors", "cubes", "spectra", "measure", "knowledge", "codec", "radiative_transfer"),
    "catalogue": ("errors", "cubes", "spectra", "measure", "formats"),
    "provenance": (
        *("errors", "atomic", "cubes", "spectra", "measure", "formats"),
        *("knowledge", "codec", "restoration", "catalogue"),
    ),
}
CODEC_ROOMS = {  # the same within the codec
    "contract": (),
    "quantisation": (),
    "space": (),
    "entropy": ("quantisation",),
    "quick": ("quantisation",),
    "spectrum": ("quantisation", "space", "entropy"),
    "integers": ("contract", "entropy"),
    "tiles": ("quantisation", "space", "entropy", "quick", "spectrum"),
    "container": ("contract", "quantisation", "space", "entropy", "quick", "spectrum", "integers", "tiles"),
    "encoding": (
        *("contract", "quantisation", "space", "entropy", "quick", "spectrum", "integers", "tiles"), "container",
    ),
    "keeping": ("contract", "entropy", "integers", "tiles", "container", "encoding"),
    "decoded": ("keeping",),
    "reader": ("space", "entropy", "integers", "tiles", "container", "keeping", "decoded"),
    "label_map": ("container", "keeping"),
    "decoder": ("container", "reader"),
    "encoder": ("contract", "space", "integers", "tiles", "container", "encoding", "keeping"),
    "inspect": ("contract", "integers", "container", "label_map", "decoder"),
}
KNOWLEDGE_ROOMS = {  # within knowledge
    "rules": (),
    "hard_rules": ("rules",),
    "releases": ("rules", "hard_rules"),
    "identification": ("rules",),
    "alignment": ("rules", "releases", "identification"),
    "preview": ("rules", "identification"),
    "tensors": ("rules", "releases"),
}
RESTORATION_ROOMS = {  # and within restoration
    "view": (),
    "result": (),
    "organiser": ("view",),
    "computing": (),
    "spectrum": ("view",),
    "factors": ("view", "computing", "spectrum"),
    "library": ("view", "spectrum"),
    "ledger": ("view", "result", "library"),
    "defects": ("view", "computing", "factors"),
    "denoising": ("view", "result", "computing", "factors", "ledger"),
    "study": ("view", "organiser", "spectrum", "factors", "library"),
    "integrator": ("view", "study"),
    "companions": ("view", "factors", "library", "study"),
    "judgement": (
        *("view", "result", "spectrum", "library", "ledger"), "study", "integrator", "companions",
    ),
    "restorer": (
        *("view", "result", "computing", "library", "ledger"), "study", "integrator", "companions", "judgement",
    ),
    "repair": (
        *("view", "result", "computing", "factors", "ledger", "defects", "denoising"), "integrator", "companions",
        "restorer",
    ),
    "group": ("result", "organiser", "computing", "integrator", "companions", "restorer", "repair"),
}
OUTERMOST = ("commands", "__main__")

LONG_FILES: dict[str, str] = {}  # path -> the reason why it may pass 400 lines


def project_imports(path: Path) -> set[str]:
    """Dotted names of the project's own modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("palimpsest")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("palimpsest"):
            assert node.level == 0
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def platform_files() -> list[Path]:
    return sorted((ROOT / "platform" / "palimpsest").rglob("*.py"))


@pytest.mark.parametrize("path", platform_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path):
    folder = path.relative_to(ROOT / "platform" / "palimpsest").parts[0].removesuffix(".py")
    if folder in (*OUTERMOST, "__init__"):
        return
    allowed = {folder, *LAYERS[folder]}
    for name in project_imports(path):
        parts = name.split(".")
        if parts[0] == "palimpsest_ontologies":
            assert folder in ("knowledge", "scenes"), f"{path.name} reads ontologies itself"
            continue
        assert parts[0] in ("palimpsest", "palimpsest_migrations"), f"{path.name} imports outward: {name}"
        if parts[0] == "palimpsest_migrations":
            assert folder == "catalogue"
            continue
        if len(parts) > 1 and parts[1] in LAYERS:
            assert parts[1] in allowed, f"{path.relative_to(ROOT)} imports {name}; {folder} may use {sorted(allowed)}"
        assert len(parts) < 2 or parts[1] not in OUTERMOST, f"{path.name} imports the command line"


@pytest.mark.parametrize(("house", "rooms"), [
    ("codec", CODEC_ROOMS), ("knowledge", KNOWLEDGE_ROOMS), ("restoration", RESTORATION_ROOMS),
])
def test_rooms_use_each_other_one_way(house: str, rooms: dict[str, tuple[str, ...]]):
    folder = ROOT / "platform" / "palimpsest" / house
    found = {path.relative_to(folder).parts[0].removesuffix(".py") for path in folder.rglob("*.py")} - {"__init__"}
    assert found == set(rooms)
    seen: set[str] = set()
    for room, below in rooms.items():
        assert seen.issuperset(below), f"{room} uses what comes after it"
        seen.add(room)
        for path in folder.rglob("*.py"):
            if path.relative_to(folder).parts[0].removesuffix(".py") != room:
                continue
            imported = {name.split(".")[2] for name in project_imports(path) if name.startswith(f"palimpsest.{house}.")}
            used = {name for name in imported if name in found}
            assert used <= {room, *below}, f"{path.relative_to(folder)} uses {sorted(used - {room, *below})}"


def test_no_source_root_is_a_package():
    for root in (*SOURCE_ROOTS, "tests"):
        assert not (ROOT / root / "__init__.py").exists(), f"{root}/__init__.py would shadow an installed module"


def test_platform_and_alembic_stay_importable_from_the_root():
    code = (
        "import platform, alembic, pathlib; assert platform.python_version(); "
        "assert pathlib.Path.cwd() not in pathlib.Path(alembic.__file__).parents"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_file_is_over_four_hundred_lines_without_a_reason():
    for root in (*SOURCE_ROOTS, "tests"):
        for path in (ROOT / root).rglob("*.py"):
            lines = len(path.read_text().splitlines())
            name = str(path.relative_to(ROOT))
            assert lines <= 400 or name in LONG_FILES, f"{name}: {lines} lines"


def test_no_two_kernels_share_a_name():
    # The linker takes two kernels of one name for one if both were the n-th that their processes compiled: then two
    # processes that fill a cache at once leave it such that whoever loads it dies.
    homes = [
        ".".join(path.relative_to(ROOT / "platform").with_suffix("").parts)
        for path in sorted((ROOT / "platform").rglob("*.py"))
        if re.search(r"^\s*(import numba|from numba import)", path.read_text(), re.MULTILINE)
    ]
    code = f"""
import gc, importlib, json
from numba.core.dispatcher import Dispatcher
for home in {homes!r}:
    importlib.import_module(home)
found = [one.py_func for one in gc.get_objects() if issubclass(type(one), Dispatcher)]
print(json.dumps([f"{{f.__module__}}.{{f.__qualname__}}" for f in found if f.__module__.startswith("palimpsest.")]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    kernels = json.loads(run.stdout)
    assert len(kernels) > 50
    assert len(set(kernels)) == len(kernels), sorted(name for name in set(kernels) if kernels.count(name) > 1)


def test_every_verb_has_its_module_and_refuses_wrong_use():
    from palimpsest.commands import VERBS, main

    for verb in VERBS:
        assert (ROOT / "platform" / "palimpsest" / "commands" / f"{verb}.py").exists(), verb
    assert main(["no-such-verb"]) == 2
    assert main([]) == 2
