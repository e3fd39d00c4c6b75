"""The services behind the model's commands: what stands behind places, keys and days."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from domain.access import Scope
from domain.accounts import Account, AccountReference
from domain.errors import DomainError
from domain.ids import ApiKeyId, ApprovalRuleId, TenantId, TransferId
from domain.money import Money
from domain.operations import Operation, OperationOrder
from domain.rules import LimitChanges
from domain.transfers import (
    CaptureMode,
    Failure,
    LegRequest,
    ReversalRequest,
    Transfer,
    TransferOrder,
    TransferRequest,
    TransferType,
)
from persistence.accounts import AccountFilter
from persistence.tenancy import EVERY_TENANT
from persistence.transfers import TransferFilter
from persistence.verification import PROVED_IN_SQL, prove
from runtime.composition import Services
from services.idempotency import digest
from services.identifiers import new_uuid
from tests.property.bank_model import GIVEN_UP
from tests.property.bank_parts import DONE, Answer, Command, Leg, Wish

CURRENCY: Final = "EUR"
MOVES: Final = frozenset({"post", "finalise", "compensate", "expire", "expire_early"})
ON_ACCOUNTS: Final = frozenset(
    {"freeze", "unfreeze", "close", "overdraw", "limit_transfer", "limit_day", "unlimit"}
)
NOBODYS: Final = TransferId(new_uuid())
AFTER_ALL: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class ServiceBank:
    """The services with a new tenant's accounts, the settlement account last."""

    services: Services
    tenant_id: TenantId
    api_keys: Sequence[ApiKeyId]
    accounts: Sequence[Account]
    opened_at: datetime
    prepared: dict[tuple[str, int | None, int], TransferOrder] = field(default_factory=dict)
    """Reversals by key, the amount that was asked for, and the one that it comes to."""
    rules: dict[int, ApprovalRuleId] = field(default_factory=dict)

    @classmethod
    async def open(cls, services: Services, overdrafts: Sequence[int]) -> "ServiceBank":
        """Make a tenant with three keys and an account for each overdraft."""
        name = secrets.token_hex(8)
        keys = [
            (
                await services.access.create_key(
                    tenant_name=name, name="test", scopes=frozenset(Scope)
                )
            )[0]
            for _ in range(3)
        ]
        tenant_id = keys[0].tenant_id
        user = await services.accounts.create_user(
            tenant_id, name="Ada", external_id=None, metadata={}
        )
        for overdraft in overdrafts:
            await services.accounts.open_account(
                tenant_id,
                user_id=user.id,
                currency=CURRENCY,
                external_id=None,
                overdraft_limit_minor=overdraft,
                metadata={},
            )
        found = await _accounts(services, tenant_id)
        customers_first = sorted(found, key=lambda account: (account.kind, account.id))
        ids = [key.id for key in keys]
        return cls(services, tenant_id, ids, customers_first, user.created_at)

    async def take(self, command: Command) -> Answer:
        """Do what is asked for, and give the answer in the model's words."""
        try:
            if command.verb in ON_ACCOUNTS:
                await self._change(command)
                return DONE
            if command.verb in {"make_rule", "retire_rule"}:
                await self._rule(command)
                return DONE
            if command.verb == "ask":
                return _said(await self._ask(command))
            return await self._about(command, await self._find(command.transfer))
        except DomainError as error:
            return Answer(error.code)

    async def amounts(self) -> list[tuple[int, int]]:
        """Give what is posted and held on each account."""
        found = {account.id: account.balance for account in await self._read()}
        balances = [found[account.id] for account in self.accounts]
        return [(balance.posted_minor, balance.held_minor) for balance in balances]

    async def answers(self) -> dict[str, Answer]:
        """Give what became of each transfer, by its key."""
        page = await self.services.transactions.page(
            self.tenant_id, TransferFilter(), after=None, limit=200
        )
        return {transfer.idempotency_key: _said(transfer) for transfer in page.items}

    async def require_invariants(self) -> None:
        async with self.services.database.snapshot(EVERY_TENANT) as snapshot:
            for invariant in PROVED_IN_SQL:
                assert (await prove(snapshot, invariant)).violations == (), invariant

    async def _read(self) -> Sequence[Account]:
        return await _accounts(self.services, self.tenant_id)

    async def _find(self, key: str) -> Transfer | None:
        return await self.services.transactions.find_by_key(self.tenant_id, key)

    async def _ask(self, command: Command) -> Transfer:
        assert command.wish is not None
        request = self._request(command.key, command.wish)
        prepared = await self.services.requests.prepare(
            self.tenant_id, request, requested_by=self.api_keys[command.by]
        )
        return await self.services.transactions.reserve(prepared.order)

    async def _about(self, command: Command, transfer: Transfer | None) -> Answer:
        transfer_id = transfer.id if transfer else NOBODYS
        if command.verb in MOVES:
            return _said(await self._move(command.verb, transfer_id, transfer))
        if command.verb == "prepare_reversal":
            request = ReversalRequest(command.key, transfer_id, command.amount, None, {})
            order = (await self.services.requests.prepare_reversal(self.tenant_id, request)).order
            self.prepared[command.key, command.amount, order.money.amount_minor] = order
            return Answer(amount=order.money.amount_minor)
        if command.verb == "reversal":
            order = self.prepared[command.key, command.amount, command.taken or 0]
            return _said(await self.services.transactions.reserve(order))
        return _said(await self.services.operations.carry_out(self._order(command, transfer_id)))

    async def _move(
        self, verb: str, transfer_id: TransferId, transfer: Transfer | None
    ) -> Transfer:
        transactions, tenant_id = self.services.transactions, self.tenant_id
        if verb == "post":
            return await transactions.post(tenant_id, transfer_id)
        if verb == "finalise":
            return await transactions.finalise(tenant_id, transfer_id)
        if verb == "compensate":
            failure = Failure(GIVEN_UP, "The test gave it up.")
            return await transactions.compensate(tenant_id, transfer_id, failure)
        created_at = transfer.created_at if transfer else self.opened_at
        due_at = created_at + (AFTER_ALL if verb == "expire" else timedelta())
        return await transactions.expire(tenant_id, transfer_id, due_at)

    async def _change(self, command: Command) -> None:
        reference = AccountReference("", id=self.accounts[command.account].id)
        accounts, limits = self.services.accounts, self.services.limits
        if command.verb == "overdraw":
            await accounts.change_account(
                self.tenant_id, reference, overdraft_limit_minor=command.amount, metadata=None
            )
        elif command.verb == "unlimit":
            await limits.clear(self.tenant_id, reference)
        elif command.verb in {"limit_transfer", "limit_day"}:
            changes = LimitChanges(per_transfer_minor=command.amount)
            if command.verb == "limit_day":
                changes = LimitChanges(per_day_minor=command.amount)
            by = self.api_keys[command.by]
            await limits.change(self.tenant_id, reference, changes, changed_by=by)
        else:
            await getattr(accounts, command.verb)(self.tenant_id, reference)

    async def _rule(self, command: Command) -> None:
        amount, rules = command.amount or 0, self.services.approval_rules
        if command.verb == "make_rule":
            rule = await rules.create(
                self.tenant_id,
                currency=CURRENCY,
                threshold_minor=amount,
                approvers=command.by,
                deadline=timedelta(days=1),
                created_by=self.api_keys[0],
            )
            self.rules[amount] = rule.id
        elif amount in self.rules:
            await rules.retire(self.tenant_id, self.rules.pop(amount), retired_by=self.api_keys[0])

    def _request(self, key: str, wish: Wish) -> TransferRequest:
        legs = [self._leg(leg) for leg in wish.legs]
        is_deposit = wish.type is TransferType.DEPOSIT
        is_withdrawal = wish.type is TransferType.WITHDRAWAL
        return TransferRequest(
            idempotency_key=key,
            type=wish.type,
            source=None if is_deposit else legs[0].source,
            destination=None if is_withdrawal else legs[0].destination,
            money=legs[0].money,
            description=None,
            metadata={},
            effective_at=None,
            capture=CaptureMode.MANUAL if wish.is_hold else CaptureMode.AUTOMATIC,
            expires_at=self._day(wish.ends_on) if wish.is_hold else None,
            legs=tuple(legs) if len(legs) > 1 else (),
        )

    def _order(self, command: Command, transfer_id: TransferId) -> OperationOrder:
        asked = {"request": repr(command.request)}
        return OperationOrder(
            tenant_id=self.tenant_id,
            transfer_id=transfer_id,
            idempotency_key=command.key,
            fingerprint=digest(asked),
            operation=Operation(command.verb),
            requested_by=self.api_keys[command.by],
            amount_minor=command.amount,
            is_final=command.is_final,
            expires_at=self._day(command.day) if command.verb == "extend" else None,
        )

    def _leg(self, leg: Leg) -> LegRequest:
        source, destination, amount = leg
        return LegRequest(
            AccountReference("", id=self.accounts[source].id),
            AccountReference("", id=self.accounts[destination].id),
            Money(amount, CURRENCY),
        )

    def _day(self, day: int) -> datetime:
        return self.opened_at + timedelta(days=day)


async def _accounts(services: Services, tenant_id: TenantId) -> Sequence[Account]:
    page = await services.accounts.list_accounts(tenant_id, AccountFilter(), after=None, limit=10)
    return page.items


def _said(transfer: Transfer) -> Answer:
    return Answer(
        stage=transfer.stage,
        failure=transfer.failure.code if transfer.failure else None,
        amount=transfer.money.amount_minor,
        moved=transfer.moved_minor,
        reversed=transfer.reversed_minor,
    )
