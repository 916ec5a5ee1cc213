"""``palimpsest train leaves``: what leaves are made of, bent until measured leaves and needles come out as they are.

The parametric coefficients (:mod:`~palimpsest.radiative_transfer.leaf_absorption`) have every band at its published
place, but edges and wings of the right kind only: a canopy made of them misses a red edge by more than a tenth of its
height. Here the traits of forty-six spectra of plants (USGS splib06, public domain) and one deviation per constituent
and channel are fitted together, the deviations held small and smooth, water nearest to its table. A pile of leaves is
a leaf of more plates; its light and its gloss are a factor and an offset of each spectrum.

Source: plate model as in :mod:`~palimpsest.radiative_transfer.leaf`; the exponential integral after Abramowitz and
Stegun 1964, 5.1.53 and 5.1.56.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from palimpsest.radiative_transfer import leaf_absorption
from palimpsest.radiative_transfer.leaf import FIRST_SURFACE_CONE_DEG, surface_transmission
from palimpsest_pipelines.ontologies.library import read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from numpy.typing import NDArray

PLANTS = (
    "Aspen Aspen", "Aspen_Leaf", "Blackbrush", "Blue_Spruce", "Cheatgrass ANP92", "Dry_Long", "Engelmann", "Fir_Tree",
    "Grass_Golden", "Grass_dry", "Juniper", "Lawn_Grass GDS91 (Green)", "LeafySpurge", "Lodgepole-Pine LP-N", "Maple",
    "Oak Oak", "Pinon", "Rabbit", "Russian", "Sage_Brush", "Sagebrush Sage", "Saltbrush", "Tumbleweed", "Walnut",
    "Willow Willow",
)
FIRST_NM, LAST_NM = 400.0, 2450.0
STEPS = 1000
TRAIT_RATE, BEND_RATE = 0.03, 0.02
# Of each constituent: standard deviation of its deviation's logarithm, and of the bends of that along the channels.
ALLOWED = {
    "chlorophyll": (1.5, 0.25), "carotenoid": (0.6, 0.2), "anthocyanin": (0.2, 0.1), "brown": (1.0, 0.1),
    "water": (0.25, 0.1), "dry_matter": (1.0, 0.15),
}
# Where the traits begin: plates beyond the first, then contents in the units of the constituents.
USUAL = {"plates": 0.8, "chlorophyll": 35.0, "carotenoid": 8.0, "anthocyanin": 0.5, "brown": 0.1, "water": 0.012,
         "dry_matter": 0.007}
_MOST_PLATES = 9.0
_TRAIT_SPREAD, _GAIN_SPREAD = 1.2, 0.1
_LEAST = 1e-7
_SMALL = 1e-6
_NEAR_ONE = ((0, -0.57721566), (1, 0.99999193), (2, -0.24991055), (3, 0.05519968), (4, -0.00976004), (5, 0.00107857))
_OVER = (0.2677737343, 8.6347608925, 18.0590169730, 8.5733287401, 1.0)
_UNDER = (3.9584969228, 21.0996530827, 25.6329561486, 9.5733223454, 1.0)


def main(options: argparse.Namespace) -> int:
    """The verb ``train leaves``: fit, and write the table and what it left over."""
    from palimpsest.atomic import write_bytes
    from palimpsest.commands import note, print_result

    names, centres, _, spectra = read(options.libraries)
    order = np.argsort(centres, kind="stable")
    order = order[(centres[order] >= FIRST_NM) & (centres[order] <= LAST_NM)]
    chosen = [row for row, name in enumerate(names) if name.startswith(PLANTS)]
    nm, absorption, left = calibrated(centres[order], spectra[chosen][:, order].astype(np.float64), note)
    lines = [",".join(("nm", *leaf_absorption.CONSTITUENTS))]
    lines += [f"{place:.3f}," + ",".join(f"{value:.6g}" for value in row)
              for place, row in zip(nm, absorption.T, strict=True)]
    where = options.out / leaf_absorption.CALIBRATED
    write_bytes(where, ("\n".join(lines) + "\n").encode())
    card = {"records": [names[row] for row in chosen], "steps": STEPS, "root_mean_square_left": left}
    write_bytes(where.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
    print_result({"coefficients": str(where), "records": len(chosen), "left_over": left}, as_json=options.json)
    return 0


def calibrated(
    nm: NDArray[np.float64], measured: NDArray[np.float64], note: Callable[[str], None], steps: int = STEPS,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Wavelengths ``(point,)``, absorption ``(constituent, point)`` and the root mean square that the fit leaves.

    Args:
        nm: channels, ascending, ``(channel,)``; equal ones are told apart by a thousandth.
        measured: reflectance of plants, ``(plant, channel)``; NaN where it is not known.
        note: hears progress.
        steps: of gradient descent.
    """
    torch.set_num_threads(1)
    nm = np.maximum.accumulate(nm + 1e-3 * np.arange(nm.size) / nm.size)
    known = np.isfinite(measured) & (measured > 0.002) & (measured < 0.98)
    told, heard = torch.tensor(np.where(known, measured, 0.1)), torch.tensor(known.astype(np.float64))
    begun = np.log(np.maximum(np.stack(leaf_absorption.parametric(nm)), _LEAST))
    surface = _Surface.at(nm)
    number = len(measured)
    traits = {name: torch.full((number, 1), float(np.log(value)), dtype=torch.float64) for name, value in USUAL.items()}
    gain, gloss = torch.zeros((2, number, 1), dtype=torch.float64)
    bend = torch.zeros(begun.shape, dtype=torch.float64)
    free = [*traits.values(), gain, gloss]
    for value in (*free, bend):
        value.requires_grad_()
    optimiser = torch.optim.Adam([{"params": free, "lr": TRAIT_RATE}, {"params": [bend], "lr": BEND_RATE}])
    start = torch.tensor(begun)
    size, smooth = (torch.tensor([ALLOWED[name][k] for name in leaf_absorption.CONSTITUENTS])[:, None] for k in (0, 1))
    usual = {name: float(np.log(value)) for name, value in USUAL.items()}
    left = 0.0
    for step in range(steps):
        optimiser.zero_grad()
        contents = torch.stack([traits[name].exp() for name in leaf_absorption.CONSTITUENTS])  # (constituent, plant, 1)
        depth = (contents * (start + bend).exp()[:, None]).sum(0)
        plates = 1 + traits["plates"].exp().clamp(max=_MOST_PLATES)
        off = (gain.exp() * surface.leaf(depth, plates) + gloss - told) * heard
        loss = 10 * ((off / (told + 0.03)) ** 2 + 1e-4).sqrt().sum() / heard.sum()
        bends = bend[:, 2:] - 2 * bend[:, 1:-1] + bend[:, :-2]
        loss = loss + 0.3 * ((bend / size) ** 2).mean(1).sum() + 0.3 * ((bends / smooth) ** 2).mean(1).sum()
        held = [((traits[name] - usual[name]) / _TRAIT_SPREAD) ** 2 for name in USUAL]
        loss = loss + 0.02 * torch.stack(held).mean((1, 2)).sum() + 0.05 * ((gain / _GAIN_SPREAD) ** 2).mean()
        loss = loss + 0.05 * ((gloss / 0.02) ** 2).mean()
        loss.backward()
        optimiser.step()
        left = float(((off.detach() ** 2).sum() / heard.sum()).sqrt())
        if step % 250 == 249:
            note(f"step {step + 1}: loss {float(loss.detach()):.4f}, left over {left:.4f}")
    return nm, (start + bend).detach().exp().numpy(), round(left, 5)


