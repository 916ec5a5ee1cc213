"""Hard rules about a material's features as gates of its identification.

A hard rule is believed without exception: a pixel that shows no such feature, or too much of it, is not of that
material. So what restoration projects onto, identification asks for, and importance sees that a decision hangs on it.
At least so deep: the material's own feature there, without a weight in its fit, must reach that depth. At most so deep:
the feature of the material that the rule took it from must not be deeper; where no reference spectrum shows it, only
restoration can hold to the rule. Soft rules and rules for all materials leave identification as the rule base has it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from palimpsest.knowledge.rules import DiagnosticFeature, Interval, NotFeature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palimpsest.knowledge.rules import Material, Rule

GATED_KINDS = ("feature_depth", "feature_presence")


def with_hard_rules(materials: Sequence[Material], rules: Sequence[Rule]) -> tuple[Material, ...]:
    """The materials with a gate for every hard rule about a feature of theirs; the others as they are."""
    gating = [rule for rule in rules if rule.is_hard and rule.scope and rule.kind in GATED_KINDS]
    if not gating:
        return tuple(materials)
    owners = {
        feature.iri: material.iri for material in materials if material.spectrum is not None
        for feature in material.features
    }
    return tuple(_gated(material, gating, owners) for material in materials)


def _gated(material: Material, rules: Sequence[Rule], owners: dict[str, str]) -> Material:
    if not material.features:
        return material
    features, exclusions = list(material.features), list(material.not_features)
    for rule in rules:
        if material.iri not in rule.scope:
            continue
        p = rule.parameters
        left, right = (p["left_from_nm"], p["left_to_nm"]), (p["right_from_nm"], p["right_to_nm"])
        extra: dict[str, object] = {"ordinal": len(features) + 1, "source": rule.source}
        if "low" in p:
            depth = {"depth": Interval(low=p["low"])}
            features.append(DiagnosticFeature(rule.iri, left, right, 0.0, depth, "gate", extra))
        owner = owners.get(rule.feature)
        if "high" in p and owner is not None:
            depth = {"depth": Interval(low=p["high"])}
            exclusions.append(NotFeature(owner, rule.iri, depth, extra, left, right))
    return replace(material, features=tuple(features), not_features=tuple(exclusions))
