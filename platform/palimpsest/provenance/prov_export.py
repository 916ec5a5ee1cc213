"""A restoration as W3C PROV, in JSON-LD: entities, the activity, the agents, and the release as its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from palimpsest import __version__
from palimpsest.catalogue.tables import DecisionRow, RestorationRow, SourceRow
from palimpsest.errors import UnknownTerm

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

CONTEXT = {
    "prov": "http://www.w3.org/ns/prov#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "plm": "https://w3id.org/palimpsest/ns#",
}


def prov_jsonld(session: Session, restoration_id: str) -> dict[str, Any]:
    """PROV of one restoration, as JSON-LD.

    Raises:
        UnknownTerm: no such restoration.
    """
    row = session.get(RestorationRow, restoration_id)
    if row is None:
        raise UnknownTerm("no such restoration", where=restoration_id)
    decisions = session.execute(
        select(DecisionRow, SourceRow).join(SourceRow, SourceRow.id == DecisionRow.source_id)
        .where(DecisionRow.restoration_id == restoration_id).order_by(DecisionRow.number)
    ).all()
    sources = {source.name: source for _, source in decisions}
    return {"@context": CONTEXT, "@graph": [*_core(row), *_knowledge(row), *_agents(sources), *[
        {
            "@id": f"urn:plm:decision:{row.id}:{one.number}",
            "@type": ["prov:Influence"],
            "prov:agent": {"@id": f"urn:plm:source:{source.name}"},
            "plm:ofRestoration": {"@id": f"urn:plm:activity:{row.id}"},
            "rdfs:comment": one.sentence,
            **({"plm:rule": {"@id": one.rule}} if one.rule else {}),
            **({"plm:material": {"@id": one.material}} if one.material else {}),
        }
        for one, source in decisions
    ]]}


def _core(row: RestorationRow) -> list[dict[str, Any]]:
    """Input, activity and output."""
    when = {"@type": "xsd:dateTime", "@value": row.created.isoformat()}
    used = [{"@id": _cube(row.decoded_sha256)}]
    if row.release:
        used.append({"@id": f"urn:plm:release:{row.release}"})
    if row.model:
        used.append({"@id": f"urn:plm:model:{row.model}"})
    return [
        {"@id": _cube(row.decoded_sha256), "@type": "prov:Entity", "rdfs:label": f"{row.name}, as decoded",
         "plm:fileSha256": row.input_sha256},
        {"@id": f"urn:plm:activity:{row.id}", "@type": "prov:Activity", "rdfs:label": "restoration",
         "prov:endedAtTime": when, "prov:used": used,
         "prov:wasAssociatedWith": {"@id": "urn:plm:software"}},
        {"@id": _cube(row.restored_sha256), "@type": "prov:Entity", "rdfs:label": f"{row.name}, restored",
         "prov:wasGeneratedBy": {"@id": f"urn:plm:activity:{row.id}"},
         "prov:wasDerivedFrom": {"@id": _cube(row.decoded_sha256)}, "prov:generatedAtTime": when},
    ]


def _knowledge(row: RestorationRow) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if row.release:
        found.append({"@id": f"urn:plm:release:{row.release}", "@type": ["prov:Entity", "prov:Plan"],
                      "rdfs:label": "release of the ontologies"})
    if row.model:
        found.append({"@id": f"urn:plm:model:{row.model}", "@type": "prov:Entity", "rdfs:label": "weights"})
    return found


def _agents(sources: dict[str, SourceRow]) -> list[dict[str, Any]]:
    software = {"@id": "urn:plm:software", "@type": ["prov:Agent", "prov:SoftwareAgent"],
                "rdfs:label": f"palimpsest {__version__}"}
    return [software, *[
        {"@id": f"urn:plm:source:{name}", "@type": ["prov:Agent", "prov:SoftwareAgent"], "rdfs:label": source.label,
         "prov:actedOnBehalfOf": {"@id": "urn:plm:software"}}
        for name, source in sorted(sources.items())
    ]]


def _cube(sha256: str) -> str:
    return f"urn:plm:values:{sha256}"
