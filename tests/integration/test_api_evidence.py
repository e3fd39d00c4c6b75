"""All that is on record of a transfer, in one document."""

import io
import json
import struct
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pypdf
import pytest

from api.evidence.desk import UNAVAILABLE
from domain.access import Scope
from runtime.composition import Services
from tests.support.api import Client, Json, new_key, problem_of
from tests.support.batches import post_batch
from tests.support.command import Command
from tests.support.stack import Stack
from tests.support.stuck import FAILURE, REASON, broken_posting, done, promised, until_stuck
from tests.support.tenants import TenantMaker
from tests.support.waiting import until


@pytest.fixture
async def accounts(tenant: Client) -> tuple[Json, Json]:
    return await tenant.account(balance=1_000), await tenant.account()


async def evidence(client: Client, transfer: Json, **params: Any) -> Json:
    """Fetch a document, again where Temporal did not answer: it does not wait long for that."""
    found: Json = {}

    async def has_workflow() -> bool:
        nonlocal found
        found = await client.get(f"/transfers/{transfer['id']}/evidence", **params)
        return bool(found["workflow"]["status"] != UNAVAILABLE)

    await until(has_workflow)
    return found


async def pdf_text(client: Client, transfer: Json, **call: Any) -> str:
    """Fetch a document as PDF, as ``evidence`` does, and read it, without spaces."""
    text = ""

    async def has_workflow() -> bool:
        nonlocal text
        response = await client.call("GET", f"/transfers/{transfer['id']}/evidence", **call)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/pdf"
        pages = pypdf.PdfReader(io.BytesIO(response.content)).pages
        # Long words are broken over lines.
        text = "".join("".join(page.extract_text() for page in pages).split())
        return UNAVAILABLE not in text

    await until(has_workflow)
    return text


async def captured(tenant: Client, accounts: tuple[Json, Json]) -> Json:
    """Hold 600, capture 100 and then 200 as the last, and take 50 back."""
    source, destination = (account["id"] for account in accounts)
    held = await tenant.hold(
        source=source,
        destination=destination,
        amount=600,
        description="Miete \N{GREEK SMALL LETTER ALPHA}",
        metadata={"till": 7},
    )
    await tenant.operate(held, "capture", amount=100)
    await tenant.operate(held, "capture", amount=200, final=True)
    reversal = await tenant.operate(held, "reversals", amount=50, reason="damaged")
    assert reversal.status_code == 201
    return held


