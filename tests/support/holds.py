"""Money that is held and not yet moved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.accounts import AccountReference
from domain.money import Money
from domain.transfers import Failure, TransferRequest, TransferType
from runtime.composition import Services
from tests.support.api import Client, Json, new_key


@asynccontextmanager
async def held(
    services: Services, tenant: Client, account: Json, amount: int
) -> AsyncIterator[None]:
    """Hold an account's money for a withdrawal that does not go on."""
    request = TransferRequest(
        idempotency_key=new_key(),
        type=TransferType.WITHDRAWAL,
        source=AccountReference.parse(account["id"]),
        destination=None,
        money=Money(amount, account["currency"]),
        description=None,
        metadata={},
        effective_at=None,
    )
    prepared = await services.requests.prepare(tenant.tenant_id, request)
    reserved = await services.transactions.reserve(prepared.order)
    try:
        yield
    finally:
        await services.transactions.compensate(
            tenant.tenant_id, reserved.id, Failure("cancelled", "the test is over")
        )
