"""The knowledge integrator as one network: correlation encoder, graph processor, aligner, confidence estimator.

The semantic mapper and the rule constrainer, its two other parts, work on spectra and have no learned weights: what
they know is in the release. Its job is judgement: it never makes a value, it says whom to believe and how far.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from palimpsest.errors import ModelMissing, UsageError
from palimpsest.restoration.integrator.aligner import Aligner, equal_weights
from palimpsest.restoration.integrator.confidence import BAND_GROUPS, KINDS, UNINFORMED_LOG_ERROR, Confidence
from palimpsest.restoration.integrator.correlation_encoder import CorrelationEncoder
from palimpsest.restoration.integrator.graph_processor import Embedding, GraphProcessor

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from palimpsest.restoration.study.context import Context

WIDTH = 32
_LEAST_WEIGHT = 1e-9
PARTS = ("graph_processor", "semantic_mapper", "rule_constrainer", "aligner", "confidence")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the integrator says of a context.

    Args:
        weights: ``(cell, source)``, sum to one over the sources that speak.
        log_error: common logarithm of the expected error, scaled units, shifted as the features are, ``(cell,)``.
    """

    weights: Tensor
    log_error: Tensor


class Member(nn.Module):
    """One network of the integrator: encoder, graph processor, aligner, confidence."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = CorrelationEncoder(width)
        self.processor = GraphProcessor(width)
        self.aligner = Aligner(width)
        self.confidence = Confidence(width)

    def forward(self, context: Context, *, edges: bool, left_out: Collection[str]) -> Judgement:
        """What this network alone says of a context; arguments as of :class:`Integrator`."""
        latent = self.encoder(torch.from_numpy(context.group), torch.from_numpy(context.group_scene))
        embedding = self.processor(context, latent, edges=edges)
        if "graph_processor" in left_out:
            embedding = Embedding(torch.zeros_like(embedding.cell), torch.zeros_like(embedding.candidate))
        speaks, log_error = torch.from_numpy(context.speaks), torch.from_numpy(context.error)
        if "aligner" in left_out:
            weights = equal_weights(speaks)
        else:
            weights = self.aligner(embedding.cell, embedding.candidate, log_error, speaks, embedding.trials)
        if "confidence" in left_out:
            expected = torch.full((len(speaks),), UNINFORMED_LOG_ERROR + 2.0)
        else:
            expected = self.confidence(embedding.cell, embedding.candidate, log_error, weights.detach())
        return Judgement(weights, expected)


class Integrator(nn.Module):
    """Whom to believe, and how far: several networks that differ by the seed of their training, asked together.

    Where the examples of training decide a case, they agree; where they do not, each has its own habit, and the mean of
    the habits does less harm than any one of them.

    Args:
        width: of the embeddings.
        members: how many networks.

    Source: Lakshminarayanan, Pritzel and Blundell 2017, NeurIPS (deep ensembles).
    """

    def __init__(self, width: int = WIDTH, members: int = 1) -> None:
        super().__init__()
        self.members = nn.ModuleList(Member(width) for _ in range(members))
        self.register_buffer("conformal", torch.full((BAND_GROUPS, KINDS), 2.0))
        self.register_buffer("conformal_plain", torch.full((BAND_GROUPS, KINDS), 2.0))

    @classmethod
    def of(cls, single: Sequence[Integrator]) -> Integrator:
        """The integrator that asks all members of several; their intervals are to be calibrated anew."""
        joined = cls(members=0)
        joined.members = nn.ModuleList(member for one in single for member in one.members)
        return joined.eval()

    def forward(self, context: Context, *, edges: bool = True, left_out: Collection[str] = ()) -> Judgement:
        """The judgement of a context; parts may be left out by name (see :data:`PARTS`) to see what they are worth."""
        said = [member(context, edges=edges, left_out=left_out) for member in self.members]
        weights = torch.stack([one.weights for one in said]).mean(0)
        return Judgement(weights, torch.stack([one.log_error for one in said]).mean(0))

    def verdict(self, context: Context, *, edges: bool = True, left_out: Collection[str] = ()) -> Judgement:
        """The judgement that restores: as :meth:`forward`, but by the geometric mean of the members' weights.

        A source that one member alone believes gets little of its weight. Training asks for the plain mean.
        """
        said = [member(context, edges=edges, left_out=left_out) for member in self.members]
        pooled = torch.stack([torch.log(one.weights.clamp(min=_LEAST_WEIGHT)) for one in said]).mean(0)
        weights = torch.softmax(pooled.masked_fill(~torch.from_numpy(context.speaks), -1e9), -1)
        return Judgement(weights, torch.stack([one.log_error for one in said]).mean(0))

    @property
    def digest(self) -> str:
        """SHA-256 over names, shapes and values of the weights: the model's identity."""
        running = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            running.update(f"{name}{tuple(value.shape)}".encode())
            running.update(value.detach().to(torch.float32).contiguous().numpy().astype("<f4").tobytes())
        return running.hexdigest()


def check_parts(left_out: Collection[str]) -> None:
    """Refuse the name of a part that the integrator does not have.

    Raises:
        UsageError: unknown part.
    """
    for name in left_out:
        if name not in PARTS:
            raise UsageError("no such part of the integrator", got=name, wanted=", ".join(PARTS))


def load(weights: str | Path | None = None) -> Integrator:
    """The integrator with its trained weights: the packaged ones, or a safetensors file.

    Raises:
        ModelMissing: no such file, or weights of another network.
    """
    from pathlib import Path

    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    if weights is None:
        entry = files("palimpsest.restoration") / "weights" / "integrator.safetensors"
        content = entry.read_bytes() if entry.is_file() else None
    else:
        content = Path(weights).read_bytes() if Path(weights).is_file() else None
    if content is None:
        raise ModelMissing("weights of the integrator are not installed", where=weights or "packaged weights")
    try:
        tensors = load_tensors(content)
        counted = {name.split(".")[1] for name in tensors if name.startswith("members.")}
        network = Integrator(members=len(counted))
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ModelMissing(
            "not the weights of this integrator", where=weights or "packaged weights", got=str(error)[:120]
        ) from error
    return network.eval()
