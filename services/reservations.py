"""The long way of a reserve: limits, approvals, several legs, reversals, schedules, and refusals.

What needs none of them is one statement, ``DirectStatements.reserve``; both hold to the same rules.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from domain.accounts import Balance
from domain.audit import SYSTEM_ACTOR
from domain.errors import LedgerRuleViolated, ReversalExceedsTransfer, TransferRefusal
from domain.ids import AccountId, HoldId
from domain.rules import LimitUsage, demand_of
from domain.states import Step, TransferStage
from domain.transfers import Failure, Leg, Transfer, TransferOrder, accounts_of
from persistence.database import UnitOfWork
from persistence.transfers import Approval
from services.idempotency import IdempotencyService
from services.identifiers import new_uuid


@dataclass(frozen=True, slots=True)
class Claim:
    """What a reserve takes of accounts that are locked.

    Parameters
    ----------
    amounts_minor
        What is to be held of each account that sends more than it receives.
    usages
        Of those among them that have limits.
    """

    balances: Mapping[AccountId, Balance]
    amounts_minor: Mapping[AccountId, int]
    usages: Mapping[AccountId, LimitUsage]


class ReservationService:
    """Records orders and holds their funds inside a caller's unit of work."""

    def __init__(self, idempotency: IdempotencyService) -> None:
        self._idempotency = idempotency

    async def schedule(self, unit_of_work: UnitOfWork, order: TransferOrder) -> Transfer:
        """Record an order that is to be carried out later, or give what its key stands for.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.
        """
        earlier = await self._idempotency.claim(unit_of_work, order)
        if earlier is not None:
            return earlier
        return await unit_of_work.transfers.insert(order, Step.SCHEDULE, TransferStage.SCHEDULED)

    async def reserve(self, unit_of_work: UnitOfWork, order: TransferOrder) -> Transfer:
        """Record an order and hold its funds, or record why that is refused.

        Returns
        -------
        Transfer
            In stage RESERVED, AWAITING_APPROVAL or FAILED; on a repeat, as it has become since.

        Raises
        ------
        IdempotencyKeyReused
            The key was used for another request.

        Notes
        -----
        Locks the scheduled transfer, then the one to be reversed, then the balances of all accounts
        in the order of their ids, and claims the key last: ``DirectStatements.reserve`` too has its
        lock before its claim.
        """
        scheduled: Transfer | None = None
        if order.terms.execute_at is not None:
            scheduled = await self._lock_scheduled(unit_of_work, order)
            if scheduled is not None and scheduled.stage is not TransferStage.SCHEDULED:
                return scheduled
        claim = await self._claim_or_refusal(unit_of_work, order)
        if scheduled is None:
            earlier = await self._idempotency.claim(unit_of_work, order)
            if earlier is not None:
                return earlier
        if isinstance(claim, TransferRefusal):
            failure = Failure.of(claim)
            return await _record(
                unit_of_work, order, scheduled, TransferStage.FAILED, failure=failure
            )
        approval = await _approval_for(unit_of_work, order)
        stage = TransferStage.AWAITING_APPROVAL if approval else TransferStage.RESERVED
        transfer = await _record(unit_of_work, order, scheduled, stage, approval=approval)
        await _hold(unit_of_work, transfer, claim)
        if transfer.reversal_of is not None:
            await unit_of_work.audit.record(
                order.actor or SYSTEM_ACTOR,
                "transfer.reverse",
                tenant_id=order.tenant_id,
                subject_type="transfer",
                subject_id=transfer.reversal_of,
                reason=order.description,
                details={
                    "reversal": str(transfer.id),
                    "amount": order.money.amount_minor,
                    "currency": order.money.currency,
                },
            )
        return transfer

    async def _lock_scheduled(
        self, unit_of_work: UnitOfWork, order: TransferOrder
    ) -> Transfer | None:
        found = await self._idempotency.find(
            unit_of_work, order.tenant_id, order.idempotency_key, order.fingerprint
        )
        if found is None:
            return None
        return await unit_of_work.transfers.lock(found.tenant_id, found.id)

    async def _claim_or_refusal(
        self, unit_of_work: UnitOfWork, order: TransferOrder
    ) -> Claim | TransferRefusal:
        try:
            return await self._claim(unit_of_work, order)
        except TransferRefusal as refusal:
            return refusal

    async def _claim(self, unit_of_work: UnitOfWork, order: TransferOrder) -> Claim:
        """Lock what an order needs, and find out whether it may have it.

        Raises
        ------
        ReversalExceedsTransfer
            More would be reversed than has moved.
        AccountClosed, AccountFrozen
            An account takes no part, by the order of the legs, source first.
        InsufficientFunds
            An account has less available than it would send.
        LimitExceeded
            An account would send more than its limits allow.
        """
        await _require_reversible(unit_of_work, order)
        accounts = accounts_of(order.legs)
        balances = await unit_of_work.balances.lock(order.tenant_id, accounts)
        for account in accounts:
            balances[account].require_active()
        amounts_minor = net_outflows(order.legs)
        for account, amount_minor in amounts_minor.items():
            balances[account].require_available(amount_minor)
        # Money that goes back is not what limits are for.
        is_limited = order.terms.reversal_of is None
        usages = await unit_of_work.limits.usages(amounts_minor) if is_limited else {}
        for account, usage in usages.items():
            usage.require_within(amounts_minor[account])
        return Claim(balances, amounts_minor, usages)


