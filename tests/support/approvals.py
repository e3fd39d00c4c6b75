"""Transfers that wait for approval, with those who make them and those who approve."""

from dataclasses import dataclass
from typing import Any, Self

from domain.access import Scope
from tests.support.api import Client, Json, new_key
from tests.support.tenants import TenantMaker
from tests.support.waiting import until

APPROVER_SCOPES = (Scope.TRANSFERS_READ, Scope.TRANSFERS_APPROVE)


@dataclass(frozen=True, slots=True)
class Desk:
    """A maker, approvers of the same tenant, and two accounts of which the first has 1,000."""

    maker: Client
    approvers: tuple[Client, ...]
    source: Json
    destination: Json

    @classmethod
    async def open(cls, maker: Client, make_tenant: TenantMaker, *, approvers: int = 2) -> Self:
        name = maker.record.tenant_name
        return cls(
            maker,
            tuple([await make_tenant(name, scopes=APPROVER_SCOPES) for _ in range(approvers)]),
            await maker.account(balance=1_000),
            await maker.account(),
        )

    async def ask(self, amount: int, *, key: str | None = None, **body: Any) -> Any:
        """Ask for money to be moved, and give the response."""
        return await self.maker.post_transfer(
            key=key or new_key(),
            source=self.source["id"],
            destination=self.destination["id"],
            currency="EUR",
            **{"amount": amount, **body},
        )

    async def waiting(self, amount: int = 600, **body: Any) -> Json:
        """Make a transfer that waits for its approval."""
        response = await self.ask(amount, **body)
        transfer: Json = response.json()
        assert (response.status_code, transfer["stage"]) == (202, "AWAITING_APPROVAL"), transfer
        return transfer

    async def balances(self) -> tuple[int, int, int]:
        """Give what the source has posted and held, and what the destination has posted."""
        return (
            *await self.maker.balance(self.source),
            (await self.maker.balance(self.destination))[0],
        )

    async def reached(self, transfer: Json, *stages: str) -> Json:
        """Wait until a transfer is in a stage, or in a final one where none is named."""

        async def is_there() -> bool:
            found = await self.maker.get(f"/transfers/{transfer['id']}")
            return bool(found["stage"] in stages if stages else found["state"] != "PROCESSING")

        await until(is_there)
        return await self.maker.get(f"/transfers/{transfer['id']}")

    async def steps(self, transfer: Json) -> list[tuple[str, str]]:
        """Give steps and stages of a transfer's log."""
        events = (await self.maker.get(f"/transfers/{transfer['id']}/events"))["data"]
        return [(event["step"], event["stage"]) for event in events]
