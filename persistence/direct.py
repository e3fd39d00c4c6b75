"""The statements that every transfer needs, sent straight through the driver.

Each is one round trip and one transaction: it does the whole of a step, or nothing. SQLAlchemy
would take several times as long over them; what is rare goes through it. Measured in
``docs/performance.md``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from domain.access import Grant, RateLimit, Scope
from domain.accounts import AccountReference
from domain.ids import ApiKeyId, EntryId, HoldId, TenantId, TransferId
from domain.transfers import CaptureMode, Transfer, TransferOrder
from persistence.accounts import AccountIdentity, identity_from
from persistence.api_keys import rate_from
from persistence.tenancy import TenantConnection, execute_bound
from persistence.transfers import asked_by, transfer_from

# Whose key it is, is not known yet: the functions look behind the tenants' fence, by hash alone.
_GRANT: Final = "SELECT id, tenant_id, name, scopes, requests_per_second, requests_burst"
_IS_GOOD: Final = "revoked_at IS NULL AND (expires_at > now() OR expires_at IS NULL)"
_FIND_GRANT: Final = f"{_GRANT}, secret_hash FROM api_key_of(%(secret_hash)s) WHERE {_IS_GOOD}"
_FIND_GRANT_IN_OVERLAP: Final = (
    f"{_GRANT}, previous_secret_hash AS secret_hash"
    f" FROM api_key_in_overlap_of(%(secret_hash)s) WHERE {_IS_GOOD}"
)

_FIND_SUBJECT: Final = """
SELECT tenant_id, id, is_revoked, requests_per_second, requests_burst
FROM api_subject_of(%(tenant_name)s, %(issuer)s, %(subject)s)
"""

_FIND_SIDES: Final = """
SELECT id, account_number, external_id, kind, currency,
    EXISTS (SELECT FROM idempotency_keys
     WHERE tenant_id = %(tenant_id)s AND key = %(key)s) AS is_key_taken
FROM accounts
WHERE tenant_id = %(tenant_id)s AND (
    id = ANY(%(ids)s::uuid[])
    OR account_number = ANY(%(numbers)s::text[])
    OR external_id = ANY(%(external_ids)s::text[])
    OR (kind = 'SYSTEM' AND currency = %(settlement_currency)s))
