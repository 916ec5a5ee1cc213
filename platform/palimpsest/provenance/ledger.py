"""The append-only log: every change of state is an event, and a signed head holds all of them in one hash.

An event is canonical JSON with its own sequence number, hashed as a leaf of a Merkle tree; each append also writes the
head of the tree so far, signed with Ed25519 where a key is at hand. What this can show: that nothing was altered,
re-ordered, taken out or put in below a head that somebody kept. What it cannot: that the newest events were not cut
off together with their heads. For that, keep a head (or its printed root) elsewhere and give it to ``verify``.

Tamper-evident, not tamper-proof.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import func, select, text

from palimpsest.catalogue.tables import AuditEvent, MerkleHead, now
from palimpsest.errors import EvidenceBroken, FormatError, UnknownTerm
from palimpsest.provenance import merkle
from palimpsest.provenance.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

# Any number will do as long as nothing else in the database takes the same advisory lock.
_POSTGRES_LOCK = 0x706C6D


@dataclass(frozen=True, slots=True)
class Head:
    """A tree head: what the log was, at one moment, in one hash.

    Args:
        size: number of events.
        root: Merkle root over them, hex.
        at: when it was made, ISO 8601.
        public_key: Ed25519 key, hex, or '' when unsigned.
        signature: over the canonical JSON of ``{at, root, size}``, hex, or ''.
    """

    size: int
    root: str
    at: str
    public_key: str = ""
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return canonical({"at": self.at, "root": self.root, "size": self.size})

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> Head:
        """A head kept in a file.

        Raises:
            FormatError: not a head.
        """
        try:
            entry = json.loads(path.read_text())
            return cls(**{name: entry[name] for name in ("size", "root", "at", "public_key", "signature")})
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError("not a tree head", where=path, got=str(error), wanted="JSON of /v1/audit/head") from error


def append(
    session: Session, kind: str, facts: dict[str, Any], *, actor: str = "", key: Ed25519PrivateKey | None = None
) -> Head:
    """One more event and the head over it, in the caller's write transaction.

    Args:
        session: of ``Database.writing()``.
        kind: what happened, as noun and verb: 'cube.added', 'job.succeeded', 'restoration.recorded'.
        facts: anything JSON can hold.
        actor: who did it.
        key: signs the head.
    """
    _one_at_a_time(session)
    last = session.scalars(select(MerkleHead).order_by(MerkleHead.size.desc()).limit(1)).first()
    size = 0 if last is None else last.size
    at = now().isoformat()
    body = canonical({"actor": actor, "at": at, "facts": facts, "kind": kind, "seq": size})
    leaf = merkle.leaf_hash(body)
    frontier = merkle.grow([] if last is None else [bytes.fromhex(node) for node in last.frontier], size, leaf)
    head = _sign(Head(size + 1, merkle.root_of_frontier(frontier).hex(), at), key)
    session.add(AuditEvent(seq=size, body=body.decode(), leaf=leaf.hex()))
    session.add(
        MerkleHead(
            size=head.size, root=head.root, at=head.at, public_key=head.public_key, signature=head.signature,
            frontier=[node.hex() for node in frontier],
        )
    )
    session.flush()
    return head


def latest_head(session: Session) -> Head | None:
    """The newest head, or None in an empty log."""
    last = session.scalars(select(MerkleHead).order_by(MerkleHead.size.desc()).limit(1)).first()
    return None if last is None else _head(last)


def event_proof(session: Session, seq: int, size: int | None = None) -> dict[str, object]:
    """An event with the hashes that lead from it to the root of the tree of ``size`` events (default: all).

    Raises:
        UnknownTerm: no such event.
    """
    leaves = _leaves(session)[:size]
    event = session.get(AuditEvent, seq)
    if event is None or seq >= len(leaves):
        raise UnknownTerm("no such event", where=f"audit event {seq}", wanted=f"0:{len(leaves)}")
    return {
        "seq": seq,
        "body": event.body,
        "leaf": event.leaf,
        "size": len(leaves),
        "root": merkle.tree_root(leaves).hex(),
        "inclusion": [node.hex() for node in merkle.inclusion_proof(leaves, seq)],
    }


def growth_proof(session: Session, old_size: int) -> dict[str, object]:
    """The hashes that show that today's log only added to the one of ``old_size`` events."""
    leaves = _leaves(session)
    return {
        "old_size": old_size,
        "size": len(leaves),
        "root": merkle.tree_root(leaves).hex(),
        "consistency": [node.hex() for node in merkle.consistency_proof(leaves, old_size)],
    }