async def test_a_document_tells_of_request_operations_money_and_attempts(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    held = await captured(tenant, accounts)

    found = await evidence(tenant, held)

    assert found["transfer"] == await tenant.get(f"/transfers/{held['id']}")
    assert found["request"]["fingerprint"] == held["fingerprint"]
    assert found["request"]["is_fingerprint_of_claim"]
    assert found["request"]["operation"] == "transfer.create"
    assert found["request"]["requested_by"] == {"id": str(tenant.record.id), "name": "test"}
    assert [each["amount"] for each in found["operations"]] == [100, 200]
    (hold,) = found["holds"]
    assert (hold["amount"], hold["captured_amount"], hold["status"]) == (600, 300, "CAPTURED")
    entries = (await tenant.get(f"/transfers/{held['id']}/entries"))["data"]
    assert found["entries"] == entries
    assert len(entries) == 4
    events = (await tenant.get(f"/transfers/{held['id']}/events"))["data"]
    assert found["events"] == events
    assert [each["amount"] for each in found["reversals"]] == [50]
    numbers = {each["account_number"] for each in found["accounts"]}
    assert numbers == {account["account_number"] for account in accounts}
    assert found["workflow"]["status"] == "COMPLETED"
    steps = {each["step"] for each in found["workflow"]["history"]}
    assert {"reserve_funds", "carry_out_operation", "capture"} <= steps
    assert {each["entry_id"] for each in found["chain_proof"]["entries"]} == {
        each["id"] for each in entries
    }
    assert found["more"] == []
    back = await evidence(tenant, found["reversals"][0])
    assert back["reversal_of"]["id"] == held["id"]


async def test_failed_attempts_and_what_operators_did_are_in_it(
    stack: Stack, tenant: Client, accounts: tuple[Json, Json]
) -> None:
    async with broken_posting(stack.database_url, accounts[1]):
        transfer = await promised(tenant, *accounts)
        await until_stuck(tenant, transfer["id"], "activity_failing")
        (pending,) = [
            each
            for each in (await evidence(tenant, transfer))["workflow"]["history"]
            if each["what"] == "activity pending"
        ]
        assert FAILURE in pending["error"]
        assert pending["attempt"] >= 5
        await done(tenant, transfer["id"], "resolve")

    found = await evidence(tenant, transfer)

    assert found["workflow"]["status"] == "TERMINATED"
    history = found["workflow"]["history"]
    errors = [each for each in history if each["what"] == "local activity failed"]
    assert {each["step"] for each in errors} == {"post_entries"}
    assert all(FAILURE in each["error"] for each in errors)
    assert history[-1]["error"] == REASON
    (row,) = [each for each in found["audit"] if each["action"] == "operations.resolve"]
    assert (row["reason"], row["details"]["cause"]) == (REASON, "activity_failing")
    assert found["transfer"]["failure"]["code"] == "resolved_by_operator"
    assert [each["status"] for each in found["holds"]] == ["RELEASED"]


async def test_a_row_of_a_batch_has_the_workflow_of_its_batch(
    tenant: Client, accounts: tuple[Json, Json]
) -> None:
    source, destination = (account["id"] for account in accounts)
    row = {"source": source, "destination": destination, "amount": 10, "currency": "EUR"}
    made = await post_batch(tenant, [{"idempotency_key": new_key(), **row}])
    assert made.is_success, made.text
    transfer = (await tenant.get("/transfers", account=destination))["data"][0]

    found = await evidence(tenant, transfer)

    assert found["workflow"]["workflow_id"] == transfer["workflow_id"]
    assert transfer["batch_id"] in transfer["workflow_id"]
    assert len(found["entries"]) == 2


async def test_a_pdf_has_the_same(tenant: Client, accounts: tuple[Json, Json]) -> None:
    held = await captured(tenant, accounts)
    found = await evidence(tenant, held)

    for text in (
        await pdf_text(tenant, held, params={"format": "pdf"}),
        await pdf_text(tenant, held, headers={"Accept": "application/pdf"}),
    ):
        for part in (
            *("Transfer evidence", held["id"], held["fingerprint"], "6.00 EUR", "Page 1 of 2"),
            *(each["id"] for each in found["entries"]),
            *("Approvals, captures and other operations", "carry_out_operation", "Chain proof"),
            "Miete \N{GREEK SMALL LETTER ALPHA}",
        ):
            assert "".join(part.split()) in text, f"{part} is not in {text}"


async def test_only_the_tenant_and_operators_get_it(
    make_tenant: TenantMaker, tenant: Client, accounts: tuple[Json, Json]
) -> None:
    source, destination = accounts
    transfer = await tenant.transfer(source=source["id"], destination=destination["id"], amount=1)
    path = f"/transfers/{transfer['id']}/evidence"
    stranger = await make_tenant(scopes=[Scope.TRANSFERS_READ])
    operator = await make_tenant(scopes=[Scope.TRANSFERS_READ, Scope.OPERATIONS_READ])
    client = await make_tenant(tenant.record.tenant_name, scopes=[Scope.TRANSFERS_READ])
    writer = await make_tenant(tenant.record.tenant_name, scopes=[Scope.TRANSFERS_WRITE])

    problem_of(await stranger.call("GET", path), 404, "transfer_not_found")
    problem_of(await writer.call("GET", path), 403, "scope_missing")
    assert (await evidence(operator, transfer))["tenant_name"] == tenant.record.tenant_name
    own = (await evidence(client, transfer))["chain_proof"]
    assert len(own["entries"]) == 2
    assert all(seal["content"] is None for seal in own["seals"])
    response = await tenant.call("GET", path, params={"format": "docx"})
    problem_of(response, 422, "validation_failed")


async def test_the_command_writes_it(
    tenant: Client, accounts: tuple[Json, Json], tmp_path: Any
) -> None:
    source, destination = accounts
    transfer = await tenant.transfer(source=source["id"], destination=destination["id"], amount=1)
    transfers = Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY=tenant.api_key)
    shown = await transfers.printed("evidence", transfer["id"])
    assert shown.document["transfer"]["id"] == transfer["id"]
    file = tmp_path / "evidence.pdf"
    await transfers.printed("evidence", transfer["id"], "--format", "pdf", "--output", file)
    assert file.read_bytes().startswith(b"%PDF-")
    assert "transfer_not_found" in await transfers.refused("evidence", source["id"])


