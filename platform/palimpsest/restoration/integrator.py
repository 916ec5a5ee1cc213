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
from palimpsest.restoration.aligner import Aligner, equal_weights
from palimpsest.restoration.confidence import BAND_GROUPS, KINDS, UNINFORMED_LOG_ERROR, Confidence
from palimpsest.restoration.correlation_encoder import CorrelationEncoder
from palimpsest.restoration.graph_processor import Embedding, GraphProcessor

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from palimpsest.restoration.context import Context

WIDTH = 32
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


class Integrator(nn.Module):
    """Whom to believe, and how far."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.encoder = CorrelationEncoder(width)
        self.processor = GraphProcessor(width)
        self.aligner = Aligner(width)
        self.confidence = Confidence(width)
        self.register_buffer("conformal", torch.full((BAND_GROUPS, KINDS), 2.0))
        self.register_buffer("conformal_plain", torch.full((BAND_GROUPS, KINDS), 2.0))

    def forward(self, context: Context, *, edges: bool = True, left_out: Collection[str] = ()) -> Judgement:
        """The judgement of a context; parts may be left out by name (see :data:`PARTS`) to see what they are worth."""
        latent = self.encoder(torch.from_numpy(context.group), torch.from_numpy(context.group_scene))
        embedding = self.processor(context, latent, edges=edges)
        if "graph_processor" in left_out:
            embedding = Embedding(torch.zeros_like(embedding.cell), torch.zeros_like(embedding.candidate))
        speaks, log_error = torch.from_numpy(context.speaks), torch.from_numpy(context.error)
        if "aligner" in left_out:
            weights = equal_weights(speaks)
        else:
            weights = self.aligner(embedding.cell, embedding.candidate, log_error, speaks)
        if "confidence" in left_out:
            expected = torch.full((len(speaks),), UNINFORMED_LOG_ERROR + 2.0)
        else:
            expected = self.confidence(embedding.cell, embedding.candidate, log_error, weights.detach())
        return Judgement(weights, expected)

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
    network = Integrator()
    try:
        network.load_state_dict(load_tensors(content))
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ModelMissing(
            "not the weights of this integrator", where=weights or "packaged weights", got=str(error)[:120]
        ) from error
    return network.eval()
