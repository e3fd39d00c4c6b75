"""An account with so many entries that making them one by one would take too long."""

from typing import Final

import psycopg

# Deposits of n, and after each a withdrawal of 1, one a second up to now, with whole sequences on
# both sides. Each tenth waited for a lock: its time is older than those of the ones before. The
# constraints and triggers of the database judge them as any others.
_FILL: Final = """
WITH made AS MATERIALIZED (
    SELECT n, uuidv7() AS id, n % 2 = 1 AS is_deposit,
        CASE WHEN n % 2 = 1 THEN n ELSE 1 END AS amount,
        now() - (%(number)s - n + CASE WHEN n % 10 = 0 THEN 3.5 ELSE 0 END) * interval '1 second'
            AS at
    FROM generate_series(1, %(number)s) AS series (n)
), keyed AS (
    INSERT INTO idempotency_keys (tenant_id, key, operation, fingerprint)
    SELECT %(tenant)s, 'fill-' || id, 'transfer.create', sha256(id::text::bytea) FROM made
), recorded AS (
    INSERT INTO transfers (id, tenant_id, idempotency_key, fingerprint, type, state, stage,
        source_account_id, destination_account_id, amount_minor, currency, description,
        effective_at, created_at, completed_at)
    SELECT id, %(tenant)s, 'fill-' || id, sha256(id::text::bytea),
        CASE WHEN is_deposit THEN 'DEPOSIT' ELSE 'WITHDRAWAL' END, 'SUCCESS', 'COMPLETED',
        CASE WHEN is_deposit THEN %(system)s ELSE %(account)s END,
        CASE WHEN is_deposit THEN %(account)s ELSE %(system)s END,
        amount, 'EUR', 'Entry ' || n, at, at, at
    FROM made
), entered AS (
    INSERT INTO ledger_entries (id, tenant_id, transfer_id, account_id, sequence, direction,
        amount_minor, currency, balance_after_minor, effective_at, created_at)
    SELECT uuidv7(), %(tenant)s, id, side.account_id, n,
        CASE WHEN is_deposit = (side.sign = 1) THEN 'CREDIT' ELSE 'DEBIT' END, amount, 'EUR',
        side.sign * sum(CASE WHEN is_deposit THEN amount ELSE -amount END)
            OVER (PARTITION BY side.sign ORDER BY n),
        at, at
    FROM made, (VALUES (%(account)s, 1), (%(system)s, -1)) AS side (account_id, sign)
)
UPDATE balances SET last_sequence = %(number)s, posted_minor = side.sign * total.minor
FROM (VALUES (%(account)s, 1), (%(system)s, -1)) AS side (account_id, sign),
    (SELECT sum(CASE WHEN is_deposit THEN amount ELSE -amount END) AS minor FROM made) AS total
WHERE balances.account_id = side.account_id
"""


async def fill_account(
    database_url: str, *, tenant_id: object, account_id: object, system_id: object, number: int
) -> None:
    """Give an account and its tenant's settlement account, both without entries, so many."""
    values = {
        "tenant": str(tenant_id),
        "account": str(account_id),
        "system": str(system_id),
    }
    text = _FILL
    for name, value in values.items():
        text = text.replace(f"%({name})s", f"'{value}'::uuid")
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        # The check of each transfer finds its entries by their index.
        await connection.execute("SET LOCAL enable_seqscan = off")
        await connection.execute(text.replace("%(number)s", str(number)).encode())
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("ANALYZE transfers, ledger_entries")
