"""The chain proof of one transfer, also after somebody changed what was sealed."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from domain.chain_proofs import ChainProof, ProofResult
from domain.ids import TransferId
from persistence.database import Database
from runtime.composition import make_services
from services.evidence import EvidenceService
from tests.support.postgres import PostgresServer
from tests.support.sealed import SealedLedger
from tests.support.wallets import make_wallets

DONE_TO_IT = {
    "The entry was altered.": (
        "UPDATE ledger_entries SET balance_after_minor = 7 WHERE transfer_id = %(transfer)s"
    ),
    "The transfer was altered.": (
        "UPDATE transfers SET description = 'another' WHERE id = %(transfer)s"
    ),
    "Another entry was sealed at its place": (
        "UPDATE ledger_entries SET id = uuidv7() WHERE transfer_id = %(transfer)s"
    ),
    "The record of the account in seal 2 was altered.": (
        "UPDATE ledger_seal_segments SET records = overlay(records PLACING sha256('x') FROM 17)"
        " WHERE seal_number = 2"
    ),
    "its record is missing": "DELETE FROM ledger_seal_segments WHERE seal_number = 2",
    "or its record of the account, is missing": "DELETE FROM ledger_seals WHERE number = 2",
    "Seal 2 was altered": "UPDATE ledger_seals SET entries = entries + 1 WHERE number = 2",
    "Seal 2 does not hold": (
        "DELETE FROM ledger_seal_segments WHERE seal_number = 2 AND account_id = %(source)s"
    ),
    "Seal 2 was made over another": "UPDATE ledger_seals SET hash = sha256('x') WHERE number = 1",
    "Seal 2 counts other": "UPDATE ledger_seals SET position = position + 1 WHERE number = 1",
    "Seal 2 was replaced": ("UPDATE ledger_seals SET previous_hash = sha256('x') WHERE number = 3"),
}


@pytest.fixture
async def ledger(postgres: PostgresServer) -> AsyncIterator[SealedLedger]:
    """A transfer in each of three seals, and one in none."""
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        services = make_services(database)
        ledger = SealedLedger(services, await make_wallets(services), postgres.as_admin(url))
        for amount in (1, 2, 3):
            await ledger.move(amount)
            assert await ledger.seal() == 2
        await ledger.move(4)
        yield ledger
        await database.close()


async def proof_of(ledger: SealedLedger, sequence: int) -> ChainProof:
    """Make the proof of the transfer that has a sequence of the source."""
    entry = (await ledger.entries(ledger.wallets.source.id))[sequence - 1]
    return await proof_for(ledger, entry["transfer_id"])


async def proof_for(ledger: SealedLedger, transfer_id: UUID) -> ChainProof:
    evidence = EvidenceService(ledger.services.database)
    return (await evidence.gather(TransferId(transfer_id), tenant_id=None)).chain_proof


@pytest.mark.parametrize("sequence", [1, 2, 3])
async def test_what_is_sealed_is_proved_and_has_what_the_proof_needs(
    ledger: SealedLedger, sequence: int
) -> None:
    proof = await proof_of(ledger, sequence)
    assert {each.result for each in proof.entries} == {ProofResult.PROVED}
    assert proof.result is ProofResult.PROVED
    assert len(proof.segments) == 2
    (link,) = proof.seals
    assert link.seal.content.number == sequence
    assert {each.digest for each in proof.segments} == set(link.segment_digests)


async def test_what_is_not_sealed_yet_is_told_as_that(ledger: SealedLedger) -> None:
    proof = await proof_of(ledger, 4)
    assert [each.result for each in proof.entries] == [ProofResult.UNSEALED] * 2
    assert (proof.result, proof.segments, proof.seals) == (ProofResult.UNSEALED, [], [])


@pytest.mark.parametrize("finding", DONE_TO_IT)
async def test_what_was_changed_is_told_with_what_differs(
    ledger: SealedLedger, finding: str
) -> None:
    source = ledger.wallets.source.id
    transfer = (await ledger.entries(source))[1]["transfer_id"]
    await ledger.tamper(DONE_TO_IT[finding], transfer=transfer, source=source)
    proof = await proof_for(ledger, transfer)
    assert proof.result is ProofResult.DIFFERS
    assert finding in " ".join(each.finding or "" for each in proof.entries)
