"""Two accounts of a new tenant, made through the services."""

import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from domain.access import Scope
from domain.accounts import Account, AccountReference, Balance
from domain.ids import ApiKeyId, TenantId
from domain.money import Money
from domain.operations import Operation, OperationOrder
from domain.transfers import Transfer, TransferRequest, TransferType
from runtime.composition import Services
from services.idempotency import digest

OVERDRAFT_LIMIT_MINOR = 1_000


def reference(account: Account) -> AccountReference:
    return AccountReference(str(account.id), id=account.id)


@dataclass(frozen=True, slots=True)
class Wallets:
    """A source with an overdraft of 1,000 and an empty destination."""

    services: Services
    tenant_id: TenantId
    source: Account
    destination: Account
    api_key_id: ApiKeyId
    key: str = field(default_factory=lambda: f"key-{secrets.token_hex(8)}")

    def request(self, amount_minor: int = 100) -> TransferRequest:
        """Ask for money to be moved from the source to the destination, always with one key."""
        return TransferRequest(
            idempotency_key=self.key,
            type=TransferType.INTERNAL,
            source=reference(self.source),
            destination=reference(self.destination),
            money=Money(amount_minor, "EUR"),
            description=None,
            metadata={},
            effective_at=None,
        )

    def changed(self, amount_minor: int = 100, **changes: Any) -> TransferRequest:
        """Ask for the same with other terms: a capture, times, legs."""
        return replace(self.request(amount_minor), **changes)

    def operation(self, operation: Operation, transfer: Transfer, **fields: Any) -> OperationOrder:
        """Ask for an operation on a transfer, with a new key unless one is given."""
        key = fields.pop("key", None) or f"key-{secrets.token_hex(8)}"
        asked = {"operation": operation, "transfer": str(transfer.id), "fields": repr(fields)}
        return OperationOrder(
            tenant_id=self.tenant_id,
            transfer_id=transfer.id,
            idempotency_key=key,
            fingerprint=digest(asked),
            operation=operation,
            **({"requested_by": self.api_key_id} | fields),
        )

    @property
    def workflow_id(self) -> str:
        return f"{self.tenant_id}:{self.key}"

    async def transfer(self) -> Transfer | None:
        """Read the recorded transfer."""
        return await self.services.transactions.find_by_key(self.tenant_id, self.key)

    async def balance(self, account: Account) -> Balance:
        return (
            await self.services.accounts.get_account(self.tenant_id, reference(account))
        ).balance

    async def amounts(self) -> tuple[int, int, int]:
        """Give the source's posted and held and the destination's posted amounts."""
        source, destination = (
            await self.balance(self.source),
            await self.balance(self.destination),
        )
        return source.posted_minor, source.held_minor, destination.posted_minor


async def make_wallets(services: Services) -> Wallets:
    key, _ = await services.access.create_key(
        tenant_name=f"tenant-{secrets.token_hex(6)}", name="test", scopes=frozenset(Scope)
    )
    user = await services.accounts.create_user(
        key.tenant_id, name="Ada", external_id=None, metadata={}
    )
    source, destination = [
        await services.accounts.open_account(
            key.tenant_id,
            user_id=user.id,
            currency="EUR",
            external_id=None,
            overdraft_limit_minor=limit_minor,
            metadata={},
        )
        for limit_minor in (OVERDRAFT_LIMIT_MINOR, 0)
    ]
    return Wallets(services, key.tenant_id, source, destination, key.id)
