"""What is brought back, by which source, and how sure it is.

Behind the doors are rooms, and each uses only rooms named before it: ``computing``; ``spectrum``, ``factors`` and
``library``, where sources of values live (a pixel's own bands, the scene's other pixels, knowledge); ``ledger``,
``defects``, ``denoising``; ``study``, ``integrator``, ``companions`` and ``judgement``, where it is decided whom to
believe. The integrator's five parts: ``integrator/graph_processor``, ``library/semantic_mapper``,
``library/rule_constrainer``, ``integrator/aligner``, ``integrator/confidence``.

Values live in :mod:`~palimpsest.restoration.result`, which imports no network. :func:`restore` and
:func:`restore_group` are the doors; they are looked up when first used, because behind them stands torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from palimpsest.restoration.result import Contribution, Decision, PointContribution, ProvenanceClass, Restoration

if TYPE_CHECKING:
    from palimpsest.restoration.group import restore_group
    from palimpsest.restoration.restorer import restore

__all__ = [
    "Contribution", "Decision", "PointContribution", "ProvenanceClass", "Restoration", "restore", "restore_group",
]


def __getattr__(name: str) -> object:
    if name == "restore":
        from palimpsest.restoration.restorer import restore

        return restore
    if name == "restore_group":
        from palimpsest.restoration.group import restore_group

        return restore_group
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
