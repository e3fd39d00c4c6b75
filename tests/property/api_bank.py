"""The HTTP API behind the model's commands, on the running stack."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from domain.access import Scope
from domain.states import TransferStage
from domain.transfers import TransferType
from services.access import AccessService
from tests.property.bank_parts import DONE, Answer, Command, Leg, Wish
from tests.support.api import Json, new_key
from tests.support.approvals import APPROVER_SCOPES
from tests.support.waiting import until

CURRENCY: Final = "EUR"
FAR_AHEAD: Final = timedelta(days=300)
APPROVERS: Final = 2

STATUSES: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        (
            "same_account",
            "idempotency_key_reused",
            "insufficient_funds",
            "limit_exceeded",
            "account_frozen",
            "capture_exceeds_hold",
            "expiry_not_later",
            "reversal_exceeds_transfer",
        ),
        422,
    ),
    **dict.fromkeys(
        (
            "not_reversible",
            "already_failed",
            "already_posted",
            "not_held",
            "not_awaiting_approval",
            "already_approved",
            "account_not_empty",
            "overdraft_limit_in_use",
            "approval_rule_taken",
        ),
        409,
    ),
    "maker_cannot_approve": 403,
}
"""What each refusal is answered with; that of a closed account depends on what was asked for."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer of the API in the model's words, and what HTTP says beside it."""

    answer: Answer
    status: int
    is_replay: bool
    body: Json


