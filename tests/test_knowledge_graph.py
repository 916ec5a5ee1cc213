"""The graph, its tensor view, and the difference between two releases."""

from __future__ import annotations

import numpy as np
import pytest

from palimpsest.errors import UnknownTerm
from palimpsest.knowledge.releases.contents import packaged
from palimpsest.knowledge.releases.diff import diff
from palimpsest.knowledge.releases.facts import parse
from palimpsest.knowledge.releases.graph import graph, neighbourhood
from palimpsest.knowledge.releases.release import load
from palimpsest.knowledge.releases.vocabulary import PREFIXES, term
from palimpsest.knowledge.tensors import FEATURE_COLUMNS, tensors

HEAD = "".join(f"@prefix {prefix}: <{iri}> .\n" for prefix, iri in PREFIXES.items())
CENTRES, WIDTHS = np.linspace(400, 2450, 200), np.full(200, 10.0)


@pytest.fixture(scope="module")
def whole():
    return graph(packaged().triples())


def test_the_graph_knows_kinds_labels_and_the_rule_behind_each_conclusion(whole):
    calcite = whole.nodes[term("mat:calcite")]
    assert calcite["kind"] == "Material"
    assert calcite["label"] == "calcite"
    assert calcite["facts"]["plm:minimumFit"] == ["0.64"]
    reasons = {data["is_stated"]: data["reason"] for _, _, data in whole.edges(data=True)}
    assert reasons[True] == ""
    assert reasons[False]
    stated = graph(packaged().triples(), with_inferred=False)
    assert set(stated.nodes) <= set(whole.nodes)
    assert all(data["is_stated"] for _, _, data in stated.edges(data=True))
    assert stated.number_of_edges() < whole.number_of_edges()


def test_the_neighbourhood_of_a_term_has_its_features_and_its_source(whole):
    near = neighbourhood(whole, term("mat:calcite"))
    assert {term("feat:calcite.1"), term("src:mica"), term("group:carbonate")} <= set(near.nodes)
    assert term("mat:topaz") not in near
    with pytest.raises(UnknownTerm):
        neighbourhood(whole, "http://nowhere/")


def test_tensors_are_finite_and_their_edges_lie_inside():
    view = tensors(load("packaged"), CENTRES, WIDTHS)
    rows = {kind: len(iris) for kind, iris in view.iris.items()}
    for kind, values in view.attributes.items():
        assert values.shape[0] == rows[kind]
        assert np.isfinite(values).all(), kind
    assert view.spectra.shape == (rows["material"], CENTRES.size)
    assert not view.spectra[~view.is_known].any()
    for (source, _, target), ends in view.edges.items():
        assert ends.shape[0] == 2
        assert ends.shape[1] > 0
        assert ends.min() >= 0
        assert ends[0].max() < rows[source]
        assert ends[1].max() < rows[target]
    for kind, weights in view.edge_weights.items():
        assert weights.shape == (view.edges[kind].shape[1],)


def test_bands_carry_the_features_that_reach_over_them():
    view = tensors(load("packaged"), CENTRES, WIDTHS)
    feature = view.iris["feature"].index(term("feat:calcite.1"))
    bands, features = view.edges["band", "carries", "feature"]
    carried = CENTRES[bands[features == feature]]
    assert carried.min() >= 2178
    assert carried.max() <= 2406
    seen = view.attributes["feature"][feature, FEATURE_COLUMNS.index("is_seen")]
    assert seen == 1
    few = tensors(load("packaged"), CENTRES[:20], WIDTHS[:20])
    assert few.attributes["feature"][feature, FEATURE_COLUMNS.index("is_seen")] == 0


def test_one_band_and_descending_bands_have_tensors_too():
    assert tensors(load("packaged"), np.array([2200.0]), np.array([10.0])).spectra.shape[1] == 1
    up, down = (tensors(load("packaged"), CENTRES[::step], WIDTHS) for step in (1, -1))
    assert np.array_equal(up.spectra, down.spectra[:, ::-1])


def test_a_difference_names_what_was_stated_and_what_follows():
    triples = packaged().triples()
    more = parse([("more", (HEAD + "mat:new a plm:Material ; skos:prefLabel 'new clay'@en ; "
                            "skos:broader group:kaolin .").encode())])
    changes = diff(triples, [*triples, *more])
    assert {one.kind for one in changes} == {"added"}
    stated = [one for one in changes if one.is_stated]
    assert len(stated) == 3
    assert all(one.label == "new clay" for one in stated)
    follows = [one for one in changes if not one.is_stated]
    assert any(one.relation == "skos:broaderTransitive" and one.value == "silicate mineral" for one in follows)
    assert all(one.reason for one in follows)
    back = diff([*triples, *more], triples)
    assert {one.kind for one in back} == {"removed"}
    assert len(back) == len(changes)


def test_a_release_does_not_differ_from_itself():
    triples = list(packaged().triples())
    assert diff(triples, triples[::-1]) == ()
