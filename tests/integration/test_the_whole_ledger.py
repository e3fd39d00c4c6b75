from tests.support.proof import require_clean_ledger
from tests.support.stack import Stack


async def test_after_all_tests_the_ledger_is_clean(stack: Stack) -> None:
    await require_clean_ledger(stack)