@dataclass(frozen=True, slots=True)
class ApiBank:
    """A new tenant's accounts behind the API, the settlement account last."""

    http: httpx.AsyncClient
    api_keys: Sequence[str]
    accounts: list[str]
    opened_at: datetime
    transfers: dict[str, str] = field(default_factory=dict)
    """Ids by the names of keys."""
    rules: dict[int, str] = field(default_factory=dict)
    prefix: str = field(default_factory=new_key)

    @classmethod
    async def open(
        cls, http: httpx.AsyncClient, access: AccessService, overdrafts: Sequence[int]
    ) -> "ApiBank":
        """Make a tenant with a maker, two approvers, and an account for each overdraft."""
        tenant = secrets.token_hex(8)
        api_keys = [
            (await access.create_key(tenant_name=tenant, name="test", scopes=frozenset(scopes)))[1]
            for scopes in (Scope, *(APPROVER_SCOPES,) * APPROVERS)
        ]
        bank = cls(http, api_keys, [], datetime.now(UTC))
        user = (await bank.call("POST", "/users", json={"name": "Ada"})).json()
        accounts = [
            await bank.call(
                "POST",
                "/accounts",
                json={"user_id": user["id"], "currency": CURRENCY, "overdraft_limit": overdraft},
            )
            for overdraft in overdrafts
        ]
        bank.accounts.extend(account.json()["id"] for account in accounts)
        others = {account["id"] for account in await bank.read_accounts()} - set(bank.accounts)
        bank.accounts.extend(others)
        return bank

    async def call(
        self, method: str, path: str, *, by: int = 0, **arguments: Any
    ) -> httpx.Response:
        """Send one request with one of the tenant's keys; ``path`` begins behind ``/v1``."""
        headers = {
            "Authorization": f"Bearer {self.api_keys[by]}",
            "Prefer": "wait=30",
            **arguments.pop("headers", {}),
        }
        return await self.http.request(method, f"/v1{path}", headers=headers, **arguments)

    async def take(self, command: Command) -> Heard:
        """Ask for what a command says, and hear what comes."""
        response = await self._ask(command)
        body: Json = response.json()
        is_replay = response.headers.get("idempotency-replayed") == "true"
        heard = Heard(_said(body), response.status_code, is_replay, body)
        if command.verb in {"send", "reverse"} and heard.answer.stage is not None:
            transfer_id = body.get("transfer", body)["id"]
            assert self.transfers.setdefault(command.key, transfer_id) == transfer_id
        return heard

    async def read(self, key: str) -> Json:
        """Read a transfer."""
        found: Json = (await self.call("GET", f"/transfers/{self.transfers[key]}")).json()
        return found

    async def settled(self, key: str) -> Json:
        """Wait until a transfer is final that nobody is waited for, and read it."""

        async def is_final() -> bool:
            return bool((await self.read(key))["state"] != "PROCESSING")

        await until(is_final)
        return await self.read(key)

    async def read_accounts(self) -> list[Json]:
        """Read all accounts of the tenant."""
        return await self.listed("/accounts")

    async def listed(self, path: str, **params: Any) -> list[Json]:
        """Read a list to its end."""
        found: list[Json] = []
        page: Json = {"next_cursor": None}
        while True:
            asked = {**params, "limit": 200, "cursor": page["next_cursor"]}
            given = {name: value for name, value in asked.items() if value is not None}
            page = (await self.call("GET", path, params=given)).json()
            found += page["data"]
            if page["next_cursor"] is None:
                return found

    async def _ask(self, command: Command) -> httpx.Response:
        match command.verb:
            case "send":
                assert command.wish is not None
                return await self._post("/transfers", command, self._body(command.wish))
            case "reverse":
                return await self._post(self._path(command, "reversals"), command, _parts(command))
            case "capture" | "cancel" | "approve" | "reject":
                return await self._post(self._path(command, command.verb), command, _parts(command))
            case "extend":
                body = {"expires_at": self._day(command.day)}
                return await self._post(self._path(command, "extend"), command, body)
            case "make_rule" | "retire_rule":
                return await self._rule(command)
            case _:
                return await self._change(command)

    async def _post(self, path: str, command: Command, body: Json) -> httpx.Response:
        headers = {"Idempotency-Key": f"{self.prefix}-{command.key}"}
        return await self.call("POST", path, by=command.by, json=body, headers=headers)

    async def _change(self, command: Command) -> httpx.Response:
        path = f"/accounts/{self.accounts[command.account]}"
        match command.verb:
            case "overdraw":
                return await self.call("PATCH", path, json={"overdraft_limit": command.amount})
            case "limit_transfer":
                body = {"per_transfer": command.amount}
                return await self.call("PUT", f"{path}/limits", json=body)
            case "limit_day":
                return await self.call("PUT", f"{path}/limits", json={"per_day": command.amount})
            case "unlimit":
                return await self.call("DELETE", f"{path}/limits")
            case verb:
                return await self.call("POST", f"{path}/{verb}")

    async def _rule(self, command: Command) -> httpx.Response:
        amount = command.amount or 0
        if command.verb == "make_rule":
            body = {"currency": CURRENCY, "threshold": amount, "approvers": command.by}
            response = await self.call("POST", "/approval-rules", json=body)
            if response.status_code == 201:
                self.rules[amount] = response.json()["id"]
            return response
        return await self.call("POST", f"/approval-rules/{self.rules[amount]}/retire")

    def _path(self, command: Command, what: str) -> str:
        return f"/transfers/{self.transfers[command.transfer]}/{what}"

    def _body(self, wish: Wish) -> Json:
        body: Json = {"type": wish.type, **self._leg(wish.legs[0])}
        if len(wish.legs) > 1:
            body = {"legs": [self._leg(leg) for leg in wish.legs]}
        if wish.type is TransferType.DEPOSIT:
            del body["source"]
        if wish.type is TransferType.WITHDRAWAL:
            del body["destination"]
        if wish.is_hold:
            body |= {"capture": "manual", "expires_at": self._day(wish.ends_on)}
        if wish.is_scheduled:
            body["execute_at"] = (self.opened_at + FAR_AHEAD).isoformat()
        return body

    def _leg(self, leg: Leg) -> Json:
        source, destination, amount = leg
        return {
            "source": self.accounts[source],
            "destination": self.accounts[destination],
            "amount": amount,
            "currency": CURRENCY,
        }

    def _day(self, day: int) -> str:
        return (self.opened_at + timedelta(days=day)).isoformat()


def shown(transfer: Json) -> Answer:
    """Say in the model's words what a transfer looks like."""
    failure = transfer["failure"]
    return Answer(
        stage=TransferStage(transfer["stage"]),
        failure=failure["code"] if failure else None,
        amount=transfer["amount"],
        moved=transfer["captured_amount"],
        reversed=transfer["reversed_amount"],
    )


def _said(body: Json) -> Answer:
    if "transfer" in body:
        assert body["code"] == body["transfer"]["failure"]["code"]
        return shown(body["transfer"])
    if "code" in body:
        return Answer(body["code"])
    return shown(body) if "stage" in body else DONE


def _parts(command: Command) -> Json:
    fields = {"amount": command.amount, "final": command.is_final}
    return {name: value for name, value in fields.items() if value is not None}
