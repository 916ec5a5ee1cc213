"""Merkle trees of RFC 9162 (sections 2.1.1 to 2.1.4): roots, inclusion and consistency proofs, and growing by leaves.

Pure functions on hashes; whoever holds a root and a proof needs nothing else of ours. The frontier (roots of the
perfect subtrees, largest first) lets a log grow in logarithmic time without reading its past.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from palimpsest.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grow(frontier: Sequence[bytes], size: int, leaf: bytes) -> list[bytes]:
    """The frontier of a tree of ``size + 1`` leaves, from that of ``size`` and one more leaf hash."""
    grown = [*frontier, leaf]
    while size & 1:  # each trailing one of the size is a perfect subtree as large as the last
        right, left = grown.pop(), grown.pop()
        grown.append(node_hash(left, right))
        size >>= 1
    return grown


def root_of_frontier(frontier: Sequence[bytes]) -> bytes:
    """Root of the tree that a frontier stands for."""
    if not frontier:
        return hashlib.sha256(b"").digest()
    root = frontier[-1]
    for subtree in reversed(frontier[:-1]):
        root = node_hash(subtree, root)
    return root


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes."""
    frontier: list[bytes] = []
    for size, leaf in enumerate(leaves):
        frontier = grow(frontier, size, leaf)
    return root_of_frontier(frontier)


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Hashes that lead from leaf ``index`` to the root.

    Raises:
        UsageError: no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise UsageError("no such leaf", got=index, wanted=f"0:{len(leaves)}")
    if len(leaves) == 1:
        return []
    cut = _split(len(leaves))
    if index < cut:
        return [*inclusion_proof(leaves[:cut], index), tree_root(leaves[cut:])]
    return [*inclusion_proof(leaves[cut:], index - cut), tree_root(leaves[:cut])]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Hashes that show that the tree over all leaves only added to the one over the first ``old_size``.

    Raises:
        UsageError: the older tree is empty or larger.
    """
    if not 0 < old_size <= len(leaves):
        raise UsageError("no such older tree", got=old_size, wanted=f"1:{len(leaves) + 1}")
    return _subproof(leaves, old_size, whole=True)


def holds_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof leads from the leaf to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(step, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, step)
        node, last = node >> 1, last >> 1
    return last == 0 and found == root


def holds_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the older tree is the beginning of the newer (RFC 9162, 2.1.4.2)."""
    if not 0 < old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == root
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_found = found = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_found, found = node_hash(step, old_found), node_hash(step, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, step)
        node, last = node >> 1, last >> 1
    return last == 0 and old_found == old_root and found == root


def _split(size: int) -> int:
    """Largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def _subproof(leaves: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if whole else [tree_root(leaves)]
    cut = _split(len(leaves))
    if old_size <= cut:
        return [*_subproof(leaves[:cut], old_size, whole=whole), tree_root(leaves[cut:])]
    return [*_subproof(leaves[cut:], old_size - cut, whole=False), tree_root(leaves[:cut])]
