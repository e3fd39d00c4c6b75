"""A sealed ledger, and somebody with all rights of the database who changes it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import psycopg

from domain.transfers import Transfer
from persistence.seal_proof import SealProofReader
from runtime.composition import Services
from services.seal_verification import KnownSeal, SealProof, SealProver
from tests.support.wallets import Wallets

SEALING_SECONDS = 30.0
GUARDED = ("ledger_entries", "transfers", "balances", "ledger_seals", "ledger_seal_segments")


@dataclass(frozen=True, slots=True)
class SealedLedger:
    """Some transfers of a cent, two and so on, and their seals.

    Parameters
    ----------
    admin_url
        Of the server's superuser, for whom no trigger is in the way.
    """

    services: Services
    wallets: Wallets
    admin_url: str

    async def move(self, *amounts_minor: int) -> list[Transfer]:
        """Make transfers from the source to the destination."""
        return [await move(self.wallets, amount_minor) for amount_minor in amounts_minor]

    async def seal(self) -> int:
        """Seal all, and tell how many entries that were."""
        return (await self.services.seals.seal(seconds=SEALING_SECONDS)).entries

    async def prove(self, known: Sequence[KnownSeal] = ()) -> SealProof:
        async with self.services.database.snapshot() as snapshot:
            return await SealProver(SealProofReader(snapshot), known).prove()

    async def first_found(self, known: Sequence[KnownSeal] = ()) -> str:
        """Give the first violation that the proof names."""
        found = (await self.prove(known)).violations[0]
        return f"{found.subject}: {found.message}"

    async def newest(self) -> KnownSeal:
        seal = await self.services.seals.newest()
        assert seal is not None
        return KnownSeal(seal.content.number, seal.hash)

    async def entries(self, account_id: UUID) -> list[dict[str, Any]]:
        """Read an account's entries as they stand, in their order."""
        async with await psycopg.AsyncConnection.connect(
            self.admin_url, row_factory=psycopg.rows.dict_row
        ) as connection:
            found = await connection.execute(
                "SELECT * FROM ledger_entries WHERE account_id = %s ORDER BY sequence",
                [account_id],
            )
            return await found.fetchall()

    async def tamper(self, *statements: str, **values: Any) -> None:
        """Change what stands there with every trigger switched off, then switch them on again."""
        async with await psycopg.AsyncConnection.connect(self.admin_url) as connection:
            for table in GUARDED:
                await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
            for statement in statements:
                await connection.execute(statement.encode(), values)
            for table in GUARDED:
                await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL".encode())


async def move(wallets: Wallets, amount_minor: int, **changes: Any) -> Transfer:
    """Take all steps of a transfer without a workflow."""
    services = wallets.services
    key = f"{wallets.key}-{secrets.token_hex(8)}"
    asked = replace(wallets.changed(amount_minor, **changes), idempotency_key=key)
    prepared = await services.requests.prepare(wallets.tenant_id, asked)
    transfer = await services.transactions.reserve(prepared.order)
    await services.transactions.post(transfer.tenant_id, transfer.id)
    return await services.transactions.finalise(transfer.tenant_id, transfer.id)