"""

# The source's row stays locked from the first part on, so the rest hangs on its one row. Accounts
# with limits and amounts above an approval rule's threshold take the long way. What a condition
# says of the source is held against the row's newest version, also after a wait for its lock.
_RESERVE: Final = """
WITH held AS (
    UPDATE balances AS source SET held_minor = source.held_minor + %(amount)s::numeric
    WHERE source.account_id = %(source_id)s AND source.tenant_id = %(tenant_id)s
        AND source.status = 'ACTIVE' AND NOT source.has_limits
        AND (source.overdraft_limit_minor IS NULL
            OR source.posted_minor - source.held_minor + source.overdraft_limit_minor
                >= %(amount)s::numeric)
        AND EXISTS (
            SELECT FROM balances AS destination
            WHERE destination.account_id = %(destination_id)s
                AND destination.tenant_id = %(tenant_id)s AND destination.status = 'ACTIVE')
        AND NOT EXISTS (
            SELECT FROM approval_rules AS rule
            WHERE rule.tenant_id = %(tenant_id)s AND rule.currency = %(currency)s
                AND rule.threshold_minor < %(amount)s::numeric AND rule.retired_at IS NULL)
    RETURNING source.account_id
), claimed AS (
    INSERT INTO idempotency_keys (tenant_id, key, operation, fingerprint)
    SELECT %(tenant_id)s, %(key)s, %(operation)s, %(fingerprint)s FROM held
), recorded AS (
    INSERT INTO transfers (id, tenant_id, idempotency_key, fingerprint, type, state, stage,
        source_account_id, destination_account_id, amount_minor, currency, description, metadata,
        effective_at, requested_by, captured_minor, expires_at)
    SELECT %(id)s, %(tenant_id)s, %(key)s, %(fingerprint)s, %(type)s, 'PROCESSING', 'RESERVED',
        %(source_id)s, %(destination_id)s, %(amount)s::numeric, %(currency)s, %(description)s,
        %(metadata)s, coalesce(%(effective_at)s, now()), %(requested_by)s,
        %(captured)s::numeric, coalesce(%(expires_at)s, now() + %(hold_for)s::interval)
    FROM held
    RETURNING *
), logged AS (
    INSERT INTO transfer_events (transfer_id, tenant_id, sequence, step, stage, details)
    SELECT %(id)s, %(tenant_id)s, step.* FROM held, (VALUES
        (1, 'accept', 'ACCEPTED', %(asked)s::jsonb), (2, 'reserve', 'RESERVED', NULL)
    ) AS step
), opened AS (
    INSERT INTO holds (id, tenant_id, transfer_id, account_id, currency, amount_minor, status)
    SELECT %(hold_id)s, %(tenant_id)s, %(id)s, held.account_id, %(currency)s,
        %(amount)s::numeric, 'HELD'
    FROM held
)
SELECT * FROM recorded
"""

# Locks the transfer, then both balances in the order of their ids, as every other step does.
_POST: Final = """
WITH transfer AS (
    SELECT * FROM transfers
    WHERE id = %(transfer_id)s AND tenant_id = %(tenant_id)s AND stage = 'RESERVED'
        AND captured_minor IS NULL AND leg_count IS NULL
    FOR NO KEY UPDATE
), locked AS (
    SELECT balance.account_id, balance.status FROM balances AS balance, transfer
    WHERE balance.account_id IN (transfer.source_account_id, transfer.destination_account_id)
    ORDER BY balance.account_id
    FOR NO KEY UPDATE OF balance
), side AS (
    SELECT account_id, entry_id, direction, moved_minor, consumed_minor
    FROM transfer, LATERAL (VALUES
        (source_account_id, %(debit_id)s::uuid, 'DEBIT', -amount_minor, amount_minor),
        (destination_account_id, %(credit_id)s::uuid, 'CREDIT', amount_minor, 0)
    ) AS side (account_id, entry_id, direction, moved_minor, consumed_minor)
    WHERE 2 = (SELECT count(*) FROM locked WHERE status = 'ACTIVE')
), moved AS (
    UPDATE balances AS balance SET
        posted_minor = balance.posted_minor + side.moved_minor,
        held_minor = balance.held_minor - side.consumed_minor,
        last_sequence = balance.last_sequence + 1
    FROM side WHERE balance.account_id = side.account_id
    RETURNING balance.account_id, balance.last_sequence, balance.posted_minor, side.entry_id,
        side.direction
), entered AS (
    INSERT INTO ledger_entries (id, tenant_id, transfer_id, account_id, sequence, direction,
        amount_minor, currency, balance_after_minor, effective_at)
    SELECT moved.entry_id, transfer.tenant_id, transfer.id, moved.account_id, moved.last_sequence,
        moved.direction, transfer.amount_minor, transfer.currency, moved.posted_minor,
        transfer.effective_at
    FROM moved, transfer
    RETURNING account_id
), captured AS (
    UPDATE holds SET status = 'CAPTURED', closed_at = now()
    WHERE transfer_id = %(transfer_id)s AND status = 'HELD'
        AND 2 = (SELECT count(*) FROM entered)
    RETURNING transfer_id
), advanced AS (
    UPDATE transfers SET stage = 'POSTED', updated_at = now()
    FROM captured WHERE transfers.id = captured.transfer_id
    RETURNING transfers.*
), logged AS (
    INSERT INTO transfer_events (transfer_id, tenant_id, step, stage, sequence)
    SELECT id, tenant_id, 'post', 'POSTED',
        1 + (SELECT max(sequence) FROM transfer_events WHERE transfer_id = %(transfer_id)s)
    FROM advanced
)
SELECT * FROM advanced
"""

_FINALISE: Final = """
WITH advanced AS (
    UPDATE transfers
    SET state = 'SUCCESS', stage = 'COMPLETED', updated_at = now(), completed_at = now()
    WHERE id = %(transfer_id)s AND tenant_id = %(tenant_id)s AND stage = 'POSTED'
        AND leg_count IS NULL
    RETURNING *
), logged AS (
    INSERT INTO transfer_events (transfer_id, tenant_id, step, stage, sequence)
    SELECT id, tenant_id, 'finalise', 'COMPLETED',
        1 + (SELECT max(sequence) FROM transfer_events WHERE transfer_id = %(transfer_id)s)
    FROM advanced
)
SELECT * FROM advanced
"""


@dataclass(frozen=True, slots=True)
class FoundSides:
    """The accounts that a request may mean, and whether its key was used before."""

    accounts: tuple[AccountIdentity, ...]
    is_key_taken: bool


@dataclass(frozen=True, slots=True)
class FoundSubject:
    """What is on record of a subject of an issuer.

    Parameters
    ----------
    api_key_id
        ``None`` where it was never seen before.
    """

    tenant_id: TenantId
    api_key_id: ApiKeyId | None
    is_revoked: bool
    rate: RateLimit | None


class DirectStatements:
    """Single statements on one connection that commits each by itself."""

    def __init__(self, connection: TenantConnection) -> None:
        self._connection = connection

    async def find_grant(self, secret_hash: bytes) -> Grant | None:
        """Tell whom the key with a hash belongs to; ``None`` where it is not good.

        Notes
        -----
        The present secret is looked for first, and alone where it is found: one statement for both
        would cost every request, and is needed by the few that come during a rotation.
        """
        row = await self._one_unbound(_FIND_GRANT, {"secret_hash": secret_hash})
        if row is None:
            row = await self._one_unbound(_FIND_GRANT_IN_OVERLAP, {"secret_hash": secret_hash})
        if row is None:
            return None
        return Grant(
            tenant_id=TenantId(row["tenant_id"]),
            api_key_id=ApiKeyId(row["id"]),
            name=row["name"],
            scopes=frozenset(Scope(scope) for scope in row["scopes"]),
            secret_hash=row["secret_hash"],
            rate=rate_from(row),
        )

    async def find_subject(
        self, tenant_name: str, issuer: str, subject: str
    ) -> FoundSubject | None:
        """Look up a subject of an issuer; ``None`` where there is no such tenant."""
        row = await self._one_unbound(
            _FIND_SUBJECT, {"tenant_name": tenant_name, "issuer": issuer, "subject": subject}
        )
        if row is None:
            return None
        return FoundSubject(
            tenant_id=TenantId(row["tenant_id"]),
            api_key_id=None if row["id"] is None else ApiKeyId(row["id"]),
            is_revoked=bool(row["is_revoked"]),
            rate=rate_from(row),
        )

    async def find_sides(
        self,
        tenant_id: TenantId,
        references: Collection[AccountReference],
        *,
        settlement_currency: str | None,
        key: str,
    ) -> FoundSides:
        """Find accounts by their names, and the settlement account of a currency with them.

        Notes
        -----
        Whether the key is taken comes with the accounts, so where no account is found, it is not
        looked up.
        """
        cursor = await execute_bound(
            self._connection,
            tenant_id,
            _FIND_SIDES,
            {
                "tenant_id": tenant_id,
                "ids": [r.id for r in references if r.id is not None],
                "numbers": [r.account_number for r in references if r.account_number is not None],
                "external_ids": [r.external_id for r in references if r.external_id is not None],
                "settlement_currency": settlement_currency,
                "key": key,
            },
        )
        rows = await cursor.fetchall()
        return FoundSides(
            accounts=tuple(identity_from(row) for row in rows),
            is_key_taken=bool(rows and rows[0]["is_key_taken"]),
        )

    async def reserve(
        self, order: TransferOrder, *, operation: str, hold_id: HoldId
    ) -> Transfer | None:
        """Claim an order's key, record the transfer and hold its funds.

        Returns
        -------
        Transfer | None
            In stage RESERVED, or ``None`` where nothing was done: the key is taken, an account is
            not active, less is available, the source has limits, or an approval is needed.

        Notes
        -----
        Locks the source's balance. The destination is read without a lock: a status that changes
        after this is found when the entries are posted.
        """
        asked = asked_by(order)
        try:
            row = await self._one(
                order.tenant_id,
                _RESERVE,
                {
                    "id": order.id,
                    "tenant_id": order.tenant_id,
                    "key": order.idempotency_key,
                    "operation": operation,
                    "fingerprint": order.fingerprint,
                    "type": order.type.value,
                    "source_id": order.source_account_id,
                    "destination_id": order.destination_account_id,
                    "amount": str(order.money.amount_minor),
                    "currency": order.money.currency,
                    "description": order.description,
                    "metadata": Jsonb(dict(order.metadata)),
                    "effective_at": order.effective_at,
                    "asked": asked and Jsonb(asked),
                    "hold_id": hold_id,
                    "requested_by": order.requested_by,
                    "captured": 0 if order.terms.capture is CaptureMode.MANUAL else None,
                    "expires_at": order.terms.expires_at,
                    "hold_for": order.terms.hold_for,
                },
            )
        except UniqueViolation:
            # The key's first claim, or this very step's first try, stands already.
            return None
        return None if row is None else transfer_from(row)

    async def post(
        self, tenant_id: TenantId, transfer_id: TransferId, *, debit_id: EntryId, credit_id: EntryId
    ) -> Transfer | None:
        """Move the money of a reserved transfer: two entries, two balances, the hold captured.

        Returns
        -------
        Transfer | None
            In stage POSTED, or ``None`` where nothing was done: the transfer is not reserved, or
            an account is not active.

        Notes
        -----
        Locks the transfer, then both balances in the order of their ids.
        """
        row = await self._one(
            tenant_id,
            _POST,
            {
                "tenant_id": tenant_id,
                "transfer_id": transfer_id,
                "debit_id": debit_id,
                "credit_id": credit_id,
            },
        )
        return None if row is None else transfer_from(row)

    async def finalise(self, tenant_id: TenantId, transfer_id: TransferId) -> Transfer | None:
        """Complete a posted transfer.

        Returns
        -------
        Transfer | None
            In stage COMPLETED, or ``None`` where the transfer is not posted.
        """
        row = await self._one(
            tenant_id, _FINALISE, {"tenant_id": tenant_id, "transfer_id": transfer_id}
        )
        return None if row is None else transfer_from(row)

    async def _one_unbound(self, statement: str, parameters: Mapping[str, Any]) -> DictRow | None:
        """Run a statement that sees nothing but what its function looks up."""
        cursor = await self._connection.execute(statement, parameters)
        return await cursor.fetchone()

    async def _one(
        self, tenant_id: TenantId, statement: str, parameters: Mapping[str, Any]
    ) -> DictRow | None:
        cursor = await execute_bound(self._connection, tenant_id, statement, parameters)
        return await cursor.fetchone()
