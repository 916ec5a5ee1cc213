"""Releases of the ontologies, and the graph of one."""

from dataclasses import asdict
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from palimpsest.errors import UnknownTerm
from palimpsest_api.auth import Reader

router = APIRouter(prefix="/v1/releases", tags=["releases"])

ReleaseName = r"^(active|packaged|[0-9]{1,7}|[0-9a-f]{8,64})$"
ReleaseId = Path(pattern=ReleaseName)


class ForeignConcept(BaseModel):
    """A concept of a foreign vocabulary or spectral library; a spectrum goes with its wavelengths in nm."""

    model_config = ConfigDict(extra="forbid")

    iri: str = Field(max_length=500)
    labels: list[str] = Field(min_length=1, max_length=50)
    wavelengths_nm: list[float] = Field(default=[], max_length=5000)
    reflectance: list[float] = Field(default=[], max_length=5000)


class AlignRequest(BaseModel):
    """What is to be mapped onto a release."""

    model_config = ConfigDict(extra="forbid")

    concepts: list[ForeignConcept] = Field(min_length=1, max_length=500)


class AcceptRequest(BaseModel):
    """A review table, its last column filled by a person with yes, exact, close or no."""

    model_config = ConfigDict(extra="forbid")

    table: str = Field(max_length=2_000_000)
    reviewer: str = Field(min_length=1, max_length=200)


@router.get("")
def catalogue(caller: Reader) -> dict[str, Any]:
    """Published releases, oldest first, and which is active; the packaged one is always there."""
    from palimpsest.knowledge.releases.release import load
    from palimpsest.knowledge.releases.store import Store

    store = Store()
    packaged = load("packaged")
    return {
        "active": store.active(),
        "packaged": {"release": packaged.release, "version": packaged.version},
        "published": [asdict(one) for one in store.published()],
    }


@router.get("/{release_id}")
def show(caller: Reader, release_id: str = ReleaseId) -> dict[str, Any]:
    """What a release holds."""
    from palimpsest.knowledge.releases.release import load

    found = load(None if release_id == "active" else release_id)
    return {
        "release": found.release, "version": found.version,
        "materials": [{"iri": one.iri, "label": one.label, "features": len(one.features)} for one in found.materials],
        "rules": [{"iri": one.iri, "kind": one.kind, "hard": one.is_hard, "sentence": one.sentence}
                  for one in found.rules],
        "sources": [asdict(one) for one in found.sources],
    }


@router.get("/{release_id}/graph")
def graph(caller: Reader, release_id: str = ReleaseId, around: str = "", steps: int = 1) -> dict[str, Any]:
    """The release as nodes and edges; with ``around``, only the neighbourhood of a term."""
    from palimpsest.knowledge.releases.graph import neighbourhood
    from palimpsest.knowledge.releases.release import load

    whole = _graph(load(None if release_id == "active" else release_id).release, release_id)
    if around:
        if around not in whole:
            raise UnknownTerm("no such term in the release", where=around)
        whole = neighbourhood(whole, around, steps=max(1, min(steps, 4)))
    return {
        "nodes": [{"id": iri, "label": data.get("label", iri), "kind": data.get("kind", "")}
                  for iri, data in whole.nodes(data=True)],
        "edges": [{"from": one, "to": other, "relation": data["relation"], "stated": data["is_stated"],
                   "reason": data["reason"]}
                  for one, other, data in whole.edges(data=True)],
    }


@router.post("/{release_id}/alignment")
def alignment(caller: Reader, body: AlignRequest, release_id: str = ReleaseId) -> dict[str, Any]:
    """The likeliest materials or groups of each foreign concept, with what speaks for them; a person decides."""
    import numpy as np

    from palimpsest.knowledge.alignment.alignment import Foreign, align, table
    from palimpsest.knowledge.releases.facts import Facts
    from palimpsest.knowledge.releases.release import load, read
    from palimpsest.knowledge.releases.spectra_store import on_grid

    name = None if release_id == "active" else release_id
    concepts = [
        Foreign(one.iri, tuple(one.labels), on_grid(
            one.iri, np.array(one.wavelengths_nm, float), np.array(one.reflectance, float)
        ) if one.wavelengths_nm or one.reflectance else None)
        for one in body.concepts
    ]
    found = align(concepts, load(name), Facts(read(name)[0].triples()))
    return {"mappings": [
        {"subject": one.foreign.iri, "predicate": one.predicate or None, "object": one.iri, "label": one.label,
         "confidence": one.confidence, "label_score": one.label_score, "spectrum_score": one.spectrum_score,
         "feature_score": one.feature_score}
        for one in found
    ], "table": table(found)}


@router.post("/acceptance")
def acceptance(caller: Reader, body: AcceptRequest) -> dict[str, Any]:
    """The accepted lines of a reviewed table as Turtle, to be laid into a release's folder."""
    from palimpsest.knowledge.alignment.alignment import accepted

    turtle, count = accepted(body.table, body.reviewer)
    return {"mappings": count, "turtle": turtle}


@router.get("/{release_id}/changes")
def changes(
    caller: Reader, release_id: str = ReleaseId, since: str = Query("packaged", pattern=ReleaseName),
    stated: bool = False,
) -> dict[str, Any]:
    """What differs from another release, stated and inferred; with ``stated``, without conclusions."""
    from palimpsest.knowledge.releases.diff import diff
    from palimpsest.knowledge.releases.release import read

    old, new = (read(None if name == "active" else name)[0] for name in (since, release_id))
    found = [one for one in diff(old.triples(), new.triples()) if one.is_stated or not stated]
    return {"changes": [asdict(one) for one in found]}


@lru_cache(maxsize=4)
def _graph(release: str, release_id: str) -> Any:  # noqa: ANN401 - networkx ships no types  # noqa: ARG001
    """The graph of a release; the hash is part of the cache's key because 'active' may come to mean another one."""
    from palimpsest.knowledge.releases.graph import graph as graph_of
    from palimpsest.knowledge.releases.release import read

    return graph_of(read(None if release_id == "active" else release_id)[0].triples())
