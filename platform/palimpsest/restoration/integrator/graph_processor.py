"""Integrator, part 1: embeds the subgraph of a context by typed message passing.

One linear message per type of edge, with the edge's attributes, averaged at the receiver; two rounds. Cells hear their
candidates, their run, their group and the materials that claim a share of them; runs hear their cells and the rules
that cover them; candidates hear their cell and the scene-wide record of their source; so a doubt about one source in
one run reaches its claims in all others.

Source: Gilmer et al. 2017, arXiv:1704.01212 (message passing); Schlichtkrull et al. 2018, arXiv:1703.06103 (types).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch_geometric.nn.conv import MessagePassing

from palimpsest.restoration.integrator.trial_stacking import Stacked, TrialStacking
from palimpsest.restoration.study.context import (
    CANDIDATE_FEATURES,
    CELL_FEATURES,
    MATERIAL_FEATURES,
    RULE_FEATURES,
    RUN_FEATURES,
    SOURCE_FEATURES,
    Context,
)
from palimpsest.restoration.study.sources import SOURCES

ROUNDS = 2
MATERIAL_EDGE, RULE_EDGE = 3, 2


class TypedMessages(MessagePassing):
    """Messages along one type of edge: ``mean over senders of W [x_j, attributes]``."""

    def __init__(self, width: int, attributes: int = 0) -> None:
        super().__init__(aggr="mean")
        self.message_map = nn.Linear(width + attributes, width)

    def forward(self, x: tuple[Tensor, Tensor], edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """``x`` = (senders ``(n, width)``, receivers ``(m, width)``); what the receivers hear, ``(m, width)``."""
        size = (x[0].size(0), x[1].size(0))
        if edge_attr is None:
            # Without attributes a sender says the same along all of its edges: it is worked out once.
            x = (torch.nn.functional.gelu(self.message_map(x[0])), x[1])
        heard: Tensor = self.propagate(edge_index, x=x, edge_attr=edge_attr, size=size)
        return heard

    def message(self, x_j: Tensor, edge_attr: Tensor | None) -> Tensor:
        """One message an edge."""
        if edge_attr is None:
            return x_j
        return torch.nn.functional.gelu(self.message_map(torch.cat([x_j, edge_attr], -1)))


@dataclass(frozen=True, slots=True)
class Embedding:
    """What the graph knows after message passing.

    Args:
        cell: ``(cell, width)``.
        candidate: ``(cell, source, width)``.
        trials: the weights that would have erred least in the trials; None without edges.
    """

    cell: Tensor
    candidate: Tensor
    trials: Stacked | None = None


class GraphProcessor(nn.Module):
    """Attributes and edges of a context to embeddings of its cells and candidates."""

    EDGES = (
        "candidate>cell", "cell>candidate", "run>cell", "cell>run", "group>cell", "cell>group", "candidate>source",
        "source>candidate", "material>cell", "rule>run",
    )

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = {
            "cell": CELL_FEATURES, "candidate": CANDIDATE_FEATURES, "run": RUN_FEATURES, "group": width,
            "material": MATERIAL_FEATURES, "rule": RULE_FEATURES, "source": SOURCE_FEATURES,
        }
        self.width = width
        self.embed = nn.ModuleDict({name: nn.Linear(size, width) for name, size in sizes.items()})
        attributes = {"material>cell": MATERIAL_EDGE, "rule>run": RULE_EDGE}
        self.stacking = TrialStacking(width)
        self.rounds = nn.ModuleList(
            nn.ModuleDict({
                self._key(edge): TypedMessages(width, attributes.get(edge, 0)) for edge in self.EDGES
            })
            for _ in range(ROUNDS)
        )
        receivers = sorted({edge.split(">")[1] for edge in self.EDGES})
        self.update = nn.ModuleList(
            nn.ModuleDict({name: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)) for name in receivers})
            for _ in range(ROUNDS)
        )

    @staticmethod
    def _key(edge: str) -> str:
        return edge.replace(">", "_to_")

    def forward(self, context: Context, latent: Tensor, *, edges: bool = True) -> Embedding:
        """Embeddings; with ``edges=False`` every node stays alone with its own attributes."""
        count, width = len(context.cells.band), self.width
        flat = torch.from_numpy(context.candidate).reshape(count * len(SOURCES), -1)
        state = {
            "cell": self.embed["cell"](torch.from_numpy(context.cell)),
            "candidate": self.embed["candidate"](flat),
            "run": self.embed["run"](torch.from_numpy(context.run)),
            "group": self.embed["group"](latent),
            "material": self.embed["material"](torch.from_numpy(context.material)),
            "rule": self.embed["rule"](torch.from_numpy(context.rule)),
            "source": self.embed["source"](torch.from_numpy(context.source)),
        }
        index = edge_indices(context)
        trials = self.stacking(context) if edges else None
        for number in range(ROUNDS):
            messages, update = cast("nn.ModuleDict", self.rounds[number]), cast("nn.ModuleDict", self.update[number])
            heard = {name: torch.zeros_like(value) for name, value in state.items()}
            if trials is not None and number == 0:
                heard["candidate"] = heard["candidate"] + trials.message.reshape(count * len(SOURCES), width)
            for edge in self.EDGES if edges else ():
                sender, receiver = edge.split(">")
                pair, attributes = index[edge]
                if pair.shape[1]:
                    said = messages[self._key(edge)]((state[sender], state[receiver]), pair, attributes)
                    heard[receiver] = heard[receiver] + said
            for name in update:
                state[name] = state[name] + torch.nn.functional.gelu(update[name](state[name] + heard[name]))
        return Embedding(state["cell"], state["candidate"].reshape(count, len(SOURCES), width), trials)


def edge_indices(context: Context) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Index pairs ``(2, edge)`` and attributes of every type of edge; sources that do not speak have no edges."""
    cell, source = (torch.from_numpy(part.copy()) for part in context.speaks.nonzero())
    candidate = cell * len(SOURCES) + source
    number = torch.arange(len(context.cells.band))
    source = source + len(SOURCES) * torch.from_numpy(context.cells.scene)[cell]
    run, group = torch.from_numpy(context.cells.run), torch.from_numpy(context.cells.group)
    return {
        "candidate>cell": (torch.stack([candidate, cell]), None),
        "cell>candidate": (torch.stack([cell, candidate]), None),
        "run>cell": (torch.stack([run, number]), None),
        "cell>run": (torch.stack([number, run]), None),
        "group>cell": (torch.stack([group, number]), None),
        "cell>group": (torch.stack([number, group]), None),
        "candidate>source": (torch.stack([candidate, source]), None),
        "source>candidate": (torch.stack([source, candidate]), None),
        "material>cell": (torch.from_numpy(context.material_cell), torch.from_numpy(context.material_edge)),
        "rule>run": (torch.from_numpy(context.rule_run), torch.from_numpy(context.rule_edge)),
    }
