"""Orders as workflows carry them, and back."""

from datetime import timedelta

from activities.contracts import (
    ActorInput,
    LegInput,
    OperationInput,
    TermsInput,
    TransferInput,
    TransferKey,
)
from domain.audit import Actor
from domain.ids import AccountId, ApiKeyId, TenantId, TransferId
from domain.money import Money
from domain.operations import OperationOrder
from domain.transfers import PLAIN_TERMS, Leg, TransferOrder, TransferTerms


def input_of(order: TransferOrder) -> TransferInput:
    """Write an order as its workflow carries it."""
    return TransferInput(
        transfer_id=order.id,
        tenant_id=order.tenant_id,
        idempotency_key=order.idempotency_key,
        fingerprint=order.fingerprint.hex(),
        type=order.type,
        source_account_id=order.source_account_id,
        destination_account_id=order.destination_account_id,
        amount_minor=str(order.money.amount_minor),
        currency=order.money.currency,
        description=order.description,
        metadata=dict(order.metadata) or None,
        effective_at=order.effective_at,
        requested_by=order.requested_by,
        terms=None if order.terms == PLAIN_TERMS else _terms_input(order.terms),
        actor=_actor_input(order.actor),
    )


def _terms_input(terms: TransferTerms) -> TermsInput:
    return TermsInput(
        capture=terms.capture,
        expires_at=terms.expires_at,
        hold_seconds=None if terms.hold_for is None else terms.hold_for.total_seconds(),
        execute_at=terms.execute_at,
        legs=[
            LegInput(
                source_account_id=leg.source_account_id,
                destination_account_id=leg.destination_account_id,
                amount_minor=str(leg.money.amount_minor),
                currency=leg.money.currency,
            )
            for leg in terms.legs
        ],
        reversal_of=terms.reversal_of,
    )


def order_of(order: TransferInput) -> TransferOrder:
    """Read the order that a workflow carries."""
    return TransferOrder(
        id=TransferId(order.transfer_id),
        tenant_id=TenantId(order.tenant_id),
        idempotency_key=order.idempotency_key,
        fingerprint=bytes.fromhex(order.fingerprint),
        type=order.type,
        source_account_id=AccountId(order.source_account_id),
        destination_account_id=AccountId(order.destination_account_id),
        money=Money(int(order.amount_minor), order.currency),
        description=order.description,
        metadata=order.metadata or {},
        effective_at=order.effective_at,
        requested_by=None if order.requested_by is None else ApiKeyId(order.requested_by),
        terms=PLAIN_TERMS if order.terms is None else _terms(order.terms),
        actor=_actor(order.actor),
    )


def _terms(terms: TermsInput) -> TransferTerms:
    return TransferTerms(
        capture=terms.capture,
        expires_at=terms.expires_at,
        hold_for=None if terms.hold_seconds is None else timedelta(seconds=terms.hold_seconds),
        execute_at=terms.execute_at,
        legs=tuple(
            Leg(
                AccountId(leg.source_account_id),
                AccountId(leg.destination_account_id),
                Money(int(leg.amount_minor), leg.currency),
            )
            for leg in terms.legs
        ),
        reversal_of=None if terms.reversal_of is None else TransferId(terms.reversal_of),
    )


def operation_input_of(order: OperationOrder) -> OperationInput:
    """Write an operation as an update carries it."""
    seen = order.seen_fingerprint
    return OperationInput(
        transfer=TransferKey(order.tenant_id, order.transfer_id),
        idempotency_key=order.idempotency_key,
        fingerprint=order.fingerprint.hex(),
        operation=order.operation,
        requested_by=order.requested_by,
        amount_minor=None if order.amount_minor is None else str(order.amount_minor),
        is_final=order.is_final,
        expires_at=order.expires_at,
        note=order.note,
        seen_fingerprint=None if seen is None else seen.hex(),
        actor=_actor_input(order.actor),
    )


def operation_of(operation: OperationInput) -> OperationOrder:
    """Read an operation that an update carries."""
    seen = operation.seen_fingerprint
    return OperationOrder(
        tenant_id=TenantId(operation.transfer.tenant_id),
        transfer_id=TransferId(operation.transfer.transfer_id),
        idempotency_key=operation.idempotency_key,
        fingerprint=bytes.fromhex(operation.fingerprint),
        operation=operation.operation,
        requested_by=ApiKeyId(operation.requested_by),
        amount_minor=None if operation.amount_minor is None else int(operation.amount_minor),
        is_final=operation.is_final,
        expires_at=operation.expires_at,
        note=operation.note,
        seen_fingerprint=None if seen is None else bytes.fromhex(seen),
        actor=_actor(operation.actor),
    )


def _actor_input(actor: Actor | None) -> ActorInput | None:
    if actor is None:
        return None
    return ActorInput(actor.kind, actor.id, actor.name, actor.source_address, actor.request_id)


def _actor(actor: ActorInput | None) -> Actor | None:
    if actor is None:
        return None
    return Actor(actor.kind, actor.id, actor.name, actor.source_address, actor.request_id)
