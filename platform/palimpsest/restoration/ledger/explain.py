"""Who added what: the ledger that a restoration writes while it works, and the answer to 'why this pixel?'.

Each sentence states what the decision is; how much it gave and how far it was believed are numbers beside it. Nothing
is composed afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused, MissingWavelengths
from palimpsest.restoration.ledger.shelf import Shelf
from palimpsest.restoration.library.modelled import how_made
from palimpsest.restoration.result import FULL_TRUST, Contribution, Decision, Restoration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from palimpsest.knowledge.rules import Material, Rule

SENTENCES = {
    "damage": "The stored value here is no measurement (dead, missing, saturated or masked): it counts for nothing.",
    "interpolation.linear": "A straight line between this pixel's nearest usable bands.",
    "interpolation.pchip": "A monotone cubic through this pixel's usable bands.",
    "interpolation.kriging": "This pixel's usable bands, carried into the gap by kriging.",
    "correlation.low_rank": "What the scene's other pixels show in this band when their other bands look like this.",
    "correlation.group": "What other cubes of the same place show here, brought to this cube's light.",
    "correlation.spared": "What the few pixels that do show this band tell beyond the judgement, carried to those that "
    "look like them.",
    "correlation.denoise": "What the scene's own factors and its similar places show here once the noise is taken off; "
    "what stands out of the noise was kept.",
    "stripe.offset": "This column or row read too much or too little by a constant in this band: taken off.",
    "library.residual": "What the library mixture leaves over in the bands that were measured, carried into this one.",
    "library.dark": "What this sensor stores without any light, seen where the air lets none through.",
    "rounding": "Rounding to the step of the stored type.",
    "clipping": "The stored type cannot hold a value beyond its range.",
}


@dataclass(slots=True)
class Ledger:
    """Collects decisions and contributions; one entry a decision and window.

    Args:
        voxels: number of voxels of the cube: decides how wide indices must be.
        told: sentences of this restoration's own sources, by source; the others have :data:`SENTENCES`.
    """

    voxels: int
    told: Mapping[str, str] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    contributions: list[Contribution] = field(default_factory=list)
    _number: dict[Decision, int] = field(default_factory=dict)
    _shelf: Shelf = field(default_factory=Shelf)

    def source(self, name: str) -> int:
        """The decision of a source that is neither a rule nor a material."""
        return self._enter(Decision(name, self.told.get(name) or SENTENCES[name]))

    def material(self, material: Material) -> int:
        """The decision of a library material, or of what radiative transfer makes of it."""
        how = how_made(material)
        if how:
            sentence = f"{material.label} {how}: by radiative transfer, by the share that fits this pixel's bands best."
            return self._enter(Decision("library.modelled", sentence, material=material.iri))
        sentence = f"{material.label}: its reference spectrum, by the share that fits this pixel's observed bands best."
        return self._enter(Decision("library", sentence, material=material.iri))

    def rule(self, rule: Rule) -> int:
        """The decision of a hard rule."""
        return self._enter(Decision("rule", rule.sentence, rule=rule.iri))

    def add(
        self, decision: int, voxels: NDArray[np.int64], quanta: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> None:
        """Enter what a decision added; zeros are left out, indices are put in order."""
        given = np.flatnonzero(quanta)
        if not given.size:
            return
        given = given[np.argsort(voxels[given], kind="stable")]
        trust = np.rint(np.clip(weight[given], 0, 1) * FULL_TRUST).astype(np.uint8)
        index = np.int32 if self.voxels < 2**31 else np.int64
        amount = quanta[given]
        narrow = np.int32 if np.abs(amount).max() < 2**31 else np.int64
        kept = self._shelf.put(voxels[given].astype(index), amount.astype(narrow), trust)
        self.contributions.append(Contribution(decision, *kept))  # type: ignore[arg-type]  # as they were put there

    def beside(self) -> Ledger:
        """An empty ledger of the same cube, for a window that is decided beside others."""
        return Ledger(self.voxels, self.told, _shelf=Shelf(room=2**62))

    def join(self, other: Ledger) -> None:
        """Enter what another ledger holds, as if it had been written here after all that is here."""
        number = [self._enter(decision) for decision in other.decisions]
        for part in other.contributions:
            kept = self._shelf.put(part.voxels, part.values, part.trust)
            self.contributions.append(Contribution(number[part.decision], *kept))  # type: ignore[arg-type]  # as put

    def _enter(self, decision: Decision) -> int:
        if decision not in self._number:
            self._number[decision] = len(self.decisions)
            self.decisions.append(decision)
        return self._number[decision]


def explain_pixel(result: Restoration, row: int, col: int, band_nm: float | None = None) -> list[dict[str, object]]:
    """Why a pixel is what it is: one entry a changed band, in stored units.

    Args:
        result: the restoration.
        row: of the pixel.
        col: of the pixel.
        band_nm: only the band nearest to this wavelength; every changed band when left out.

    Raises:
        CubeRefused: no such pixel.
        MissingWavelengths: ``band_nm`` of a cube without wavelengths.
    """
    points = result.contributions_at(row, col)
    half = result.half_width_at(row, col)
    table = result.decoded.bands
    wanted = sorted({point.band for point in points})
    if band_nm is not None:
        if table.centre_nm is None:
            raise MissingWavelengths("no wavelengths to find the band by", where=result.decoded.name)
        wanted = [int(np.argmin(np.abs(table.centre_nm - band_nm)))]
    answer: list[dict[str, object]] = []
    for band in wanted:
        decoded, restored = (float(cube.data[band, row, col]) for cube in (result.decoded, result.restored))
        width = float(half[band])
        answer.append({
            "band": band, "wavelength_nm": None if table.centre_nm is None else float(table.centre_nm[band]),
            "decoded": decoded if np.isfinite(decoded) else None, "restored": restored,
            "interval": [restored - width, restored + width], "quantum": result.quantum,
            "contributions": [
                {
                    "source": point.why.source, "rule": point.why.rule, "material": point.why.material,
                    "release": result.release, "value": point.value, "quanta": point.quanta,
                    "confidence": point.trust, "sentence": point.why.sentence,
                }
                for point in points
                if point.band == band
            ],
        })
    return answer


def summary(result: Restoration) -> list[dict[str, object]]:
    """Every decision with the number of voxels it touched and the mean absolute amount, most voxels first.

    Raises:
        CubeRefused: a contribution names a decision that is not there.
    """
    voxels = np.zeros(len(result.decisions), np.int64)
    amount = np.zeros(len(result.decisions))
    for part in result.contributions:
        if part.decision >= len(result.decisions):
            raise CubeRefused("contribution of an unknown decision", got=part.decision, wanted=len(result.decisions))
        voxels[part.decision] += part.voxels.size
        amount[part.decision] += float(np.abs(part.values).sum()) * result.quantum
    order = np.argsort(-voxels, kind="stable")
    return [
        {
            "source": result.decisions[k].source, "rule": result.decisions[k].rule,
            "material": result.decisions[k].material, "voxels": int(voxels[k]),
            "mean_amount": float(amount[k] / max(voxels[k], 1)), "sentence": result.decisions[k].sentence,
        }
        for k in order
        if voxels[k]
    ]