async def test_a_reader_makes_the_chain_proof_again_from_the_document_alone(
    services: Services, tenant: Client, accounts: tuple[Json, Json]
) -> None:
    source, destination = accounts
    transfer = await tenant.transfer(source=source["id"], destination=destination["id"], amount=1)
    assert (await evidence(tenant, transfer))["chain_proof"]["result"] in {"unsealed", "proved"}

    async def is_sealed() -> bool:
        await services.seals.seal(seconds=5)
        return bool((await evidence(tenant, transfer))["chain_proof"]["result"] == "proved")

    await until(is_sealed)

    found = await evidence(tenant, transfer)
    require_proof(found)
    assert len(found["chain_proof"]["entries"]) == 2
    assert "chain_proof" not in found["more"]
    path = f"/transfers/{transfer['id']}/evidence"
    pdf = pypdf.PdfReader(
        io.BytesIO((await tenant.call("GET", path, params={"format": "pdf"})).content)
    )
    (attached,) = pdf.attachments[f"evidence-{transfer['id']}.json"]
    require_proof(json.loads(attached))
    text = "".join("".join(page.extract_text().split()) for page in pdf.pages)
    for seal in found["chain_proof"]["seals"]:
        assert seal["hash"] in text


def require_proof(document: Json) -> None:
    """Go from the entries to the seals' hashes as docs/tamper-evidence.md says, and by no other."""
    proof = document["chain_proof"]
    entries = {each["id"]: each for each in document["entries"]}
    segments = {(each["seal_number"], each["account_id"]): each for each in proof["segments"]}
    for each in proof["entries"]:
        text = json.loads(each["entry_text"])
        entry = entries[each["entry_id"]]
        assert text[1:4:2] == [entry["id"], document["transfer"]["id"]]
        assert text[4:6] == [entry["account_id"], str(entry["sequence"])]
        assert text[6:8] == [entry["direction"], str(entry["amount"])]
        segment = segments[each["seal_number"], each["account_id"]]
        place = 80 * (each["sequence"] - segment["first_sequence"])
        assert bytes.fromhex(segment["records"])[place : place + 80] == (
            uuid.UUID(each["entry_id"]).bytes
            + sha256(each["entry_text"].encode()).digest()
            + sha256(proof["transfer_text"].encode()).digest()
        )
    for segment in segments.values():
        range_of_it = (segment["first_sequence"], segment["last_sequence"])
        head = uuid.UUID(segment["account_id"]).bytes + struct.pack(">qq", *range_of_it)
        assert segment["digest"] == sha256(head + bytes.fromhex(segment["records"])).hexdigest()
    for seal in proof["seals"]:
        content = seal["content"]
        of_seal = {
            segment["digest"] for key, segment in segments.items() if key[0] == seal["number"]
        }
        digests = content["segment_digests"]
        assert of_seal <= set(digests)
        assert content["root"] == sha256(bytes.fromhex("".join(digests))).hexdigest()
        moment = datetime.fromisoformat(seal["sealed_at"]) - datetime(1970, 1, 1, tzinfo=UTC)
        fields = [
            *("durable-transfers/seal/1", seal["number"], content["previous_hash"]),
            *(content[name] for name in ("root", "segments", "entries", "position")),
            moment // timedelta(microseconds=1),
        ]
        assert seal["hash"] == sha256(json.dumps([*map(str, fields)]).encode()).hexdigest()
