"""Seals show what was done to the ledger, also by somebody whom the database refuses nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from persistence.database import Database
from persistence.seals import first_uuid_at
from runtime.composition import make_services
from services.seal_verification import KnownSeal
from tests.support.postgres import PostgresServer
from tests.support.sealed import SealedLedger
from tests.support.wallets import make_wallets

AMOUNTS = (1, 2, 3, 4, 5)
RENUMBER = """
UPDATE ledger_entries SET sequence = sequence + 1000000
WHERE account_id = %(account)s AND sequence >= %(sequence)s
"""


@pytest.fixture
async def ledger(postgres: PostgresServer) -> AsyncIterator[SealedLedger]:
    """Five transfers in a first seal, one in a second."""
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        services = make_services(database)
        ledger = SealedLedger(services, await make_wallets(services), postgres.as_admin(url))
        await ledger.move(*AMOUNTS)
        assert await ledger.seal() == 10
        await ledger.move(6)
        assert await ledger.seal() == 2
        yield ledger
        await database.close()


async def test_what_is_sealed_is_proved_and_what_is_not_is_counted(ledger: SealedLedger) -> None:
    await ledger.move(7)
    proof = await ledger.prove()
    assert proof.violations == ()
    assert (proof.seals, proof.sealed_entries, proof.unsealed_entries) == (2, 12, 2)
    assert proof.newest_seal == 2


async def test_nothing_new_makes_no_seal(ledger: SealedLedger) -> None:
    assert await ledger.seal() == 0
    assert (await ledger.prove()).seals == 2


# What is done to the source's entry 3 of 6.
FIELDS = {
    field: f"UPDATE ledger_entries SET {change} WHERE account_id = %(account)s AND sequence = 3"  # noqa: S608 - of this test
    for field, change in {
        "amount": "amount_minor = 300",
        "direction": "direction = 'CREDIT'",
        "currency": "currency = 'USD'",
        "balance": "balance_after_minor = 0",
        "time": "effective_at = effective_at - interval '1 microsecond'",
        "time of recording": "created_at = created_at - interval '1 day'",
        "tenant": "tenant_id = uuidv7()",
        "transfer": "transfer_id = (SELECT id FROM transfers ORDER BY id LIMIT 1)",
        "sequence": "sequence = 999",
        "account": "account_id = uuidv7()",
    }.items()
}


@pytest.mark.parametrize("field", FIELDS)
async def test_an_altered_field_of_an_entry_is_named(ledger: SealedLedger, field: str) -> None:
    account = ledger.wallets.source.id
    altered = (await ledger.entries(account))[2]
    await ledger.tamper(FIELDS[field], account=account)
    found = await ledger.first_found()
    assert found.startswith(f"entry {altered['id']}: sequence 3 of account {account}, in seal 1")
    assert "was altered" in found


async def test_later_balances_that_were_made_to_fit_do_not_hide_the_first(
    ledger: SealedLedger,
) -> None:
    account = ledger.wallets.source.id
    altered = (await ledger.entries(account))[1]
    await ledger.tamper(
        """
        UPDATE ledger_entries SET balance_after_minor = balance_after_minor + 1,
            amount_minor = amount_minor - (sequence = 2)::int
        WHERE account_id = %(account)s AND sequence >= 2
        """,
        "UPDATE balances SET posted_minor = posted_minor + 1 WHERE account_id = %(account)s",
        account=account,
    )
    found = await ledger.first_found()
    assert found.startswith(f"entry {altered['id']}: ")
    assert "was altered; 4 later entries of the account differ too" in found


@pytest.mark.parametrize("sequence", [1, 3, 6])
async def test_a_missing_entry_is_named_also_where_the_others_close_the_gap(
    ledger: SealedLedger, sequence: int
) -> None:
    account = ledger.wallets.source.id
    missing = (await ledger.entries(account))[sequence - 1]
    await ledger.tamper(
        "DELETE FROM ledger_entries WHERE account_id = %(account)s AND sequence = %(sequence)s",
        RENUMBER,
        """
        UPDATE ledger_entries
        SET sequence = sequence - 1000001, balance_after_minor = balance_after_minor + %(sequence)s
        WHERE account_id = %(account)s AND sequence > 1000000
        """,
        account=account,
        sequence=sequence,
    )
    found = await ledger.first_found()
    assert found.startswith(f"entry {missing['id']}: sequence {sequence} of account {account}")
    assert "is missing" in found


async def test_an_inserted_entry_is_named(ledger: SealedLedger) -> None:
    account = ledger.wallets.source.id
    await ledger.tamper(
        RENUMBER,
        """
        UPDATE ledger_entries SET sequence = sequence - 999999
        WHERE account_id = %(account)s AND sequence > 1000000
        """,
        """
        INSERT INTO ledger_entries (id, tenant_id, transfer_id, account_id, sequence, direction,
            amount_minor, currency, balance_after_minor, effective_at, created_at)
        SELECT uuidv7(), tenant_id, transfer_id, account_id, 3, direction, amount_minor, currency,
            balance_after_minor, effective_at, created_at
        FROM ledger_entries WHERE account_id = %(account)s AND sequence = 4
        """,
        account=account,
        sequence=3,
    )
    inserted = (await ledger.entries(account))[2]
    found = await ledger.first_found()
    assert found.startswith(f"entry {inserted['id']}: sequence 3 of account {account}, in seal 1")
    assert "was inserted where entry" in found


@pytest.mark.parametrize(
    "change", ["amount_minor = 7", "idempotency_key = 'another'", "metadata = '{\"a\": 1}'"]
)
async def test_an_altered_transfer_is_named(ledger: SealedLedger, change: str) -> None:
    (entry, *_) = await ledger.entries(ledger.wallets.source.id)
    await ledger.tamper(
        f"UPDATE transfers SET {change} WHERE id = %(transfer)s",  # noqa: S608 - of this test
        transfer=entry["transfer_id"],
    )
    found = await ledger.first_found()
    assert found.startswith(f"transfer {entry['transfer_id']}: was altered; entry ")


async def test_a_missing_transfer_is_named(ledger: SealedLedger) -> None:
    (entry, *_) = await ledger.entries(ledger.wallets.source.id)
    await ledger.tamper(
        "DELETE FROM transfers WHERE id = %(transfer)s", transfer=entry["transfer_id"]
    )
    assert (await ledger.first_found()).startswith(
        f"transfer {entry['transfer_id']}: is missing; entry "
    )


SEALS = {
    "a field": (
        "UPDATE ledger_seals SET sealed_at = now() WHERE number = 1",
        "seal 1: was altered",
    ),
    "a hash": (
        "UPDATE ledger_seals SET hash = sha256('') WHERE number = 1",
        "seal 1: was altered",
    ),
    "the first": ("DELETE FROM ledger_seals WHERE number = 1", "seal 1: is missing: seal 2"),
    "a segment": (
        "DELETE FROM ledger_seal_segments WHERE seal_number = 1 AND account_id = %(account)s",
        "seal 1: does not hold the segments",
    ),
    "the last": ("DELETE FROM ledger_seals WHERE number = 2", "seal 2: is missing, and its"),
    "a record": (
        (
            "UPDATE ledger_seal_segments SET records = overlay(records PLACING '\\x00'::bytea "
            "FROM 20) WHERE account_id = %(account)s AND seal_number = 1"
        ),
        "seal 1: its record of account",
    ),
    "a record with its digest": (
        (
            "UPDATE ledger_seal_segments SET records = changed, digest = "
            "sha256(uuid_send(account_id) || int8send(first_sequence) || int8send(last_sequence) "
            "|| changed) FROM (SELECT overlay(records PLACING '\\x00'::bytea FROM 20) AS changed, "
            "account_id AS a, seal_number AS n FROM ledger_seal_segments) AS new "
            "WHERE a = account_id AND n = seal_number AND account_id = %(account)s AND n = 1"
        ),
        "seal 1: does not hold the segments",
    ),
}


@pytest.mark.parametrize("what", SEALS)
async def test_a_seal_that_was_tampered_with_is_named(ledger: SealedLedger, what: str) -> None:
    statement, said = SEALS[what]
    await ledger.tamper(statement, account=ledger.wallets.source.id)
    assert (await ledger.first_found()).startswith(said)


async def test_a_seal_that_was_made_anew_in_the_middle_breaks_the_chain(
    ledger: SealedLedger,
) -> None:
    first = await ledger.services.seals.get(1)
    assert first is not None
    later = first.content.sealed_at + timedelta(seconds=1)
    anew = replace(first.content, sealed_at=later)
    await ledger.tamper(
        "UPDATE ledger_seals SET sealed_at = %(at)s, hash = %(hash)s WHERE number = 1",
        at=later,
        hash=anew.hash(),
    )
    assert (await ledger.first_found()).startswith("seal 1: was replaced: seal 2 was made over")


async def test_a_chain_that_was_written_anew_is_shown_by_an_earlier_checkpoint_alone(
    ledger: SealedLedger,
) -> None:
    known = await ledger.newest()
    await ledger.tamper(
        "DELETE FROM ledger_seal_segments",
        "DELETE FROM ledger_seals",
        FIELDS["time of recording"],
        account=ledger.wallets.source.id,
    )
    await ledger.seal()
    await ledger.move(9)
    await ledger.seal()
    assert (await ledger.prove()).violations == ()
    found = await ledger.first_found([known])
    assert found.startswith("seal 2: has another hash than a checkpoint knows")


async def test_an_end_of_the_chain_that_was_cut_off_is_shown_by_a_checkpoint_alone(
    ledger: SealedLedger,
) -> None:
    known = await ledger.newest()
    assert (await ledger.prove([known])).violations == ()
    await ledger.tamper(
        "DELETE FROM ledger_seal_segments WHERE seal_number = 2",
        "DELETE FROM ledger_seals WHERE number = 2",
        "DELETE FROM ledger_entries WHERE sequence = 6",
    )
    assert (await ledger.prove()).violations == ()
    assert (await ledger.first_found([known])).startswith("seal 2: is missing: the chain ends with")


async def test_sealing_waits_for_nobody_and_passes_over_no_entry_that_commits_later(
    ledger: SealedLedger,
) -> None:
    wallets = await make_wallets(ledger.services)
    other = SealedLedger(ledger.services, wallets, ledger.admin_url)
    async with await psycopg.AsyncConnection.connect(ledger.admin_url) as slow:
        # A posting that has its ids and times, and is not committed yet.
        await slow.execute(
            "SELECT FROM balances WHERE account_id = %s FOR UPDATE", [ledger.wallets.source.id]
        )
        await slow.execute(
            """
            INSERT INTO idempotency_keys (tenant_id, key, operation, fingerprint)
            SELECT tenant_id, 'slow', operation, fingerprint FROM idempotency_keys LIMIT 1
            """
        )
        await slow.execute(
            """
            WITH posted AS (
                INSERT INTO transfers
                SELECT (jsonb_populate_record(transfer, jsonb_build_object('id', uuidv7(),
                    'idempotency_key', 'slow', 'amount_minor', 1))).*
                FROM transfers AS transfer WHERE source_account_id = %(from)s LIMIT 1
                RETURNING id
            )
            INSERT INTO ledger_entries (id, tenant_id, transfer_id, account_id, sequence,
                direction, amount_minor, currency, balance_after_minor, effective_at)
            SELECT uuidv7(), tenant_id, (SELECT id FROM posted), account_id, sequence + 1,
                direction, 1, currency,
                balance_after_minor + CASE direction WHEN 'CREDIT' THEN 1 ELSE -1 END, now()
            FROM ledger_entries WHERE account_id IN (%(from)s, %(to)s) AND sequence = 6
            """,
            {"from": ledger.wallets.source.id, "to": ledger.wallets.destination.id},
        )
        await slow.execute("UPDATE balances SET last_sequence = 7 WHERE last_sequence = 6")
        await other.move(1)
        assert await ledger.seal() == 2
        await slow.commit()
    assert await ledger.seal() == 2
    proof = await ledger.prove()
    assert (proof.violations, proof.sealed_entries, proof.unsealed_entries) == ((), 16, 0)


async def test_many_at_once_make_one_chain(ledger: SealedLedger) -> None:
    async def work(amount_minor: int) -> None:
        await ledger.move(amount_minor)
        await ledger.seal()

    await asyncio.gather(*(work(amount_minor) for amount_minor in range(10, 20)))
    await ledger.seal()
    proof = await ledger.prove()
    assert (proof.violations, proof.sealed_entries, proof.unsealed_entries) == ((), 32, 0)


async def test_an_entry_whose_id_is_older_than_the_last_look_is_found_by_the_walk(
    ledger: SealedLedger,
) -> None:
    moved = await ledger.move(7)
    hour_ago = first_uuid_at(datetime.now(UTC) - timedelta(hours=1))
    await ledger.tamper(
        "UPDATE ledger_entries SET id = overlay(id::text PLACING left(%(old)s::text, 13) FROM 1)"
        "::uuid WHERE transfer_id = %(transfer)s",
        old=str(hour_ago),
        transfer=moved[0].id,
    )
    assert await ledger.seal() == 2
    assert (await ledger.prove()).unsealed_entries == 0


async def test_an_account_with_a_gap_is_left_unsealed_and_keeps_no_other_back(
    ledger: SealedLedger,
) -> None:
    await ledger.move(7, 8)
    account = ledger.wallets.source.id
    await ledger.tamper(
        "DELETE FROM ledger_entries WHERE account_id = %(account)s AND sequence = 7",
        account=account,
    )
    report = await ledger.services.seals.seal(seconds=30)
    assert (report.entries, report.unsealed) == (2, 2)
    proof = await ledger.prove()
    assert (proof.violations, proof.unsealed_entries) == ((), 1)


async def test_a_checkpoint_of_a_chain_that_grew_since_still_holds(ledger: SealedLedger) -> None:
    known = await ledger.newest()
    await ledger.move(7)
    await ledger.seal()
    assert (await ledger.prove([known, await ledger.newest()])).violations == ()
    assert (await ledger.prove([KnownSeal(1, bytes(32))])).violations != ()
