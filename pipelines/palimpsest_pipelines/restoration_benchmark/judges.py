"""Rivals of the integrator that hear the same sources: a network whose nodes stay alone, and weights that are fixed.

Those that learn do so from the same examples by the same loss, so that what is measured is the edges' own part: which
trial is evidence for which gap, and how the sources' errors go together in it. The per-node network is given the same
trials as averages (of all, of those beside the gap, and their scatter). Stacked trials learn nothing: they are what the
integrator begins at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from palimpsest.errors import ModelMissing
from palimpsest.restoration.integrator.network import WIDTH, Integrator, Judgement
from palimpsest.restoration.integrator.trial_stacking import TrialStacking
from palimpsest.restoration.study.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from palimpsest.restoration.study.context import Context

_LN10 = 2.302585092994046


class PerNode(Integrator):
    """The integrator whose nodes stay alone with their attributes, however it is asked."""

    def forward(self, context: Context, *, edges: bool = False, left_out: Collection[str] = ()) -> Judgement:
        """As of :class:`Integrator`, never along edges."""
        del edges
        return super().forward(context, edges=False, left_out=left_out)

    def verdict(self, context: Context, *, edges: bool = False, left_out: Collection[str] = ()) -> Judgement:
        """As of :class:`Integrator`, never along edges."""
        del edges
        return super().verdict(context, edges=False, left_out=left_out)


class FixedWeights(Integrator):
    """One weight a source, and one trust in the trials: the same in every scene, band and gap.

    Args:
        hears_trials: weigh by the error in trials too; otherwise by the sources alone.
    """

    def __init__(self, *, hears_trials: bool) -> None:
        super().__init__(members=0)
        self.score = nn.Parameter(torch.zeros(len(SOURCES)))
        self.trust = nn.Parameter(torch.ones(()), requires_grad=hears_trials)
        if not hears_trials:
            nn.init.zeros_(self.trust)

    def forward(self, context: Context, *, edges: bool = False, left_out: Collection[str] = ()) -> Judgement:
        """Weights of the sources that speak; the expected error is the trials'."""
        del edges, left_out
        speaks, error = torch.from_numpy(context.speaks), torch.from_numpy(context.error)
        score = (self.score - 2 * _LN10 * self.trust * error).masked_fill(~speaks, -1e9)
        weights = torch.softmax(score, -1)
        return Judgement(weights, (weights * error).sum(-1))

    def verdict(self, context: Context, *, edges: bool = False, left_out: Collection[str] = ()) -> Judgement:
        """There is one of them: it is what restores."""
        return self(context, edges=edges, left_out=left_out)


class StackedTrials(Integrator):
    """The weights that would have erred least in the trials, every trial counted alike: nothing is learned.

    Where nothing was tried: inverse variances.
    """

    def __init__(self) -> None:
        super().__init__(members=0)
        self.stacking = TrialStacking(WIDTH)

    def forward(self, context: Context, *, edges: bool = True, left_out: Collection[str] = ()) -> Judgement:
        """Weights of the sources that speak; the expected error is the context's."""
        del edges, left_out
        speaks, error = torch.from_numpy(context.speaks), torch.from_numpy(context.error)
        told = self.stacking(context)
        score = torch.where(told.is_told[:, None], told.score, -2 * _LN10 * error)
        weights = torch.softmax(score.masked_fill(~speaks, -1e9), -1)
        return Judgement(weights, (weights * error).sum(-1))

    def verdict(self, context: Context, *, edges: bool = True, left_out: Collection[str] = ()) -> Judgement:
        """There is one of them: it is what restores."""
        return self(context, edges=edges, left_out=left_out)


@dataclass(frozen=True, slots=True)
class Rivals:
    """The judges that the integrator is compared with.

    Args:
        per_node: asked together, as the integrator's members are.
        fixed: weights of the sources alone.
        by_trials: fixed weights and inverse variances of the trials.
    """

    per_node: PerNode
    fixed: FixedWeights
    by_trials: FixedWeights


def rivals_beside(weights: Path) -> Path:
    """Where the rivals of an integrator's weights lie."""
    return weights.with_name(f"rivals_{weights.name}")


def save(rivals: Rivals, path: Path) -> None:
    """Write them as one safetensors file."""
    from safetensors.torch import save as packed

    networks = {"per_node": rivals.per_node, "fixed": rivals.fixed, "by_trials": rivals.by_trials}
    path.write_bytes(packed({
        f"{name}.{key}": value.detach().contiguous()
        for name, network in networks.items() for key, value in network.state_dict().items()
    }))


def load(path: Path) -> Rivals:
    """Read what :func:`save` wrote.

    Raises:
        ModelMissing: no such file, or weights of other networks.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as unpacked

    if not path.is_file():
        raise ModelMissing("weights of the judges to compare with are not installed", where=path)
    try:
        tensors = unpacked(path.read_bytes())
        own = {
            name: {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            for name in ("per_node", "fixed", "by_trials")
        }
        count = len({key.split(".")[1] for key in own["per_node"] if key.startswith("members.")})
        found = Rivals(PerNode(members=count), FixedWeights(hears_trials=False), FixedWeights(hears_trials=True))
        for name, network in (("per_node", found.per_node), ("fixed", found.fixed), ("by_trials", found.by_trials)):
            network.load_state_dict(own[name])
            network.eval()
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ModelMissing("not the weights of these judges", where=path, got=str(error)[:120]) from error
    return found


def alone(network: Integrator, number: int) -> Integrator:
    """One member of an integrator, with the intervals of all together."""
    single = type(network)(members=0)
    single.members.append(network.members[number])
    single.load_state_dict(
        {key: value for key, value in network.state_dict().items() if key.startswith("conformal")}, strict=False
    )
    return single.eval()
