"""Cubes restored together: N go in, N come out, in the order given.

Cubes of one place speak about each other's voxels (:mod:`palimpsest.restoration.companions.together`). Cubes of one
sensor but of other places are restored each alone: what other ground looks like in a band that is lost here misled by
up to 16 dB.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.errors import CubeRefused, UsageError
from palimpsest.restoration.companions.companion import Member, companion_of
from palimpsest.restoration.companions.dates import Dates, dates_of
from palimpsest.restoration.companions.together import companions_of
from palimpsest.restoration.computing.one_thread import one_thread
from palimpsest.restoration.integrator.network import Integrator, load
from palimpsest.restoration.organiser import is_one_place, organise
from palimpsest.restoration.repair import repair
from palimpsest.restoration.restorer import damage_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from palimpsest.cubes import Cube
    from palimpsest.knowledge.rules import KnowledgeBase
    from palimpsest.restoration.companions.together import Companions
    from palimpsest.restoration.result import Restoration

MOST_COMPANIONS = 8  # those whose light leaves least; each costs a model and a reading of every window


@one_thread()
def restore_group(
    cubes: Sequence[Cube], *, knowledge: KnowledgeBase | None, masks: Sequence[NDArray[np.bool_] | None] = (),
    weights: str | Path | Integrator | None = None, parts_left_out: Collection[str] = (), edges: bool = True,
    are_decoded: Sequence[bool] = (), infer_opaque: bool = False, is_denoised: bool = False,
) -> list[Restoration]:
    """Restore a pile: it is organised into groups, and each cube is restored with its group.

    A cube that has nobody of its place beside it is restored alone; its report names its ``group``, and as
    ``companions`` those with whom it was restored.

    Args:
        cubes: in any order; the answers keep it.
        knowledge: as for :func:`~palimpsest.restoration.restorer.restore`.
        masks: True = usable, one a cube or None each; empty for none at all.
        weights: as for ``restore``.
        parts_left_out: as for ``restore``.
        edges: as for ``restore``.
        are_decoded: one a cube; empty for none.
        infer_opaque: as for ``restore``.
        is_denoised: take the noise off measured voxels too, each cube by its own factors; what it is told of its
            damaged voxels comes from the others as they are.

    Raises:
        UsageError: masks or ``are_decoded`` of another number than the cubes.
        CubeRefused: a mask of another shape, or a cube without a usable voxel.
    """
    given, decoded = list(masks) or [None] * len(cubes), list(are_decoded) or [False] * len(cubes)
    if not len(given) == len(decoded) == len(cubes):
        raise UsageError("one of each for every cube", got=(len(cubes), len(given), len(decoded)),
                         wanted="cubes, masks, are_decoded of one length")
    network = weights if isinstance(weights, Integrator) else load(weights)
    pile = _Pile(cubes, given, knowledge)
    return [
        _restored(
            pile, number, knowledge=knowledge, weights=network, parts_left_out=parts_left_out, edges=edges,
            is_decoded=decoded[number], infer_opaque=infer_opaque, is_denoised=is_denoised,
        )
        for number in range(len(cubes))
    ]


@one_thread()
def restore_member(
    number: int, cubes: Sequence[Cube], *, knowledge: KnowledgeBase | None,
    masks: Sequence[NDArray[np.bool_] | None] = (), weights: str | Path | Integrator | None = None,
    parts_left_out: Collection[str] = (), edges: bool = True, is_decoded: bool = False, infer_opaque: bool = False,
    is_denoised: bool = False,
) -> Restoration:
    """One cube of a pile, restored with its group: what :func:`restore_group` makes of it, bit by bit.

    Args:
        number: which cube.
        cubes: all of the pile, in the order in which they were restored together.
        knowledge: as for ``restore_group``, and so are the rest.
        masks: one a cube or None each; empty for none at all.
        weights: the integrator.
        parts_left_out: parts of it to do without.
        edges: of its graph.
        is_decoded: whether this cube comes from a lossy stream.
        infer_opaque: infer opaque windows too.
        is_denoised: as for ``restore_group``.

    Raises:
        CubeRefused: as for ``restore_group``.
    """
    pile = _Pile(cubes, list(masks) or [None] * len(cubes), knowledge)
    return _restored(
        pile, number, knowledge=knowledge, weights=weights, parts_left_out=parts_left_out, edges=edges,
        is_decoded=is_decoded, infer_opaque=infer_opaque, is_denoised=is_denoised,
    )


class _Pile:
    """Cubes looked at once, however many of them are restored."""

    def __init__(
        self, cubes: Sequence[Cube], masks: Sequence[NDArray[np.bool_] | None], knowledge: KnowledgeBase | None
    ) -> None:
        self.cubes, self.masks = cubes, masks
        self.damage = [damage_of(cube, mask) for cube, mask in zip(cubes, masks, strict=True)]
        self._windows = () if knowledge is None else knowledge.windows
        self._group_of = {member: group for group in organise(cubes) for member in group.members}
        self._looked: dict[int, Member | None] = {}
        self._dates: dict[tuple[int, ...], Dates | None] = {}

    def group_name(self, number: int) -> str:
        """What the group of a cube is called."""
        return self._group_of[number].name

    def companions(self, number: int) -> Companions | None:
        """Those of its place, asked together; None where there are none or they share too little with it."""
        mine = self._member(number)
        members = [k for k in self._group_of[number].members if k != number]
        here = [k for k in members if is_one_place(self.cubes[number], self.cubes[k])]
        if mine is None or not here:
            return None
        pairs = [(companion_of(mine, other, self._windows), k) for k in here if (other := self._member(k)) is not None]
        found = [(companion, k) for companion, k in pairs if companion is not None]
        # The nearest in light speak; a stable sort, so that equals keep their order.
        found.sort(key=lambda pair: float(np.median(pair[0].light.variance)))
        found = found[:MOST_COMPANIONS]
        if not found:
            return None
        names = [f"{self.cubes[k].name} (values {content_sha256(self.cubes[k])[:16]})" for _, k in found]
        dates = self._dates_of(tuple(sorted((number, *(k for _, k in found)))))
        return companions_of(mine, [companion for companion, _ in found], names, dates)

    def _dates_of(self, numbers: tuple[int, ...]) -> Dates | None:
        """Some cubes of a place in one model, fitted once for all of them."""
        if numbers not in self._dates:
            self._dates[numbers] = dates_of([member for k in numbers if (member := self._member(k)) is not None])
        return self._dates[numbers]

    def _member(self, number: int) -> Member | None:
        """A cube as a member; None where it has nothing to say."""
        if number not in self._looked:
            try:
                self._looked[number] = Member.of(self.cubes[number], self.damage[number])
            except CubeRefused:
                # Restoring it says so; the others do without it.
                self._looked[number] = None
        return self._looked[number]


def content_sha256(cube: Cube) -> str:
    """SHA-256 of a cube's values, little-endian, ``(band, row, col)``: what provenance names a cube by."""
    values = np.ascontiguousarray(cube.data)
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def _restored(
    pile: _Pile, number: int, *, knowledge: KnowledgeBase | None, weights: str | Path | Integrator | None,
    parts_left_out: Collection[str], edges: bool, is_decoded: bool, infer_opaque: bool, is_denoised: bool,
) -> Restoration:
    companions = pile.companions(number)
    # Defects were searched before the cubes met.
    done = repair(
        pile.cubes[number], knowledge=knowledge, is_searched=False, is_denoised=is_denoised, mask=pile.masks[number],
        weights=weights, parts_left_out=parts_left_out, edges=edges, is_decoded=is_decoded, infer_opaque=infer_opaque,
        companion=companions,
    )
    names = [] if companions is None else [other.other.cube.name for other in companions.others]
    return replace(done, report={**done.report, "group": pile.group_name(number), "companions": names})
