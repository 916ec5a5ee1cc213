"""The log shows every alteration, and its trees are those of RFC 9162."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from palimpsest.catalogue import Database, upgrade
from palimpsest.catalogue.tables import AuditEvent, MerkleHead
from palimpsest.errors import EvidenceBroken, FormatError, UsageError
from palimpsest.provenance import ledger, merkle
from palimpsest.provenance.canonical import canonical
from palimpsest.provenance.keys import public_hex, signing_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

# The leaves and roots of the test of Certificate Transparency's reference implementation.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.fixture
def log(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    upgrade(url)
    database = Database(url)
    for number in range(7):
        with database.writing() as session:
            ledger.append(session, "cube.added", {"number": number}, actor="test", key=KEY)
    yield database
    database.close()


def test_roots_are_those_of_certificate_transparency():
    leaves = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES]
    for size, root in CT_ROOTS.items():
        assert merkle.tree_root(leaves[:size]).hex() == root
    assert merkle.tree_root([]) == hashlib.sha256(b"").digest()


@given(size=st.integers(1, 70), data=st.data())
@settings(max_examples=60, deadline=None)
def test_proofs_hold_and_any_other_hash_does_not(size, data):
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
    root = merkle.tree_root(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(leaves, index)
    assert merkle.holds_inclusion(leaves[index], index, size, proof, root)
    assert not merkle.holds_inclusion(merkle.leaf_hash(b"other"), index, size, proof, root)
    if size > 1:
        assert not merkle.holds_inclusion(leaves[index], (index + 1) % size, size, proof, root)
    old = data.draw(st.integers(1, size))
    old_root = merkle.tree_root(leaves[:old])
    growth = merkle.consistency_proof(leaves, old)
    assert merkle.holds_consistency(old, old_root, size, root, growth)
    assert not merkle.holds_consistency(old, bytes(32), size, root, growth)
    assert not merkle.holds_consistency(old, old_root, size, bytes(32), growth)


def test_questions_about_leaves_that_are_not_there_are_refused():
    with pytest.raises(UsageError):
        merkle.inclusion_proof([b"x"], 1)
    with pytest.raises(UsageError):
        merkle.consistency_proof([b"x"], 2)


def test_an_untouched_log_holds_and_says_what_it_is(log):
    with log.reading() as session:
        found = ledger.verify_log(session, public_key=public_hex(KEY))
        head = ledger.latest_head(session)
        proof = ledger.event_proof(session, 3)
        growth = ledger.growth_proof(session, 5)
    assert (found["events"], found["signed"]) == (7, True)
    assert found["root"] == head.root
    assert json.loads(proof["body"])["facts"] == {"number": 3}
    steps = [bytes.fromhex(node) for node in proof["inclusion"]]
    leaf = merkle.leaf_hash(proof["body"].encode())
    assert merkle.holds_inclusion(leaf, 3, 7, steps, bytes.fromhex(head.root))
    assert growth["size"] == 7


ALTERATIONS = {
    "an altered event": update(AuditEvent).where(AuditEvent.seq == 2).values(body='{"seq":2}'),
    "an altered leaf": update(AuditEvent).where(AuditEvent.seq == 2).values(leaf="00" * 32),
    "a missing event": delete(AuditEvent).where(AuditEvent.seq == 3),
    "a missing last event": delete(AuditEvent).where(AuditEvent.seq == 6),
    "a missing head": delete(MerkleHead).where(MerkleHead.size == 4),
    "an altered root": update(MerkleHead).where(MerkleHead.size == 4).values(root="00" * 32),
    "an altered time": update(MerkleHead).where(MerkleHead.size == 4).values(at="2020-01-01T00:00:00+00:00"),
    "an altered signature": update(MerkleHead).where(MerkleHead.size == 4).values(signature="00" * 64),
    "an altered frontier": update(MerkleHead).where(MerkleHead.size == 7).values(frontier=["00" * 32]),
    "a signature taken off": update(MerkleHead).where(MerkleHead.size == 4).values(signature="", public_key=""),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_every_alteration_is_seen(log, name):
    with log.writing() as session:
        session.execute(ALTERATIONS[name])
    with log.reading() as session, pytest.raises(EvidenceBroken):
        ledger.verify_log(session, public_key=public_hex(KEY))


def test_reordered_events_are_seen(log):
    with log.writing() as session:
        one, two = session.get(AuditEvent, 1), session.get(AuditEvent, 2)
        one.body, one.leaf, two.body, two.leaf = two.body, two.leaf, one.body, one.leaf
    with log.reading() as session, pytest.raises(EvidenceBroken, match="re-ordered"):
        ledger.verify_log(session)


def test_a_log_cut_with_its_heads_is_seen_by_whoever_kept_a_head(log):
    with log.reading() as session:
        kept = ledger.latest_head(session)
    with log.writing() as session:
        session.execute(delete(AuditEvent).where(AuditEvent.seq >= 5))
        session.execute(delete(MerkleHead).where(MerkleHead.size > 5))
    with log.reading() as session:
        assert ledger.verify_log(session)["events"] == 5  # by itself it looks whole
        with pytest.raises(EvidenceBroken, match="cut"):
            ledger.verify_log(session, head=kept)


def test_a_forked_log_is_seen_by_whoever_kept_a_head(log):
    with log.reading() as session:
        kept = ledger.latest_head(session)
    with log.writing() as session:
        session.execute(delete(AuditEvent).where(AuditEvent.seq >= 5))
        session.execute(delete(MerkleHead).where(MerkleHead.size > 5))
        for number in range(5, 9):
            ledger.append(session, "cube.added", {"number": number, "another": "story"}, key=KEY)
    with log.reading() as session:
        assert ledger.verify_log(session, public_key=public_hex(KEY))["events"] == 9
        with pytest.raises(EvidenceBroken, match="forked"):
            ledger.verify_log(session, head=kept)


def test_a_head_of_another_signer_is_refused(log):
    with log.reading() as session:
        with pytest.raises(EvidenceBroken, match="another signer"):
            ledger.verify_log(session, public_key="11" * 32)
        head = ledger.latest_head(session)
    with pytest.raises(EvidenceBroken, match="signature"):
        ledger.check_signature(replace(head, size=6))


def test_a_key_is_made_once_and_read_by_its_owner_only(tmp_path):
    path = tmp_path / "keys" / "ledger.pem"
    with pytest.raises(FormatError):
        signing_key(path)
    assert public_hex(signing_key(path, make=True)) == public_hex(signing_key(path, make=True))
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(b"not a key")
    with pytest.raises(FormatError):
        signing_key(path)


def test_canonical_json_is_that_of_rfc_8785():
    assert canonical({"b": 1.0, "a": [1e30, float("nan"), "\u20ac"]}) == '{"a":[1e+30,null,"€"],"b":1}'.encode()
    assert canonical(2**60) == b'"1152921504606846976"'
