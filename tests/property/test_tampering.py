"""Whatever one field of whatever one entry is changed to, the proof names that very entry."""

import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence.database import Database
from runtime.composition import make_services
from tests.support.postgres import PostgresServer
from tests.support.sealed import SealedLedger
from tests.support.wallets import make_wallets

TRANSFERS = 6
ENTRIES = 2 * TRANSFERS
EXAMPLES = 60
amounts = st.integers(min_value=1, max_value=10**30)
balances = st.integers(min_value=-(10**37), max_value=10**37)
times = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
uuids = st.uuids().map(str)
CHANGES = {
    "id": uuids,
    "tenant_id": uuids,
    "transfer_id": uuids,
    "account_id": uuids,
    "sequence": st.integers(min_value=TRANSFERS + 1, max_value=2**62),
    "direction": st.sampled_from(["DEBIT", "CREDIT", "debit", ""]),
    "amount_minor": amounts,
    "currency": st.text(alphabet="ABCXYZ", min_size=0, max_size=4),
    "balance_after_minor": balances,
    "effective_at": times,
    "created_at": times,
}
changes = st.sampled_from(sorted(CHANGES)).flatmap(
    lambda field: st.tuples(st.just(field), CHANGES[field])
)


@pytest.fixture(scope="module")
async def sealed(postgres: PostgresServer) -> AsyncIterator[SealedLedger]:
    """Some transfers in three seals, of a database that takes any row."""
    async with postgres.database() as url:
        database = Database.at(url)
        services = make_services(database)
        ledger = SealedLedger(services, await make_wallets(services), postgres.as_admin(url))
        for number in range(TRANSFERS):
            await ledger.move(number + 1)
            if number % 2:
                await ledger.seal()
        await ledger.tamper(
            "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_direction_known",
            "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_amount_range",
        )
        yield ledger
        await database.close()


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(min_value=0, max_value=ENTRIES - 1), change=changes)
async def test_the_entry_is_named(
    sealed: SealedLedger, place: int, change: tuple[str, object]
) -> None:
    field, value = change
    accounts = (sealed.wallets.source.id, sealed.wallets.destination.id)
    entries = [entry for account in accounts for entry in await sealed.entries(account)]
    entry, saved = entries[place], f"saved_{secrets.token_hex(4)}"
    await sealed.tamper(
        f"CREATE TABLE {saved} AS SELECT * FROM ledger_entries WHERE id = %(id)s",  # noqa: S608
        f"UPDATE ledger_entries SET {field} = %(value)s WHERE id = %(id)s",  # noqa: S608
        id=entry["id"],
        value=value,
    )
    proof = await sealed.prove()
    is_changed = not any(
        entry[field] == after[field]
        for after in await _rows(sealed, str(value) if field == "id" else str(entry["id"]))
    )
    # Put it back for the next example.
    await sealed.tamper(
        "DELETE FROM ledger_entries WHERE id IN (%(id)s, %(new)s)",
        f"INSERT INTO ledger_entries SELECT * FROM {saved}",  # noqa: S608
        f"DROP TABLE {saved}",
        id=entry["id"],
        new=value if field == "id" else entry["id"],
    )
    if is_changed:
        assert [found.subject for found in proof.violations] == [f"entry {entry['id']}"]
    else:
        assert proof.violations == ()
    assert (await sealed.prove()).violations == ()


async def _rows(sealed: SealedLedger, entry_id: str) -> list[dict[str, object]]:
    async with await psycopg.AsyncConnection.connect(
        sealed.admin_url, row_factory=psycopg.rows.dict_row
    ) as connection:
        found = await connection.execute("SELECT * FROM ledger_entries WHERE id = %s", [entry_id])
        return await found.fetchall()
