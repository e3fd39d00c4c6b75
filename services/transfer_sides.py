"""Between which accounts a requested transfer is to move money."""

from collections.abc import Mapping, Sequence
from typing import Final

from domain.accounts import AccountKind, AccountReference
from domain.errors import (
    AccountNotFound,
    CurrencyMismatch,
    DomainError,
    FieldProblem,
    SameAccount,
    ValidationFailed,
)
from domain.ids import TenantId
from domain.transfers import Leg, TransferRequest, TransferType
from persistence.accounts import AccountIdentity
from persistence.direct import DirectStatements, FoundSides

_SIDES: Final = {
    TransferType.INTERNAL: frozenset({"source", "destination"}),
    TransferType.DEPOSIT: frozenset({"destination"}),
    TransferType.WITHDRAWAL: frozenset({"source"}),
}


def require_sides(request: TransferRequest) -> None:
    """Hold the named sides against the transfer's type.

    Raises
    ------
    ValidationFailed
        A side is missing or must not be named, or clients cannot ask for the type.
    """
    if not request.legs:
        require_named_sides(request.type, request.source, request.destination)


def require_named_sides(
    type_: TransferType, source: object | None, destination: object | None
) -> None:
    """Hold what is named as sides, in whatever form, against a transfer's type.

    Raises
    ------
    ValidationFailed
        As ``require_sides``.
    """
    given = {"source": source, "destination": destination}
    wanted = _SIDES.get(type_)
    if wanted is None:
        raise ValidationFailed(
            [FieldProblem("type", "unsupported", "must be INTERNAL, DEPOSIT or WITHDRAWAL")]
        )
    problems = [
        FieldProblem(field, "missing", f"is required for a transfer of type {type_}")
        for field in given
        if field in wanted and given[field] is None
    ] + [
        FieldProblem(
            field,
            "not_allowed",
            f"must be left out of a transfer of type {type_}: "
            "the other side is the tenant's settlement account",
        )
        for field in given
        if field not in wanted and given[field] is not None
    ]
    if problems:
        raise ValidationFailed(problems)


async def find_sides(
    statements: DirectStatements, tenant_id: TenantId, request: TransferRequest
) -> FoundSides:
    """Find the accounts that a request names, the settlement account where a side is not named."""
    named = [request.source, request.destination]
    if request.legs:
        named = [side for leg in request.legs for side in (leg.source, leg.destination)]
    return await statements.find_sides(
        tenant_id,
        [reference for reference in named if reference is not None],
        settlement_currency=None if all(named) else request.money.currency,
        key=request.idempotency_key,
    )


def identify_legs(request: TransferRequest, found: Sequence[AccountIdentity]) -> tuple[Leg, ...]:
    """Tell the accounts of each leg of a request among those that were found.

    Raises
    ------
    ValidationFailed, AccountNotFound, SameAccount, CurrencyMismatch
        As ``identify_sides``, of the first leg that is not right.
    """
    legs: list[Leg] = []
    for position, leg in enumerate(request.legs):
        named = {
            f"legs.{position}.source": leg.source,
            f"legs.{position}.destination": leg.destination,
        }
        source, destination = _identify(named, leg.money.currency, found)
        legs.append(Leg(source.id, destination.id, leg.money))
    return tuple(legs)


def identify_sides(
    request: TransferRequest, found: Sequence[AccountIdentity]
) -> tuple[AccountIdentity, AccountIdentity]:
    """Tell source and destination of a request among the accounts that were found.

    Raises
    ------
    ValidationFailed
        A named side is a settlement account.
    AccountNotFound
        The tenant has no such account.
    SameAccount
        Source and destination are one.
    CurrencyMismatch
        An account's currency is not the transfer's.
    """
    named = {"source": request.source, "destination": request.destination}
    return _identify(named, request.money.currency, found)


def _identify(
    named: Mapping[str, AccountReference | None], currency: str, found: Sequence[AccountIdentity]
) -> tuple[AccountIdentity, AccountIdentity]:
    sides = [_side(field, reference, found, currency) for field, reference in named.items()]
    source, destination = sides
    if source.id == destination.id:
        raise SameAccount
    for field, side in zip(named, sides, strict=True):
        if side.currency != currency:
            raise CurrencyMismatch(expected=currency, actual=side.currency, field=field)
    return source, destination


def _side(
    field: str,
    reference: AccountReference | None,
    found: Sequence[AccountIdentity],
    currency: str,
) -> AccountIdentity:
    """Pick the account of one side from those found."""
    if reference is None:
        for account in found:
            if account.kind is AccountKind.SYSTEM and account.currency == currency:
                return account
        raise _no_settlement(found, currency)
    for account in found:
        if account.answers_to(reference):
            if account.kind is AccountKind.SYSTEM:
                raise ValidationFailed(
                    [
                        FieldProblem(
                            field,
                            "settlement_account",
                            "must be a customer account; money enters by DEPOSIT "
                            "and leaves by WITHDRAWAL",
                        )
                    ]
                )
            return account
    raise AccountNotFound(reference.text, field=field)


def _no_settlement(found: Sequence[AccountIdentity], currency: str) -> DomainError:
    """Explain why there is no settlement account: no account of the tenant holds the currency."""
    customers = [account for account in found if account.kind is AccountKind.CUSTOMER]
    if customers:
        return CurrencyMismatch(expected=currency, actual=customers[0].currency, field="named")
    return AccountNotFound("named by the request")