class _Surface:
    """The plate model for fixed surfaces, differentiable in what the plates absorb."""

    def __init__(self, first: Tensor, entering: Tensor, leaving: Tensor) -> None:
        self.first, self.entering, self.leaving = first, entering, leaving

    @classmethod
    def at(cls, nm: NDArray[np.float64]) -> _Surface:
        """The surfaces of leaf matter at some wavelengths, ``(wavelength,)``."""
        index = leaf_absorption.leaf_index(nm)
        entering = surface_transmission(index, 90.0)
        return cls(
            torch.tensor(surface_transmission(index, FIRST_SURFACE_CONE_DEG)), torch.tensor(entering),
            torch.tensor(entering / index**2),
        )

    def leaf(self, depth: Tensor, plates: Tensor) -> Tensor:
        """Reflectance of leaves, ``(plant, wavelength)``, from their optical depth and number of plates."""
        each = (depth / plates).clamp(min=_SMALL)
        inner = (1 - each) * torch.exp(-each) + each**2 * _exponential_integral(each)
        first_r, first_t = self._plate(inner, self.first)
        r, t = (value.clamp(_SMALL, 1 - _SMALL) for value in self._plate(inner, self.entering))
        root = ((1 + r + t) * (1 + r - t) * (1 - r + t) * (1 - r - t)).clamp(min=1e-12).sqrt()
        a, b = (1 + r**2 - t**2 + root) / (2 * r), (1 - r**2 + t**2 + root) / (2 * t)
        power = b ** (2 * (plates - 1))
        rest = a * (power - 1) / (a**2 * power - 1)
        return first_r + first_t * rest * t / (1 - rest * r)

    def _plate(self, inner: Tensor, entering: Tensor) -> tuple[Tensor, Tensor]:
        back = 1 - self.leaving
        through = entering * self.leaving * inner / (1 - (back * inner) ** 2)
        return 1 - entering + back * inner * through, through


def _exponential_integral(x: Tensor) -> Tensor:
    near, far = x.clamp(max=1.0), x.clamp(min=1.0)
    small = sum((value * near**power for power, value in _NEAR_ONE), -torch.log(near))
    over, under = (sum(value * far**power for power, value in enumerate(part)) for part in (_OVER, _UNDER))
    return torch.where(x <= 1, small, torch.exp(-far) / far * over / under)
