"""``transfers verify``: the proof that the ledger is right."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cli.console import output, print_json, print_line, print_table
from cli.failures import clear_startup_failures
from cli.options import AsJson, DataDir
from cli.surroundings import settings_or_stack
from runtime.settings import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from services.seal_verification import SealProof
    from services.verification import Check, VerificationReport

EXIT_VIOLATED: Final = 1


def verify(*, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Prove the seven invariants and the seals; exit code 1 on a violation.

    The invariants are held against the database and Temporal, the ledger against its seals.

    Uses DATABASE_URL, TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE, else the running local stack's.
    """
    # Loads SQLAlchemy and Temporal's client.
    from runtime.verification import verify_by as prove  # noqa: PLC0415

    settings = settings_or_stack(data_dir)
    with clear_startup_failures(settings.temporal_address):
        report = asyncio.run(prove(settings))
    if as_json:
        print_json(_document(report))
    else:
        print_report(report.checks)
        print_seals(report.seals)
    if not report.is_clean:
        raise SystemExit(EXIT_VIOLATED)


def print_report(checks: "Sequence[Check]") -> None:
    """Print what was proved, each invariant with its counts, and every violation."""
    print_table(
        ("#", "Invariant", "What it says", "Count", "Result"),
        [
            (
                str(check.invariant),
                check.name,
                check.description,
                f"{check.examined:,}",
                f"{len(check.violations)} VIOLATED" if check.violations else "holds",
            )
            for check in checks
        ],
    )
    violations = [(check, violation) for check in checks for violation in check.violations]
    for check, violation in violations:
        print_line(
            f"Invariant {check.invariant} ({check.name}): {violation.subject}: {violation.message}"
        )
    if violations:
        output().print(f"[bold red]The ledger is not right: {len(violations)} violations.[/]")
    else:
        output().print(f"[bold green]All {len(checks)} invariants hold.[/]")


def print_seals(proof: "SealProof") -> None:
    """Print what the seals cover, what they do not, and every violation."""
    print_line(
        f"Seals: {proof.seals:,} over {proof.sealed_entries:,} entries; "
        f"{proof.unsealed_entries:,} entries are not sealed yet."
    )
    if proof.sealed_at is not None:
        print_line(f"Newest seal: {proof.newest_seal} of {proof.sealed_at:%Y-%m-%d %H:%M:%S} UTC.")
    for violation in proof.violations:
        print_line(f"{violation.subject}: {violation.message}")
    if proof.violations_left_out:
        print_line(f"{proof.violations_left_out:,} more are not named.")
    if proof.violations:
        output().print("[bold red]The ledger is not what was sealed. The first is named first.[/]")
    elif proof.seals:
        output().print("[bold green]What is sealed is what it was.[/]")


def _document(report: "VerificationReport") -> dict[str, Any]:
    return {
        "is_clean": report.is_clean,
        "checks": [asdict(check) for check in report.checks],
        "seals": seals_document(report.seals),
    }


def seals_document(proof: "SealProof") -> dict[str, Any]:
    """Give the proof of the seals as JSON has it."""
    sealed_at = proof.sealed_at.isoformat() if proof.sealed_at else None
    return {**asdict(proof), "sealed_at": sealed_at}
