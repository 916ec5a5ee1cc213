"""A release as a networkx multigraph: what the service shows, and what questions of reach are asked of.

Nodes are the IRIs of the release (and of vocabularies it points to), each with ``label``, ``kind`` (the most special
class of the vocabulary) and ``facts`` (its literals by prefixed name). Edges carry ``relation`` (prefixed name),
``is_stated``, and for inferred ones ``reason``, the sentence of the rule behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from palimpsest.knowledge.releases.closure import TYPE, close
from palimpsest.knowledge.releases.facts import Facts
from palimpsest.knowledge.releases.vocabulary import PLM, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx
    import pyoxigraph

# Most special first: a constituent is a material, a diagnostic feature a feature.
KINDS = (
    "Constituent", "Material", "MaterialGroup", "DiagnosticFeature", "AbsoluteExclusion", "RelativeExclusion",
    "ReferenceSpectrum", "SpectralLibrary", "ArbitrationFamily", "BoundsRule", "BandOrderRule", "MonotoneRule",
    "FeatureDepthRule", "FeaturePresenceRule", "SmoothnessRule", "MixingRule", "CoOccurrenceRule", "FeatureSafetyRule",
    "AtmosphericWindow", "ExpertPriority", "ImagingSpectrometer", "QualityFlag", "DefectKind", "Source",
)


def graph(triples: Sequence[pyoxigraph.Triple], *, with_inferred: bool = True) -> nx.MultiDiGraph[str]:
    """The multigraph of a release; node and edge order is that of the IRIs.

    Args:
        triples: the release's statements.
        with_inferred: also what follows from them.
    """
    import networkx as nx

    facts, closure = Facts(triples), close(triples)
    edges: list[tuple[str, str, str, dict[str, Any]]] = [
        (subject, value, predicate, {"relation": shortened(predicate), "is_stated": True, "reason": ""})
        for subject, predicate, value in closure.stated
    ]
    if with_inferred:
        edges += [
            (edge[0], edge[2], edge[1], {"relation": shortened(edge[1]), "is_stated": False, "reason": why.sentence()})
            for edge, why in closure.inferred.items()
        ]
    out: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for iri in sorted({end for edge in edges for end in edge[:2]}):
        out.add_node(iri, label=facts.label(iri), kind=_kind(facts, iri), facts=facts.literals(iri))
    for subject, value, predicate, attributes in sorted(edges, key=lambda edge: edge[:3]):
        out.add_edge(subject, value, key=predicate, **attributes)
    return out


def neighbourhood(whole: nx.MultiDiGraph[str], iri: str, *, steps: int = 1) -> nx.MultiDiGraph[str]:
    """The part of a graph within some steps of a term, either way along the edges, types left aside.

    Raises:
        UnknownTerm: the term is not in the graph.
    """
    from palimpsest.errors import UnknownTerm

    if iri not in whole:
        raise UnknownTerm("no such term in the release", where=iri)
    reached, frontier = {iri}, {iri}
    for _ in range(steps):
        following = {value for _, value, key in whole.out_edges(frontier, keys=True) if key != TYPE}
        leading = {subject for subject, _, key in whole.in_edges(frontier, keys=True) if key != TYPE}
        frontier = (following | leading) - reached
        reached |= frontier
    return whole.subgraph(reached)


def _kind(facts: Facts, iri: str) -> str:
    own = {getattr(value, "value", "") for value in facts.values(iri, TYPE)}
    return next((kind for kind in KINDS if PLM + kind in own), "")
