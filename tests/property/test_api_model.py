"""Hypothesis against the whole HTTP API, on real servers: every answer is the model's."""

import asyncio
from typing import ClassVar

import httpx
from hypothesis.stateful import run_state_machine_as_test

from runtime.composition import Services
from tests.property.api_machine import ApiMachine, Ground
from tests.property.examples import examples
from tests.support.api import TIMEOUT_SECONDS
from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack


async def test_whatever_is_asked_in_whatever_order_is_answered_as_the_model_says(
    stack: Stack, services: Services
) -> None:
    async with httpx.AsyncClient(
        base_url=stack.api_url, timeout=TIMEOUT_SECONDS, trust_env=False
    ) as http:

        class Machine(ApiMachine):
            ground: ClassVar = Ground(asyncio.get_running_loop(), http, services.access)

        await asyncio.to_thread(run_state_machine_as_test, Machine, settings=examples(25, steps=30))
    await require_clean_ledger(stack)