def verify_log(session: Session, *, head: Head | None = None, public_key: str = "") -> dict[str, object]:
    """Read the whole log and hold every hash, number, root and signature in it.

    Args:
        session: to read with.
        head: a head kept elsewhere, which the log must grow from.
        public_key: the key (hex) that every head must be signed with.

    Returns:
        ``{events, heads, root, signed, anchored}``.

    Raises:
        EvidenceBroken: altered, re-ordered, truncated or forked; the message says where.
    """
    events = session.scalars(select(AuditEvent).order_by(AuditEvent.seq)).all()
    _check_bodies(events)
    roots = _roots([bytes.fromhex(event.leaf) for event in events])
    heads = [_head(row) for row in session.scalars(select(MerkleHead).order_by(MerkleHead.size))]
    if [one.size for one in heads] != list(range(1, len(events) + 1)):
        raise EvidenceBroken("events and heads do not match: the log was cut", got=f"{len(events)} events, "
                             f"heads up to {heads[-1].size if heads else 0}", wanted="one head an event")
    for row, one in zip(session.scalars(select(MerkleHead).order_by(MerkleHead.size)), heads, strict=True):
        _check_head(one, roots, public_key)
        _check_frontier(row)
        if one.at != json.loads(events[one.size - 1].body).get("at"):  # unsigned heads have no other guard
            raise EvidenceBroken("a head's time is not that of its event", where=f"head of {one.size} events")
    if head is not None:
        if head.size > len(events):
            raise EvidenceBroken("the log was cut below a head that was kept", got=len(events), wanted=head.size)
        _check_head(head, roots, public_key)
    return {
        "events": len(events),
        "heads": len(heads),
        "root": roots[-1].hex() if events else "",
        "signed": bool(heads) and all(one.signature for one in heads),
        "anchored": head is not None,
    }


def _check_bodies(events: Sequence[AuditEvent]) -> None:
    for number, event in enumerate(events):
        where = f"audit event {event.seq}"
        if event.seq != number:
            raise EvidenceBroken("an event is missing", where=f"audit event {number}", got=f"event {event.seq}")
        if merkle.leaf_hash(event.body.encode()).hex() != event.leaf:
            raise EvidenceBroken("an event was altered", where=where)
        try:
            entry = json.loads(event.body)
            told = entry["seq"]
        except (ValueError, KeyError, TypeError) as error:
            raise EvidenceBroken("an event that cannot be read", where=where, got=str(error)) from error
        if told != number:
            raise EvidenceBroken("events were re-ordered", where=where, got=told, wanted=number)


def _check_head(head: Head, roots: Sequence[bytes], public_key: str) -> None:
    where = f"head of {head.size} events"
    if head.size < 1 or roots[head.size - 1].hex() != head.root:
        raise EvidenceBroken("the log does not lead to this head: altered or forked", where=where, wanted=head.root)
    if public_key and head.public_key != public_key:
        raise EvidenceBroken("a head of another signer", where=where, got=head.public_key or "none", wanted=public_key)
    if head.public_key or head.signature:
        check_signature(head)


def _check_frontier(row: MerkleHead) -> None:
    try:
        root = merkle.root_of_frontier([bytes.fromhex(node) for node in row.frontier]).hex()
    except (TypeError, ValueError) as error:
        raise EvidenceBroken("a head's frontier cannot be read", where=f"head of {row.size} events") from error
    if root != row.root:
        raise EvidenceBroken("a head's frontier was altered", where=f"head of {row.size} events")


def check_signature(head: Head) -> None:
    """Hold that a head was signed by the key it names.

    Raises:
        EvidenceBroken: it was not.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head.public_key))
        key.verify(bytes.fromhex(head.signature), head.signed_bytes())
    except (InvalidSignature, ValueError) as error:
        raise EvidenceBroken("the signature does not hold", where=f"head of {head.size} events") from error


def _roots(leaves: Sequence[bytes]) -> list[bytes]:
    roots: list[bytes] = []
    frontier: list[bytes] = []
    for size, leaf in enumerate(leaves):
        frontier = merkle.grow(frontier, size, leaf)
        roots.append(merkle.root_of_frontier(frontier))
    return roots


def _leaves(session: Session) -> list[bytes]:
    return [bytes.fromhex(leaf) for leaf in session.scalars(select(AuditEvent.leaf).order_by(AuditEvent.seq))]


def _head(row: MerkleHead) -> Head:
    return Head(row.size, row.root, row.at, row.public_key, row.signature)


def _sign(head: Head, key: Ed25519PrivateKey | None) -> Head:
    if key is None:
        return head
    public = key.public_key().public_bytes_raw().hex()
    return Head(head.size, head.root, head.at, public, key.sign(head.signed_bytes()).hex())


def _one_at_a_time(session: Session) -> None:
    # SQLite's writers already stand in line (BEGIN IMMEDIATE); PostgreSQL's do not.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _POSTGRES_LOCK})


def count(session: Session) -> int:
    """Number of events."""
    return session.scalar(select(func.count()).select_from(AuditEvent)) or 0
