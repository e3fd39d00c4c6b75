"""``transfers checkpoints``: what proves later that the chain of seals was not written anew."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.console import messages, output, print_json, print_line
from cli.failures import CommandFailed, clear_startup_failures
from cli.groups import Commands
from cli.options import AsJson, DataDir
from cli.surroundings import settings_or_stack
from cli.verify import EXIT_VIOLATED, print_seals, seals_document
from domain.checkpoints import Checkpoint
from runtime.settings import DEFAULT_DATA_DIR

app = Commands(
    no_args_is_help=True, help="Export signed checkpoints of the ledger, and check them later."
)


@app.command(epilog="Example: transfers checkpoints keygen auditor.key > auditor.pub")
def keygen(
    key: Annotated[Path, typer.Argument(help="New file for the private key, of mode 0600.")],
) -> None:
    """Make a key to sign checkpoints with; its public half goes to standard output."""
    from runtime.checkpoint_keys import make_key  # noqa: PLC0415

    public = make_key(key)
    print_line(f"The private key is in {key}: keep it away from the database.", console=messages())
    print_line(public.rstrip())


@app.command(epilog="Example: transfers checkpoints export --key auditor.key > checkpoint.json")
def export(
    *,
    key: Annotated[Path, typer.Option(help="Private key to sign with.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write a signed checkpoint of the newest seal to standard output, as JSON.

    Uses DATABASE_URL, else the running local stack's database.
    """
    from api.checkpoints import newest_checkpoint  # noqa: PLC0415
    from runtime.checkpoint_keys import read_checkpoint_key  # noqa: PLC0415
    from runtime.composition import open_services  # noqa: PLC0415

    signing = read_checkpoint_key(key)
    url = settings_or_stack(data_dir).connection_url

    async def make() -> dict[str, object]:
        async with open_services(url) as services:
            return await newest_checkpoint(services.seals, signing)

    with clear_startup_failures():
        print_json(asyncio.run(make()))


@app.command(
    epilog="Example: transfers checkpoints verify checkpoint.json --public-key auditor.pub"
)
def verify(
    checkpoints: Annotated[list[Path], typer.Argument(help="Files that were exported before.")],
    *,
    public_key: Annotated[Path, typer.Option(help="Public key of who signed them.")],
    offline: Annotated[
        bool, typer.Option("--offline", help="Check the signatures alone, without the database.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Hold the ledger's seals against checkpoints; exit code 1 where they disagree.

    Uses DATABASE_URL, else the running local stack's database.
    """
    known = _checked(checkpoints, public_key)
    for path, checkpoint in zip(checkpoints, known, strict=True):
        print_line(
            f"{path}: signed; seal {checkpoint.seal_number} over {checkpoint.position:,} entries, "
            f"of {checkpoint.sealed_at:%Y-%m-%d %H:%M:%S} UTC.",
            console=messages(),
        )
    if offline:
        return
    from runtime.verification import KnownSeal, verify_seals  # noqa: PLC0415

    seals = {KnownSeal(1, each.ledger_hash) for each in known} | {
        KnownSeal(each.seal_number, each.seal_hash) for each in known
    }
    url = settings_or_stack(data_dir).connection_url
    with clear_startup_failures():
        proof = asyncio.run(verify_seals(url, sorted(seals, key=lambda seal: seal.number)))
    if as_json:
        print_json(seals_document(proof))
    else:
        print_seals(proof)
    if proof.violations:
        raise SystemExit(EXIT_VIOLATED)
    if not as_json:
        output().print("[bold green]The ledger's chain of seals has every checkpoint.[/]")


def _checked(paths: list[Path], public_key: Path) -> list[Checkpoint]:
    from runtime.checkpoint_keys import (  # noqa: PLC0415
        checked_checkpoint,
        read_checkpoint,
        read_public_key,
    )

    key = read_public_key(public_key)
    checked = [checked_checkpoint(read_checkpoint(path), key) for path in paths]
    if len({checkpoint.ledger_hash for checkpoint in checked}) > 1:
        raise CommandFailed("The checkpoints are of different ledgers.")
    return checked