def net_outflows(legs: Collection[Leg]) -> dict[AccountId, int]:
    """Tell how much more than it receives each account sends, in minor units."""
    flows: defaultdict[AccountId, int] = defaultdict(int)
    for leg in legs:
        flows[leg.source_account_id] += leg.money.amount_minor
        flows[leg.destination_account_id] -= leg.money.amount_minor
    return {account: flow for account, flow in flows.items() if flow > 0}


def sums_by_currency(legs: Collection[Leg]) -> dict[str, int]:
    """Sum what legs move, in minor units of each currency."""
    sums_minor: defaultdict[str, int] = defaultdict(int)
    for leg in legs:
        sums_minor[leg.money.currency] += leg.money.amount_minor
    return dict(sums_minor)


async def _require_reversible(unit_of_work: UnitOfWork, order: TransferOrder) -> None:
    """Refuse to reverse more than has moved; the transfer stays locked."""
    if order.terms.reversal_of is None:
        return
    original = await unit_of_work.transfers.lock(order.tenant_id, order.terms.reversal_of)
    if original is None:
        raise LedgerRuleViolated("transfers_reversal_of")
    if original.reversed_minor + order.money.amount_minor > original.moved_minor:
        raise ReversalExceedsTransfer(
            moved_minor=original.moved_minor,
            reversed_minor=original.reversed_minor,
            amount_minor=order.money.amount_minor,
        )


async def _approval_for(unit_of_work: UnitOfWork, order: TransferOrder) -> Approval | None:
    """Tell what an order has to wait for by the tenant's rules in force."""
    if order.terms.reversal_of is not None:
        return None
    sums_minor = sums_by_currency(order.legs)
    rules = await unit_of_work.approval_rules.highest(order.tenant_id, sums_minor)
    demand = demand_of(rules, sums_minor)
    if demand is None:
        return None
    return Approval(demand.approvers, await unit_of_work.now() + demand.deadline)


async def _record(
    unit_of_work: UnitOfWork,
    order: TransferOrder,
    scheduled: Transfer | None,
    stage: TransferStage,
    *,
    failure: Failure | None = None,
    approval: Approval | None = None,
) -> Transfer:
    """Write down what a reserve came to, of a new transfer or of one that was scheduled."""
    terms = order.terms
    if terms.hold_for is not None:
        terms = replace(terms, expires_at=await unit_of_work.now() + terms.hold_for)
    if approval is not None and terms.expires_at is not None:
        # Nobody is to approve a hold that has ended.
        approval = replace(approval, deadline_at=min(approval.deadline_at, terms.expires_at))
    if scheduled is None:
        return await unit_of_work.transfers.insert(
            replace(order, terms=terms), Step.RESERVE, stage, failure=failure, approval=approval
        )
    changes = {
        "expires_at": terms.expires_at,
        "approvals_required": approval.required if approval else None,
        "approval_deadline_at": approval.deadline_at if approval else None,
    }
    return await unit_of_work.transfers.advance(
        scheduled, Step.RESERVE, stage, failure=failure, changes=changes
    )


async def _hold(unit_of_work: UnitOfWork, transfer: Transfer, claim: Claim) -> None:
    """Hold what a transfer needs of accounts that are locked and have it."""
    if claim.amounts_minor:
        await unit_of_work.holds.open(
            transfer,
            {
                account: (HoldId(new_uuid()), amount_minor)
                for account, amount_minor in claim.amounts_minor.items()
            },
        )
        await unit_of_work.balances.set_amounts(
            [
                replace(balance, held_minor=balance.held_minor + claim.amounts_minor[account])
                for account, balance in claim.balances.items()
                if account in claim.amounts_minor
            ]
        )
    for account in claim.usages:
        await unit_of_work.limits.use(transfer.tenant_id, account, claim.amounts_minor[account])
    if transfer.reversal_of is not None:
        await unit_of_work.transfers.change_reversed(
            transfer.reversal_of, by_minor=transfer.money.amount_minor
        )
