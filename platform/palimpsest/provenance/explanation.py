"""An explanation as a value: per band what was decoded, what was restored, how sure, and the exact sum between."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from palimpsest.provenance.paragraph import paragraph


@dataclass(frozen=True, slots=True)
class Acted:
    """One decision at one voxel: what it added, in whole quanta, and how far it was trusted (0 to 1)."""

    decision: int
    source: str
    rule: str
    material: str
    release: str
    sentence: str
    quanta: int
    trust: float

    def to_dict(self, value: object) -> dict[str, Any]:
        """For JSON, with the value in stored units."""
        return {
            "source": self.source, "rule": self.rule or None, "material": self.material or None,
            "release": self.release or None, "value": value, "confidence": round(self.trust, 4),
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class BandExplanation:
    """One band of one pixel.

    Args:
        band: 0-based, stored order.
        centre_nm: or None.
        decoded_quanta: the decoded value in quanta; None where the voxel was left alone and the input is not at hand.
        decoded_stored: the stored value itself; differs from the former only for floats off the quantum's grid.
        half_width: half of the 90 % interval, stored units; None where the voxel was left alone.
        reason: why it was to be changed: 'good', 'dead', 'stripe', ... (:class:`~palimpsest.cubes.Reason`).
        provenance: name of its :class:`~palimpsest.restoration.result.ProvenanceClass`.
        confidence: trust in the source that moved it most, in fifteenths as stored.
        quantum: stored units.
        acted: who added what, by decision.
    """

    band: int
    centre_nm: float | None
    decoded_quanta: int | None
    decoded_stored: float | int | None
    half_width: float | None
    reason: str
    provenance: str
    confidence: float
    quantum: float
    acted: tuple[Acted, ...]

    @property
    def moved(self) -> int:
        """Restored minus decoded, in quanta."""
        return sum(one.quanta for one in self.acted)

    @property
    def decoded(self) -> float | int | None:
        """Decoded value, stored units, on the quantum's grid."""
        if self.decoded_quanta is None:
            return None
        return in_units(self.decoded_quanta, self.quantum) if self.acted else self.decoded_stored

    @property
    def restored(self) -> float | int | None:
        """Restored value, stored units."""
        if not self.acted:
            return self.decoded
        return None if self.decoded_quanta is None else in_units(self.decoded_quanta + self.moved, self.quantum)

    @property
    def interval(self) -> list[float] | None:
        """The 90 % interval, stored units; None where the voxel was left alone."""
        if self.half_width is None or self.restored is None:
            return None
        return [self.restored - self.half_width, self.restored + self.half_width]

    def key(self) -> tuple[object, ...]:
        """What makes neighbouring bands one group: their class and who acted."""
        return (self.reason, self.provenance, tuple(one.decision for one in self.acted))


@dataclass(frozen=True, slots=True)
class Explanation:
    """A pixel explained.

    Args:
        restoration: its id.
        name: the cube's.
        row: 0-based.
        col: 0-based.
        quantum: stored units of one quantum.
        release: hash of the knowledge release, or ''.
        model: hash of the weights.
        agreement: where the exact numbers came from: 'stored', or 'recomputed, bit-identical'.
        bands: the bands asked for.
        is_single: one band was asked for, so numbers stand alone instead of in lists.
    """

    restoration: str
    name: str
    row: int
    col: int
    quantum: float
    release: str
    model: str
    agreement: str
    bands: tuple[BandExplanation, ...]
    is_single: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers of the one band asked for; lists along the bands and groups of bands otherwise."""
        head: dict[str, Any] = {
            "restoration": self.restoration, "name": self.name, "row": self.row, "col": self.col,
            "quantum": self.quantum, "release": self.release or None, "model": self.model or None,
            "agreement": self.agreement, "paragraph": paragraph(self),
        }
        return {**head, **(self._single() if self.is_single else self._spectrum())}

    def _single(self) -> dict[str, Any]:
        one = self.bands[0]
        return {
            "band": one.band, "centre_nm": one.centre_nm, "class": one.provenance, "reason": one.reason,
            "decoded": one.decoded,
            "restored": one.restored, "interval": one.interval,
            "contributions": [acted.to_dict(in_units(acted.quanta, self.quantum)) for acted in one.acted],
        }

    def _spectrum(self) -> dict[str, Any]:
        return {
            "centre_nm": [one.centre_nm for one in self.bands],
            "class": [one.provenance for one in self.bands],
            "reason": [one.reason for one in self.bands],
            "decoded": [one.decoded for one in self.bands],
            "restored": [one.restored for one in self.bands],
            "interval": [one.interval for one in self.bands],
            "contributions": self._contributions(),
            "groups": [group_dict(list(group)) for _, group in groupby(self.bands, key=BandExplanation.key)],
        }

    def _contributions(self) -> list[dict[str, Any]]:
        """One entry a decision; its value is a list along the bands."""
        found: dict[int, dict[str, Any]] = {}
        trusts: dict[int, list[float]] = {}
        for place, one in enumerate(self.bands):
            for acted in one.acted:
                entry = found.setdefault(acted.decision, acted.to_dict([0] * len(self.bands)))
                entry["value"][place] = in_units(acted.quanta, self.quantum)
                trusts.setdefault(acted.decision, []).append(acted.trust)
        for decision, entry in found.items():
            entry["confidence"] = round(sum(trusts[decision]) / len(trusts[decision]), 4)
        return [found[decision] for decision in sorted(found)]


def group_dict(group: list[BandExplanation]) -> dict[str, Any]:
    """Neighbouring bands on which the same decisions acted; numbers are means over its bands, ``quanta`` exact sums."""
    size = len(group)
    by_decision = [[one.acted[place] for one in group] for place in range(len(group[0].acted))]
    decoded = [one.decoded for one in group if one.decoded is not None]
    restored = [one.restored for one in group if one.restored is not None]
    widths = [one.half_width for one in group if one.half_width is not None]
    return {
        "bands": f"{group[0].band}:{group[-1].band + 1}",
        "from_nm": group[0].centre_nm,
        "to_nm": group[-1].centre_nm,
        "class": group[0].provenance,
        "reason": group[0].reason,
        "decoded": sum(decoded) / size if len(decoded) == size else None,
        "restored": sum(restored) / size if len(restored) == size else None,
        "half_width": sum(widths) / size if len(widths) == size else None,
        "quanta": sum(one.moved for one in group),
        "contributions": [
            {
                **acted[0].to_dict(sum(one.quanta for one in acted) * group[0].quantum / size),
                "quanta": sum(one.quanta for one in acted),
                "confidence": round(sum(one.trust for one in acted) / size, 4),
            }
            for acted in by_decision
        ],
    }


def in_units(quanta: int, quantum: float) -> float | int:
    """Quanta in stored units; a whole number stays one. Exact: the quantum is a power of two."""
    value = quanta * quantum
    return int(value) if float(value).is_integer() else value
