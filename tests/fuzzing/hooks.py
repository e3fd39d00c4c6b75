"""What schemathesis does not know of this API. Loaded by it, through SCHEMATHESIS_HOOKS."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

SEEDS_VARIABLE: Final = "FUZZING_SEEDS"
"""Names JSON with ids of what exists, by the names of parameters."""

BEYOND_SCHEMAS: Final = frozenset(
    {
        # Lists that are longer than a schema should be.
        "unknown_currency",
        "unknown_time_zone",
        # To JSON Schema 1.0 is an integer; here it is a float.
        "amount_type",
        "int_type",
        # References, and what depends on another field, or on a parameter.
        "account_reference",
        "differs_from_query",
        "missing",
        "not_allowed",
        "schedule_form",
        "repeated",
        "period_order",
        # Bounds that go by the present, by the years of a calendar, or by size as JSON.
        "past",
        "time_bounds",
        "time_range",
        "cursor_form",
        "metadata_depth",
        "metadata_number",
        "metadata_size",
        "metadata_text",
        # Languages of their own: cron, and what CSV has for columns.
        "cron_form",
        "column_missing",
        "column_unknown",
        "column_repeated",
    }
)
ONE_IN: Final = 4
"""So many requests go as they were drawn; in the others, names are those of what exists."""

SIDES: Final = ("source", "destination")
TIMES: Final = ("execute_at", "expires_at", "expires_in_seconds", "start_at", "end_at")


@schemathesis.check
def only_what_no_schema_can_say(_ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Fail where a request is refused that fits its schema, for what a schema could have said."""
    if not _is_right(case) or response.status_code != 422:
        return
    problem = response.json()
    if problem["code"] == "validation_failed":
        codes = {error["code"] for error in problem["errors"]}
        assert codes <= BEYOND_SCHEMAS, f"OpenAPI could say so: {codes - BEYOND_SCHEMAS}"


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Let most right requests be about what exists: nothing is reached by names that are drawn."""
    if not _is_right(case):
        return
    seeds = json.loads(os.environ[SEEDS_VARIABLE])
    chance = _Chance(case)
    if chance.draw(ONE_IN) == 0:
        return
    if case.meta is not None and case.meta.phase.name != "stateful":
        for name in set(case.path_parameters or {}) & seeds.keys():
            case.path_parameters[name] = chance.pick(seeds[name])
    if isinstance(case.body, dict):
        _name_what_exists(case.body, seeds, chance)


class _Chance:
    """Numbers that go by what a request says, so that one seed finds the same again."""

    def __init__(self, case: Case[Any]) -> None:
        told = repr((case.path_parameters, case.query, case.body))
        self._state = hashlib.sha256(told.encode(errors="replace")).digest()

    def draw(self, below: int) -> int:
        self._state = hashlib.sha256(self._state).digest()
        return int.from_bytes(self._state) % below

    def pick(self, choices: Sequence[str]) -> str:
        return choices[self.draw(len(choices))]


def _is_right(case: Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _name_what_exists(
    body: dict[str, Any], seeds: Mapping[str, Sequence[str]], chance: _Chance
) -> None:
    for leg in (body, *body.get("legs", ()), *body.get("transfers", ())):
        if "currency" in leg:
            leg["currency"] = "EUR"
        if isinstance(leg.get("amount"), int):
            leg["amount"] = 1 + chance.draw(50)
        if "currency" in leg and "amount" in leg:
            _name_sides(leg, seeds["account"], chance)
    if "user_id" in body:
        body["user_id"] = chance.pick(seeds["user"])
    for name in TIMES:
        body.pop(name, None)
    if "schedule" in body:
        body |= {"schedule": {"interval_seconds": 3600}, "start_at": "2100-01-01T00:00:00Z"}


def _name_sides(leg: dict[str, Any], accounts: Sequence[str], chance: _Chance) -> None:
    kind = leg.get("type", "INTERNAL")
    first = chance.draw(len(accounts))
    sides = dict(zip(SIDES, (accounts[first], accounts[first - 1]), strict=True))
    for side, is_named in (("source", kind != "DEPOSIT"), ("destination", kind != "WITHDRAWAL")):
        if is_named:
            leg[side] = sides[side]
        else:
            leg.pop(side, None)
