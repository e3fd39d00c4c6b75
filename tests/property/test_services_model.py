"""Random steps of several transfers on the services and PostgreSQL, against a plain model."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from runtime.composition import Services
from tests.property.bank_histories import (
    CHANGES,
    LIMITS,
    OVERDRAFTS,
    SAGAS,
    STEPS,
    TRANSFERS,
    WISHES,
    carry_out,
    commands_for,
    histories,
)
from tests.property.bank_model import Bank
from tests.property.bank_parts import Answer, Command, Wish
from tests.property.examples import examples
from tests.property.linearisability import Event, orders_into, timed
from tests.property.service_bank import ServiceBank


@examples(60)
@given(history=histories((*STEPS, *CHANGES), min_size=10, max_size=50))
async def test_every_step_in_every_order_does_what_the_model_says(
    own_services: Services, history: list[Command]
) -> None:
    bank, model = await ServiceBank.open(own_services, OVERDRAFTS), Bank.of(OVERDRAFTS)
    for number, command in enumerate(history):
        async for step, answer in carry_out(bank.take, command):
            assert (number, answer) == (number, model.take(step)), step
    assert (await bank.amounts(), await bank.answers()) == model.end
    await bank.require_invariants()


BURST = (*STEPS, *SAGAS, *SAGAS, *LIMITS, *CHANGES, *("capture",) * 4, "extend", "cancel", "expire")


@st.composite
def bursts(draw: st.DrawFn) -> tuple[list[Command], list[list[Command]]]:
    """Draw what comes first, and what up to five clients then do at the same time."""
    # Few transfers, all on record: clients meet at them.
    wishes: list[Wish] = draw(st.lists(WISHES, min_size=3, max_size=3))
    first = [
        Command(draw(st.sampled_from(("ask", "ask", "saga"))), key, wish=wish)
        for key, wish in zip(TRANSFERS, wishes, strict=False)
    ]
    lanes = [
        # Two clients share the keys of what they do, so that the same is asked for at once.
        draw(commands_for(wishes, BURST, min_size=1, max_size=2, prefix=f"lane-{lane // 2}"))
        for lane in range(draw(st.integers(2, 5)))
    ]
    return first, lanes


@examples(80)
@given(burst=bursts())
async def test_what_happens_at_the_same_time_can_be_explained_by_one_order(
    own_services: Services, burst: tuple[list[Command], list[list[Command]]]
) -> None:
    first, lanes = burst
    bank, model = await ServiceBank.open(own_services, OVERDRAFTS), Bank.of(OVERDRAFTS)
    for command in first:
        async for step, answer in carry_out(bank.take, command):
            assert answer == model.take(step), step

    async def run(lane: list[Command]) -> list[Event]:
        events: list[Event] = []

        async def take(command: Command) -> Answer:
            events.append(await timed(bank.take, command))
            return events[-1].answer

        for command in lane:
            async for _ in carry_out(take, command):
                pass
        return events

    history = await asyncio.gather(*(run(lane) for lane in lanes))
    found = await bank.amounts(), await bank.answers()

    order = orders_into(model, history, lambda end: end.end == found)
    assert order is not None, told(history)
    await bank.require_invariants()


def told(history: Sequence[Sequence[Event]]) -> str:
    """Write a history down, in the order in which things began."""
    events = sorted((event for lane in history for event in lane), key=lambda event: event.began)
    return "\n".join(
        f"{event.began:.6f} to {event.ended:.6f}: {event.command} -> {event.answer}"
        for event in events
    )
