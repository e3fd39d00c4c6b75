"""How much of the ledger a posting reads, behind the tenants' fence as the service does it."""

from dataclasses import replace

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from domain.ids import EntryId
from domain.transfers import Transfer
from persistence.connection_limits import DatabaseLimits
from persistence.database import Database, create_direct_pool
from persistence.direct import DirectStatements
from runtime.composition import make_services
from services.identifiers import new_uuid
from tests.support.postgres import PostgresServer
from tests.support.wallets import Wallets, make_wallets

EARLIER_POSTINGS = 150
FEW = 20
READ = """
SELECT seq_tup_read + idx_tup_fetch AS entries FROM pg_stat_xact_user_tables
WHERE relname = 'ledger_entries'
"""


async def reserve(wallets: Wallets, number: int) -> Transfer:
    """Reserve one of many small transfers."""
    request = replace(wallets, key=f"posting-{number}").request(1)
    prepared = await wallets.services.requests.prepare(wallets.tenant_id, request)
    return await wallets.services.transactions.reserve(prepared.order)


async def entries_read(connection: AsyncConnection[DictRow]) -> int:
    [row] = await (await connection.execute(READ)).fetchall()
    return int(row["entries"])


async def test_a_posting_reads_few_entries_of_accounts_that_have_many(
    postgres: PostgresServer,
) -> None:
    async with postgres.database() as url:
        database = Database.at(postgres.as_service(url))
        wallets = await make_wallets(make_services(database))
        for number in range(EARLIER_POSTINGS):
            earlier = await reserve(wallets, number)
            await wallets.services.transactions.post(wallets.tenant_id, earlier.id)
        last = await reserve(wallets, EARLIER_POSTINGS)
        async with (
            create_direct_pool(postgres.as_service(url), DatabaseLimits()) as pool,
            pool.connection() as connection,
            connection.transaction(),
        ):
            before = await entries_read(connection)
            assert await DirectStatements(connection).post(
                wallets.tenant_id,
                last.id,
                debit_id=EntryId(new_uuid()),
                credit_id=EntryId(new_uuid()),
            )
            assert await entries_read(connection) - before < FEW
        await database.close()
