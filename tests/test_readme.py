"""README's map, verbs and links agree with what is there."""

from __future__ import annotations

import re
from pathlib import Path

from palimpsest.commands import VERBS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def mapped_folders() -> set[str]:
    return set(re.findall(r"^\| `([a-z_/]+)/` \|", README, flags=re.MULTILINE))


def test_the_map_names_every_room_and_no_other():
    rooms = {
        str(folder.relative_to(ROOT))
        for folder in (ROOT / "platform" / "palimpsest").iterdir()
        if folder.is_dir() and (folder / "__init__.py").exists()
    }
    others = {
        "ontologies/palimpsest_ontologies", "api/palimpsest_api", "pipelines/palimpsest_pipelines",
        "alembic/palimpsest_migrations", "tests", "docs",
    }
    assert mapped_folders() == rooms | others


def test_the_top_level_holds_what_the_design_fixes():
    allowed = {
        "platform", "ontologies", "api", "pipelines", "tests", "alembic", "docs", "pyproject.toml", "README.md",
        "LICENSE", "CONTRIBUTING.md",
    }
    found = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}
    assert allowed <= found
    assert {name for name in found - allowed if (ROOT / name).is_dir()} <= {"palimpsest-demo", "build", "dist"}


def test_every_link_in_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_shown_is_a_verb():
    shown = re.findall(r"^palimpsest ([a-z]+)", README, flags=re.MULTILINE)
    assert shown
    assert set(shown) <= set(VERBS)


def test_ci_runs_the_readme_test_command():
    assert re.search(r"^python3 -m venv .*pytest$", README, flags=re.MULTILINE)
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
