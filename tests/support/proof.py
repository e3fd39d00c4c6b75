"""The proof of the invariants over a whole database, as a test's last word."""

from runtime.verification import verify
from tests.support.stack import Stack


async def require_clean_ledger(stack: Stack) -> None:
    """Require all seven invariants of the stack's database and its workflows."""
    report = await verify(
        stack.service_url,
        temporal_address=stack.temporal_address,
        temporal_namespace=stack.temporal_namespace,
    )
    found = [
        f"{check.name}: {violation.subject} {violation.message}"
        for check in report.checks
        for violation in check.violations
    ]
    assert not found, "\n".join(found)
    assert report.is_clean
    assert [check.invariant for check in report.checks] == list(range(1, 8))
