"""Builds of the product that are broken on purpose, to see that the checker finds it.

``python -m tests.chaos.broken BREAKAGE api|worker`` runs a command with one of them.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from cli.main import run
from domain.ids import TenantId, TransferId
from domain.transfers import Transfer
from persistence import database, direct
from services.transactions import TransactionService

SLOW_ANSWER_SECONDS: Final = 0.3


def commit_without_the_disk() -> None:
    """Answer before what was committed is safe: the server may forget it when it crashes."""
    options_of = database._connection_options  # noqa: SLF001

    def careless(limits: database.DatabaseLimits, **more: str) -> dict[str, Any]:
        return options_of(limits, **more, synchronous_commit="off")

    database._connection_options = careless  # noqa: SLF001


def post_without_a_step_key() -> None:
    """Let the posting of a transfer happen again where it is repeated before the transfer is final.

    It is slow to answer as well, so that a crash finds it unanswered.
    """
    replacements = {
        "AND stage = 'RESERVED'\n": "AND stage IN ('RESERVED', 'POSTED')\n",
        "'DEBIT', -amount_minor, amount_minor)": (
            "'DEBIT', -amount_minor, CASE stage WHEN 'RESERVED' THEN amount_minor ELSE 0 END)"
        ),
        "AND status = 'HELD'\n": "",
        "    FROM advanced\n)": "    FROM advanced ON CONFLICT DO NOTHING\n)",
    }
    statement = direct._POST  # noqa: SLF001
    for right, wrong in replacements.items():
        if right not in statement:
            raise LookupError(right)
        statement = statement.replace(right, wrong)
    setattr(direct, "_POST", statement)  # noqa: B010 - it is Final for all others
    post = TransactionService.post

    async def slow(
        self: TransactionService, tenant_id: TenantId, transfer_id: TransferId
    ) -> Transfer:
        transfer = await post(self, tenant_id, transfer_id)
        await asyncio.sleep(SLOW_ANSWER_SECONDS)
        return transfer

    setattr(TransactionService, "post", slow)  # noqa: B010 - mypy refuses the plain assignment


BREAKAGES: Final[Mapping[str, Callable[[], None]]] = {
    each.__name__: each for each in (commit_without_the_disk, post_without_a_step_key)
}


def main(breakage: str, *arguments: str) -> None:
    """Break the product, and run one of its commands."""
    BREAKAGES[breakage]()
    sys.argv[1:] = arguments
    run()


if __name__ == "__main__":
    main(*sys.argv[1:])
