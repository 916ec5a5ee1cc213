"""Packed and published releases: same bytes, four eyes, never changed, and a way back."""

from __future__ import annotations

import json

import pytest

from palimpsest.commands import main
from palimpsest.errors import KnowledgeError, UnknownTerm
from palimpsest.knowledge.releases.contents import Release, packaged
from palimpsest.knowledge.releases.facts import digest
from palimpsest.knowledge.releases.release import load
from palimpsest.knowledge.releases.store import Store, pack, unpack


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def edited(tmp_path):
    """The packaged release with one priority more, in a folder."""
    release = packaged()
    for name, content in {**release.files, **release.resources}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "mine.ttl").write_text(
        "@prefix plm: <https://w3id.org/palimpsest/vocabulary#> . @prefix dcterms: <http://purl.org/dc/terms/> . "
        "<https://w3id.org/palimpsest/priority/swir> a plm:ExpertPriority ; plm:fromWavelength 2200 ; "
        "plm:toWavelength 2300 ; plm:factor 2.5 ; dcterms:source <https://w3id.org/palimpsest/source/practice> ."
    )
    return tmp_path


def answer(capsys, *arguments: str) -> dict[str, object]:
    assert main(["knowledge", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_packing_twice_gives_the_same_bytes_and_unpacking_the_same_release():
    release = packaged()
    identity = digest(release.triples())
    content = pack(release, digest=identity, version="1")
    assert content == pack(release, digest=identity, version="1")
    again, manifest = unpack(content, "x")
    assert again.content_key == release.content_key
    assert manifest["release"] == identity


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"@prefix a: <b> ."])
def test_what_is_not_a_packed_release_is_refused(content, tmp_path):
    path = tmp_path / "x.plk"
    path.write_bytes(content)
    with pytest.raises(KnowledgeError, match="not a packed release"):
        load(path)


def test_a_truncated_or_altered_packed_release_is_refused(tmp_path):
    release = packaged()
    content = pack(release, digest="x", version="1")
    path = tmp_path / "x.plk"
    for bad in (content[:-100], content[: len(content) // 2], content[:5000] + b"\0\0\0\0" + content[5004:]):
        path.write_bytes(bad)
        with pytest.raises(KnowledgeError):
            load(path)


def test_the_life_of_a_release(edited, tmp_path_factory, capsys):
    out = tmp_path_factory.mktemp("out") / "mine.plk"
    assert main(["knowledge", "validate", str(edited)]) == 0
    capsys.readouterr()
    built = answer(capsys, "build", str(edited), str(out))
    assert load(out).release == built["release"]
    assert load(out).priorities == ((2200.0, 2300.0, 2.5),)

    first = answer(capsys, "publish", str(out), "--publisher", "Ada", "--reviewer", "Bo", "--note", "SWIR matters")
    assert first["number"] == 1
    assert load().release == built["release"] == load("1").release == load(str(built["release"])[:10]).release

    compared = answer(capsys, "diff", "packaged", "1", "--stated")
    assert compared["added"] == 5
    assert compared["removed"] == 0

    back = answer(capsys, "publish", "packaged", "--publisher", "Bo", "--reviewer", "Ada")
    assert back["number"] == 2
    assert back["previous"] == built["release"]
    assert load().release == load("packaged").release
    assert load("1").release == built["release"]
    assert len(answer(capsys, "list")["releases"]) == 2


@pytest.mark.parametrize(("publisher", "reviewer"), [("Ada", "Ada"), ("Ada", " ada "), ("Ada", "")])
def test_nobody_publishes_alone(publisher, reviewer, capsys):
    assert main(["knowledge", "publish", "packaged", "--publisher", publisher, "--reviewer", reviewer]) == 3
    assert "two different people" in capsys.readouterr().err
    assert Store().published() == ()


def test_a_published_release_that_was_altered_is_refused(tmp_path):
    store = Store(tmp_path)
    content = pack(packaged(), digest="x" * 64, version="1")
    record = store.publish(content, release="x" * 64, version="1", publisher="Ada", reviewer="Bo")
    path = tmp_path / "releases" / "000001.plk"
    path.write_bytes(content + b" ")
    with pytest.raises(KnowledgeError, match="altered"):
        store.read(record)
    path.unlink()
    with pytest.raises(KnowledgeError, match="missing"):
        store.read(record)
    with pytest.raises(UnknownTerm, match="1 \\(xxxxxxxxxxxx\\)"):
        store.find("7")


def test_a_draft_that_fails_is_neither_built_nor_published(edited, tmp_path_factory, capsys):
    (edited / "wrong.ttl").write_text(
        "@prefix plm: <https://w3id.org/palimpsest/vocabulary#> . <http://e/x> a plm:Source ; plm:reliability 2 ."
    )
    out = tmp_path_factory.mktemp("out") / "wrong.plk"
    assert main(["knowledge", "validate", str(edited), "--json"]) == 3
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {one["iri"] for one in findings} == {"http://e/x"}
    assert main(["knowledge", "build", str(edited), str(out)]) == 3
    assert not out.exists()
    assert main(["knowledge", "publish", str(edited), "--publisher", "Ada", "--reviewer", "Bo"]) == 3
    assert "http://e/x" in capsys.readouterr().err
    with pytest.raises(KnowledgeError):
        load(edited)
    assert main(["knowledge", "build", str(edited), str(out.with_suffix(".zip"))]) == 2


def test_a_folder_is_validated_once_and_then_remembered(edited, monkeypatch):
    from palimpsest.knowledge.releases import release as module
    from palimpsest.knowledge.releases import validate as checking

    asked: list[Release] = []
    real = checking.require_valid
    monkeypatch.setattr(checking, "require_valid", lambda one: asked.append(one) or real(one))
    for _ in range(2):
        module._compiled.cache_clear()
        assert load(edited).priorities
    assert len(asked) == 1


def test_the_material_of_the_handbook_is_accepted(edited):
    from shared_data import ROOT

    page = (ROOT / "docs" / "ontologies.md").read_text()
    (edited / "clay.ttl").write_text(page.split("```turtle")[1].split("```")[0])
    assert load(edited).material("https://example.org/my/clay").features[0].weight == 1.0
