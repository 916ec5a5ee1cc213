"""What the judge is trained for: the logarithm of each case's error, with charges for what nobody wants.

The loss is the logarithm of the mean squared error of each case, so that a decibel counts the same in every case, with
charges for being worse than plain interpolation, for being worse than the best single source, and for breaking rules of
the release that the truth keeps (:mod:`~palimpsest_pipelines.restoration_training.penalty`); the judge's own
expectation of its error learns by likelihood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from palimpsest.restoration.study.sources import LINEAR, PCHIP
from palimpsest_pipelines.restoration_training.batches import merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from palimpsest.restoration.integrator.network import Integrator
    from palimpsest_pipelines.restoration_training.examples import Example

CHARGE = 2.0  # for a case that comes out worse than a line or a cubic
RULES = 0.3  # for a case that breaks rules by e - 1 times what is felt
BROKEN = 0.001  # reflectance: what rules are broken by, beyond the truth, that is felt
_ALLOWED = 0.07  # natural logarithm of a mean squared error: 0.3 dB
_FLOOR = 1e-6  # a mean squared error below it (60 dB) is no better than this one
_TINY = 1e-9


def loss_of(network: Integrator, batch: Sequence[Example], *, edges: bool) -> Tensor:
    """What a batch costs, the mean over its examples.

    Args:
        network: the judge.
        batch: examples, thinned or whole.
        edges: whether the judge hears its neighbours.
    """
    import torch

    judgement = network(merged([example.context for example in batch]), edges=edges)
    sizes = [len(example.share) for example in batch]
    parts = zip(batch, judgement.weights.split(sizes), judgement.log_error.split(sizes), strict=True)
    return torch.stack([_of_one(example, weights, log_error) for example, weights, log_error in parts]).mean()


def _of_one(example: Example, weights: Tensor, log_error: Tensor) -> Tensor:
    import torch

    seen = torch.from_numpy(example.valid.any(1))
    errors = torch.from_numpy(example.errors)[seen]
    valid = torch.from_numpy(example.valid.astype(np.float32))[seen]
    share, number = torch.from_numpy(example.share)[seen], valid.sum(1)
    mixed = (errors * weights[seen][:, :, None]).sum(1)
    squared = (mixed**2 * valid).sum(1) / number  # (cell,)
    alone = ((errors**2) * valid[:, None]).sum(2) / number[:, None]  # (cell, source)
    spoken = torch.from_numpy(example.context.speaks)[seen].all(0)
    spoken[[LINEAR, PCHIP]] = True  # the measure, even where a blend speaks for them
    case = torch.log((squared * share).sum() + _FLOOR)
    whole = torch.log((alone * share[:, None]).sum(0) + _FLOOR)
    cell = torch.log(squared + _FLOOR)
    plain = torch.log(alone[:, [LINEAR, PCHIP]].min(1).values + _FLOOR)
    # What nobody wants: to be worse than a line, or by more than a third of a decibel than whoever was best.
    charge = CHARGE * torch.relu(case - whole[[LINEAR, PCHIP]].min())
    charge = charge + torch.relu(case - whole[spoken].min() - _ALLOWED)
    charge = charge + 0.3 * torch.relu(cell - plain).mean()
    charge = charge + RULES * torch.log1p(example.held.penalty(example.errors, weights) / BROKEN)
    scale = (log_error[seen] - 2.0) * float(np.log(10.0))
    likelihood = (scale + 0.5 * torch.exp(-2 * scale) * (squared + _TINY).detach()).mean()
    return case + 0.3 * cell.mean() + charge + 0.3 * likelihood
