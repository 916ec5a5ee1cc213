"""What a restoration is, as a value: decoded cube, restored cube, and the exact sum of named contributions between.

For every voxel ``restored = decoded + quantum * sum of contributions``, in integers, so that an explanation is the
restoration itself and not a story told afterwards. A voxel that no contribution names is bit-identical to the decoded
one. Where the decoded value counts for nothing (a dead detector, nodata), the contribution named ``damage`` takes it
away, and what the sources put in its place follows; rounding to the stored type and clipping to its range are
contributions of their own.

Integer cubes are on the grid of the quantum by construction. Floating-point cubes are read on that grid: the decoded
value of a changed voxel is the nearest multiple of the quantum (zero where it is not a number), see :func:`on_grid`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube, Window

FULL_TRUST = 255


class ProvenanceClass(IntEnum):
    """What a voxel's value is, for those who must not mistake it for a measurement. Stored: never renumber."""

    MEASURED = 0
    CODED = 1  # decoded from a lossy stream, within its bound or rate
    DENOISED = 2
    INTERPOLATED = 3  # from the pixel's own other bands
    CORRELATED = 4  # from other pixels or other cubes
    KNOWLEDGE_INFERRED = 5  # mostly from library materials
    RULE_PROJECTED = 6  # moved onto a hard rule
    SYNTHESISED = 7


