"""Checkpoints as an auditor makes and checks them, with the command."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from persistence.database import Database
from runtime.composition import make_services
from tests.support.command import Command
from tests.support.postgres import PostgresServer
from tests.support.sealed import SealedLedger
from tests.support.wallets import make_wallets


class Auditor:
    """Somebody with a key, who keeps checkpoints of a ledger."""

    def __init__(self, ledger: SealedLedger, command: Command, folder: Path) -> None:
        self.ledger = ledger
        self.command = command
        self.folder = folder
        self.key = folder / "auditor.key"
        self.public_key = folder / "auditor.pub"

    async def make_key(self) -> None:
        made = await self.command.printed("checkpoints", "keygen", self.key)
        self.public_key.write_text(made.output)

    async def export(self, name: str = "checkpoint.json") -> Path:
        path = self.folder / name
        exported = await self.command.printed("checkpoints", "export", "--key", self.key)
        path.write_text(exported.output)
        return path

    def check(self, *checkpoints: Path) -> tuple[object, ...]:
        return ("checkpoints", "verify", *checkpoints, "--public-key", self.public_key)


@pytest.fixture
async def auditor(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Auditor]:
    async with postgres.database() as url:
        database = Database.at(url)
        services = make_services(database)
        ledger = SealedLedger(services, await make_wallets(services), postgres.as_admin(url))
        auditor = Auditor(ledger, Command(DATABASE_URL=url), tmp_path)
        await auditor.make_key()
        await ledger.move(1, 2)
        await ledger.seal()
        yield auditor
        await database.close()


async def test_a_checkpoint_holds_for_ever_on_a_ledger_that_only_grows(auditor: Auditor) -> None:
    first = await auditor.export("first.json")
    await auditor.ledger.move(3)
    await auditor.ledger.seal()
    second = await auditor.export("second.json")
    await auditor.ledger.move(4)
    checked = await auditor.command.printed(*auditor.check(first, second))
    assert "2 over 6 entries; 2 entries are not sealed yet." in checked.output
    assert "The ledger's chain of seals has every checkpoint." in checked.output
    proof = (await auditor.command.printed(*auditor.check(first), "--json")).document
    assert (proof["seals"], proof["sealed_entries"], proof["unsealed_entries"]) == (2, 6, 2)


async def test_a_chain_that_was_written_anew_is_found_by_an_earlier_checkpoint(
    auditor: Auditor,
) -> None:
    checkpoint = await auditor.export()
    await auditor.ledger.tamper(
        "DELETE FROM ledger_seal_segments",
        "DELETE FROM ledger_seals",
        "UPDATE ledger_entries SET effective_at = effective_at - interval '1 day'",
    )
    await auditor.ledger.seal()
    ending = await auditor.command(*auditor.check(checkpoint))
    assert ending.code == 1
    assert "seal 1: has another hash than a checkpoint knows" in ending.output


async def test_an_offline_check_needs_no_database_and_refuses_what_was_altered(
    auditor: Auditor,
) -> None:
    checkpoint = await auditor.export()
    nowhere = Command()
    checked = await nowhere.printed(*auditor.check(checkpoint), "--offline")
    assert "signed; seal 1 over 4 entries" in checked.messages
    document = json.loads(checkpoint.read_text())
    checkpoint.write_text(json.dumps({**document, "position": 5}))
    assert "The signature is not right" in await nowhere.refused(
        *auditor.check(checkpoint), "--offline"
    )


async def test_the_signature_is_over_what_the_documentation_says(auditor: Auditor) -> None:
    document = json.loads((await auditor.export()).read_text())
    signature = base64.b64decode(document.pop("signature"))
    signed = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    key = load_pem_public_key(auditor.public_key.read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signature, signed)


async def test_keys_are_private_and_never_written_over(auditor: Auditor) -> None:
    assert auditor.key.stat().st_mode & 0o777 == 0o600
    said = await auditor.command.refused("checkpoints", "keygen", auditor.key)
    assert "File exists" in said
    auditor.key.chmod(0o644)
    said = await auditor.command.refused("checkpoints", "export", "--key", auditor.key)
    assert "may be read by others" in said


async def test_another_key_is_refused(auditor: Auditor) -> None:
    checkpoint = await auditor.export()
    auditor.key = auditor.folder / "another.key"
    await auditor.make_key()
    assert "another key signed it" in await auditor.command.refused(*auditor.check(checkpoint))
