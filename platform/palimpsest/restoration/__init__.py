"""What is brought back, by which source, and how sure it is.

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