@dataclass(frozen=True, slots=True)
class Decision:
    """One distinct reason for which values were changed; pixels point to it.

    Args:
        source: who acted: 'damage', 'interpolation.linear', 'interpolation.pchip', 'correlation.low_rank',
            'correlation.group', 'library', 'library.modelled', 'library.residual', 'rule', 'rounding', 'clipping'.
        sentence: the reason, for people.
        rule: IRI of the rule, or ''.
        material: IRI of the material, or ''.
    """

    source: str
    sentence: str
    rule: str = ""
    material: str = ""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one decision added. A decision may own several of these (one a window).

    Args:
        decision: index into ``Restoration.decisions``.
        voxels: flat indices into ``(band, row, col)``, ascending, ``(n,)`` int64.
        values: what was added, in quanta, ``(n,)`` int64.
        trust: weight that the integrator gave the source at that voxel, 255 is 1, ``(n,)`` uint8.
    """

    decision: int
    voxels: NDArray[np.int64]
    values: NDArray[np.int64]
    trust: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if not self.voxels.shape == self.values.shape == self.trust.shape or self.voxels.ndim != 1:
            raise CubeRefused(
                "contribution of unequal parts", got=(self.voxels.shape, self.values.shape, self.trust.shape),
                wanted="three arrays of one length",
            )


@dataclass(frozen=True, slots=True)
class PointContribution:
    """One contribution at one voxel.

    Args:
        band: 0-based band.
        decision: index of the decision.
        why: the decision itself.
        quanta: what was added, in quanta; the sum over a voxel is exactly restored minus decoded.
        value: the same in stored units.
        trust: 0 to 1.
    """

    band: int
    decision: int
    why: Decision
    quanta: int
    value: float
    trust: float


@dataclass(frozen=True, slots=True)
class Restoration:
    """A restored cube and why.

    Args:
        decoded: what was given (a decoded stream, or the cube itself).
        restored: the answer: same shape, type, bands and georeference.
        quantum: stored units of one quantum, a power of two.
        decisions: the distinct reasons.
        contributions: who added what.
        changed: flat indices of the voxels named by any contribution, ascending, ``(n,)``, int64 or
            narrower.
        half_width: half of the 90 % interval at each changed voxel, stored units, ``(n,)`` float32.
        classes: a :class:`ProvenanceClass` per voxel, ``(band, row, col)`` uint8.
        reasons: why voxels were to be changed, a :class:`~palimpsest.cubes.Reason` each, ``(band, row, col)`` uint8.
        release: hash of the knowledge release; '' when knowledge played no part.
        model: hash of the weights that judged.
        report: figures and remarks for people and logs (which sources ran, what was not possible and why).
    """

    decoded: Cube
    restored: Cube
    quantum: float
    decisions: tuple[Decision, ...]
    contributions: tuple[Contribution, ...]
    changed: NDArray[np.int64]
    half_width: NDArray[np.float32]
    classes: NDArray[np.uint8]
    reasons: NDArray[np.uint8]
    release: str = ""
    model: str = ""
    report: Mapping[str, object] = field(default_factory=dict)

    def contributions_at(self, row: int, col: int) -> list[PointContribution]:
        """Every contribution at a pixel, by band and then by decision.

        Raises:
            CubeRefused: no such pixel.
        """
        bands, rows, cols = self.decoded.shape
        if not (0 <= row < rows and 0 <= col < cols):
            raise CubeRefused("no such pixel", where=self.decoded.name, got=f"{row},{col}", wanted=f"0:{rows},0:{cols}")
        wanted = np.arange(bands, dtype=np.int64) * (rows * cols) + row * cols + col
        found = []
        for part in self.contributions:
            for band, at in _matches(part.voxels, wanted):
                quanta = int(part.values[at])
                found.append(
                    PointContribution(
                        band, part.decision, self.decisions[part.decision], quanta, quanta * self.quantum,
                        int(part.trust[at]) / FULL_TRUST,
                    )
                )
        return sorted(found, key=lambda point: (point.band, point.decision))

    def half_width_at(self, row: int, col: int) -> NDArray[np.float32]:
        """Half of the 90 % interval of each band at a pixel, stored units, ``(band,)``; 0 where nothing was changed."""
        bands, rows, cols = self.decoded.shape
        wanted = np.arange(bands, dtype=np.int64) * (rows * cols) + row * cols + col
        out = np.zeros(bands, np.float32)
        for band, at in _matches(self.changed, wanted):
            out[band] = self.half_width[at]
        return out

    def within(self, window: Window) -> list[Contribution]:
        """Contributions inside a window, one a decision, by decision; indices are into ``(band, row, col)`` of it.

        This order is canonical: a hash over it can be recomputed.
        """
        by_decision: dict[int, list[Contribution]] = {}
        for part in self.contributions:
            by_decision.setdefault(part.decision, []).append(part)
        _, rows, cols = self.decoded.shape
        found = []
        for decision in sorted(by_decision):
            cut = [_cut(part, (rows, cols), window) for part in by_decision[decision]]
            voxels = np.concatenate([part.voxels for part in cut])
            order = np.argsort(voxels, kind="stable")
            if order.size:
                values = np.concatenate([part.values for part in cut])[order]
                trust = np.concatenate([part.trust for part in cut])[order]
                found.append(Contribution(decision, voxels[order], values, trust))
        return found

    def hash_within(self, window: Window) -> str:
        """SHA-256 of the exact contributions inside a window: decisions, voxels and quanta, little-endian int64."""
        digest = hashlib.sha256()
        for part in self.within(window):
            why = self.decisions[part.decision]
            digest.update("\x00".join((why.source, why.rule, why.material)).encode() + b"\x01")
            digest.update(part.voxels.astype("<i8").tobytes())
            digest.update(part.values.astype("<i8").tobytes())
        return digest.hexdigest()

    def summed(self) -> NDArray[np.int64]:
        """Sum of all contributions, ``(band, row, col)`` in quanta."""
        total = np.zeros(self.decoded.shape.voxels, np.int64)
        for part in self.contributions:
            np.add.at(total, part.voxels, part.values)
        return total.reshape(self.decoded.shape)

    def is_exact(self) -> bool:
        """Whether restored minus decoded is the sum of the contributions, in every voxel and to the last quantum."""
        before, after = self.decoded.data.ravel(), self.restored.data.ravel()
        total = self.summed().ravel()
        touched = np.zeros(total.size, bool)
        touched[self.changed] = True
        same = before[~touched].tobytes() == after[~touched].tobytes()
        moved = on_grid(after[touched], self.quantum) - on_grid(before[touched], self.quantum)
        return bool(same and not total[~touched].any() and np.array_equal(moved, total[touched]))


def on_grid(values: NDArray[np.generic], quantum: float) -> NDArray[np.int64]:
    """Stored values as whole numbers of quanta, int64; what is not a finite number counts as zero."""
    if values.dtype.kind in "iu":
        # float64 would lose bits of a 32-bit value at a quantum below 2^-20; integers do not.
        return values.astype(np.int64) * np.int64(round(1 / quantum))
    finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
    return np.rint(finite / quantum).astype(np.int64)


def _matches(ascending: NDArray[np.int64], wanted: NDArray[np.int64]) -> list[tuple[int, int]]:
    at = np.searchsorted(ascending, wanted)
    inside = at < ascending.size
    hit = np.zeros(wanted.size, bool)
    hit[inside] = ascending[at[inside]] == wanted[inside]
    return [(int(band), int(at[band])) for band in np.flatnonzero(hit)]


def _cut(part: Contribution, plane: tuple[int, int], window: Window) -> Contribution:
    rows, cols = plane
    band, rest = np.divmod(part.voxels, rows * cols)
    row, col = np.divmod(rest, cols)
    inside = (row >= window.row0) & (row < window.row1) & (col >= window.col0) & (col < window.col1)
    local = (band * window.rows + row - window.row0) * window.cols + col - window.col0
    return Contribution(part.decision, local[inside], part.values[inside], part.trust[inside])
