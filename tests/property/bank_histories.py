"""Histories of what is asked of a bank with three customers, and how to carry them out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from domain.limits import AMOUNT_MAXIMUM_MINOR
from domain.states import TransferStage
from domain.transfers import TransferType
from tests.property.bank_parts import MAKER, Answer, Command, Leg, Wish

Take: TypeAlias = Callable[[Command], Awaitable[Answer]]

CUSTOMERS: Final = range(3)
SETTLEMENT: Final = len(CUSTOMERS)
OVERDRAFT: Final = 100
OVERDRAFTS: Final = (OVERDRAFT,) * len(CUSTOMERS)
TRANSFERS: Final = tuple(f"transfer-{number}" for number in range(6))
APPROVERS: Final = (1, 2)

# Few different amounts, so that exactly what is available is often asked for.
PLACES = st.sampled_from(CUSTOMERS)
AMOUNTS = st.sampled_from((1, 30, 50, 50, OVERDRAFT, OVERDRAFT, AMOUNT_MAXIMUM_MINOR))
SMALL_AMOUNTS = st.sampled_from((1, 30, 50, OVERDRAFT))
PARTS = st.sampled_from((None, 1, 20, 30, 50, OVERDRAFT, OVERDRAFT + 1))
BOUNDS = st.sampled_from((0, 30, 50, OVERDRAFT))
DAYS = st.integers(1, 6)
DECIDERS = st.sampled_from((MAKER, *APPROVERS))


def _single(kind: TransferType, source: int, destination: int, amount: int) -> Wish:
    return Wish(kind, ((source, destination, amount),))


def _hold(source: int, destination: int, amount: int, day: int) -> Wish:
    legs = ((source, destination, amount),)
    return Wish(TransferType.INTERNAL, legs, is_hold=True, ends_on=day)


def _several(legs: Sequence[Leg]) -> Wish:
    return Wish(TransferType.INTERNAL, tuple(legs))


LEGS = st.tuples(PLACES, PLACES, SMALL_AMOUNTS).filter(lambda leg: leg[0] != leg[1])
INTERNAL = st.builds(_single, st.just(TransferType.INTERNAL), PLACES, PLACES, AMOUNTS)
DEPOSIT = st.builds(
    _single, st.just(TransferType.DEPOSIT), st.just(SETTLEMENT), PLACES, SMALL_AMOUNTS
)
WITHDRAWAL = st.builds(
    _single, st.just(TransferType.WITHDRAWAL), PLACES, st.just(SETTLEMENT), AMOUNTS
)
HOLD = st.builds(_hold, PLACES, PLACES, SMALL_AMOUNTS, DAYS).filter(
    lambda wish: wish.legs[0][0] != wish.legs[0][1]
)
SEVERAL = st.builds(_several, st.lists(LEGS, min_size=2, max_size=4))
WISHES = st.one_of(INTERNAL, INTERNAL, DEPOSIT, WITHDRAWAL, HOLD, HOLD, SEVERAL)

STEPS: Final = ("ask",) * 5 + ("post",) * 4 + ("finalise",) * 2 + ("compensate",)
CHANGES: Final = ("freeze", "unfreeze", "unfreeze", "close", "overdraw")
LIMITS: Final = ("limit_transfer", "limit_day", "unlimit")
RULES: Final = ("make_rule", "retire_rule")
HOLDS: Final = ("capture",) * 4 + ("extend", "cancel", "expire", "expire_early")
DECISIONS: Final = ("approve",) * 4 + ("reject",)
SAGAS: Final = ("saga",) * 4 + ("reverse",) * 3


OPERATIONS: Final = frozenset({"capture", "extend", "cancel", "approve", "reject", "reverse"})
"""What has a key of its own."""

FIELDS: Final[Mapping[str, Mapping[str, st.SearchStrategy[Any]]]] = {
    "capture": {"amount": PARTS | st.just(0), "is_final": st.sampled_from((None, None, True))},
    "reverse": {"amount": PARTS},
    "extend": {"day": DAYS},
    "approve": {"by": DECIDERS},
    "reject": {"by": DECIDERS},
    "make_rule": {"amount": BOUNDS, "by": st.sampled_from(APPROVERS)},
    **{verb: {"amount": BOUNDS} for verb in ("retire_rule", "overdraw", *LIMITS[:2])},
}


@st.composite
def histories(
    draw: st.DrawFn, verbs: Sequence[str], *, min_size: int, max_size: int, prefix: str = "act"
) -> list[Command]:
    """Draw commands in any order; now and then one is given again, or a key used for another wish.

    Parameters
    ----------
    prefix
        Of the keys of operations and reversals.
    """
    wishes = draw(st.lists(WISHES, min_size=len(TRANSFERS), max_size=len(TRANSFERS)))
    return draw(commands_for(wishes, verbs, min_size=min_size, max_size=max_size, prefix=prefix))


@st.composite
def commands_for(
    draw: st.DrawFn,
    wishes: Sequence[Wish],
    verbs: Sequence[str],
    *,
    min_size: int,
    max_size: int,
    prefix: str = "act",
) -> list[Command]:
    """Draw commands about transfers whose wishes are known by the places of their keys."""
    commands: list[Command] = []
    picked = draw(st.lists(st.sampled_from(verbs), min_size=min_size, max_size=max_size))
    for number, verb in enumerate(picked):
        if commands and draw(st.integers(0, 9)) == 0:
            commands.append(draw(st.sampled_from(commands)))
        commands.append(draw(_command(verb, f"{prefix}-{number}", wishes)))
    return commands


@st.composite
def _command(draw: st.DrawFn, verb: str, key: str, wishes: Sequence[Wish]) -> Command:
    place = draw(st.sampled_from(range(len(wishes))))
    if verb in {"ask", "saga"}:
        is_other = draw(st.integers(0, 9)) == 0
        return Command(verb, TRANSFERS[place], wish=wishes[(place + is_other) % len(wishes)])
    fields = {name: draw(strategy) for name, strategy in FIELDS.get(verb, {}).items()}
    if verb in OPERATIONS:
        return Command(verb, key, TRANSFERS[place], **fields)
    return Command(verb, transfer=TRANSFERS[place], account=draw(PLACES), **fields)


async def carry_out(take: Take, command: Command) -> AsyncIterator[tuple[Command, Answer]]:
    """Take each step that a command stands for, as the saga would, and give it with its answer."""
    first = command
    if command.verb == "saga":
        first = replace(command, verb="ask")
    elif command.verb == "reverse":
        prepare = replace(command, verb="prepare_reversal")
        prepared = await take(prepare)
        yield prepare, prepared
        if prepared.code:
            return
        first = replace(command, verb="reversal", taken=prepared.amount)
    answer = await take(first)
    yield first, answer
    if command.verb not in {"saga", "reverse"} or answer.stage is not TransferStage.RESERVED:
        return
    for verb in ("post", "finalise"):
        step = Command(verb, transfer=command.key)
        answer = await take(step)
        yield step, answer
        if answer.code:
            return
