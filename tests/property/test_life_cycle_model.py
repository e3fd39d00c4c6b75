"""Random lives of holds, reversals, legs and approvals on the services, against the model."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from runtime.composition import Services
from tests.property.bank_histories import (
    CHANGES,
    DECISIONS,
    HOLDS,
    LIMITS,
    OVERDRAFTS,
    RULES,
    SAGAS,
    carry_out,
    histories,
)
from tests.property.bank_model import Bank
from tests.property.bank_parts import Command
from tests.property.examples import examples
from tests.property.service_bank import ServiceBank

LIVES = (*SAGAS, *HOLDS, *DECISIONS, *CHANGES, *LIMITS, *RULES, "post")


@examples(60)
@given(life=histories(LIVES, min_size=10, max_size=40))
async def test_every_life_of_transfers_goes_as_the_model_says(
    own_services: Services, life: list[Command]
) -> None:
    bank, model = await ServiceBank.open(own_services, OVERDRAFTS), Bank.of(OVERDRAFTS)
    for number, command in enumerate(life):
        async for step, answer in carry_out(bank.take, command):
            assert (number, answer) == (number, model.take(step)), step
    assert (await bank.amounts(), await bank.answers()) == model.end
    await bank.require_invariants()


@examples(20)
@given(life=histories(LIVES, min_size=20, max_size=50), lanes=st.integers(3, 8))
async def test_many_things_at_the_same_time_never_wait_for_each_other_and_conserve_the_sum(
    own_services: Services, life: list[Command], lanes: int
) -> None:
    bank = await ServiceBank.open(own_services, OVERDRAFTS)
    answers: set[str | None] = set()

    async def run(lane: int) -> None:
        for command in life[lane::lanes]:
            async for _, answer in carry_out(bank.take, command):
                answers.add(answer.code)

    await asyncio.gather(*(run(lane) for lane in range(lanes)))

    # No deadlock, no constraint that only the database remembered.
    assert not answers & {"database_unavailable", "ledger_rule_violated"}
    assert sum(posted for posted, _ in await bank.amounts()) == 0
    await bank.require_invariants()
