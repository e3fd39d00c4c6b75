"""Payloads are sealed for their workflow, and read again only there and unaltered."""

from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import ActivitySerializationContext, WorkflowSerializationContext

from tests.support.payloads import new_payload_key, ring_of
from workflows.payload_codec import EncryptedPayloads, tenant_of
from workflows.payload_keys import PayloadKeyMissing, PayloadUnreadable

TENANT, ORDER = uuid4(), uuid4()
WORKFLOW = f"{TENANT}:rent"
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"description": "rent of Ada"}')
K1, K2 = new_payload_key("k1"), new_payload_key("k2")
CODEC = EncryptedPayloads(ring_of(K1))


def in_workflow(codec: EncryptedPayloads, workflow_id: str = WORKFLOW) -> EncryptedPayloads:
    return codec.with_context(WorkflowSerializationContext("default", workflow_id))


async def sealed(codec: EncryptedPayloads = CODEC, workflow_id: str = WORKFLOW) -> Payload:
    [payload] = await in_workflow(codec, workflow_id).encode([PLAIN])
    return payload


async def test_a_payload_comes_back_as_it_was_with_its_kind() -> None:
    assert await in_workflow(CODEC).decode([await sealed()]) == [PLAIN]


async def test_nothing_of_it_stands_in_clear_and_no_two_are_alike() -> None:
    first, second = await sealed(), await sealed()
    assert first.data != second.data
    assert b"Ada" not in first.SerializeToString()
    assert b"json/plain" not in first.SerializeToString()
    assert b"rent" not in first.SerializeToString()


async def test_an_activity_reads_what_its_workflow_wrote() -> None:
    context = ActivitySerializationContext(
        namespace="default",
        activity_id="1",
        activity_type="reserve_funds",
        activity_task_queue="transfers",
        workflow_id=WORKFLOW,
        workflow_type="TransferWorkflow",
        is_local=True,
    )
    assert await CODEC.with_context(context).decode([await sealed()]) == [PLAIN]


async def test_without_a_workflow_it_is_read_too_as_the_codec_endpoint_does() -> None:
    assert await CODEC.decode([await sealed()]) == [PLAIN]


async def test_what_was_sealed_for_no_workflow_is_read_in_each() -> None:
    assert await in_workflow(CODEC).decode(await CODEC.encode([PLAIN])) == [PLAIN]


async def test_a_payload_of_another_workflow_is_refused() -> None:
    other = in_workflow(CODEC, f"{TENANT}:other")
    with pytest.raises(PayloadUnreadable, match="another workflow"):
        await other.decode([await sealed()])


@pytest.mark.parametrize("field", ["tenant", "place", "data"])
async def test_a_payload_that_was_altered_is_refused(field: str) -> None:
    payload = await sealed()
    if field == "data":
        payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    else:
        payload.metadata[field] = await _of_other(field)
    with pytest.raises(PayloadUnreadable, match="altered"):
        await CODEC.decode([payload])


async def _of_other(field: str) -> bytes:
    return (await sealed(workflow_id=f"{uuid4()}:rent")).metadata[field]


@pytest.mark.parametrize(
    ("workflow_id", "tenant"),
    [
        (WORKFLOW, TENANT),
        (f"batch/{TENANT}/{uuid4()}", TENANT),
        (f"standing-order/{ORDER}-2026-01-01T00:00:00Z", None),
        ("reconcile-transfers", None),
        (f"{TENANT}", None),
    ],
    ids=["transfer", "batch", "standing order", "care", "no key"],
)
async def test_it_says_whose_it_is(workflow_id: str, tenant: object) -> None:
    assert tenant_of(await sealed(workflow_id=workflow_id)) == tenant


@pytest.mark.parametrize(
    "schedule", [f"standing-order/{ORDER}", "reconcile-transfers"], ids=["order", "care"]
)
async def test_the_runs_of_a_schedule_read_what_it_holds_and_what_the_last_one_left(
    schedule: str,
) -> None:
    run = in_workflow(CODEC, f"{schedule}-2026-01-01T00:00:10Z")
    for earlier in (schedule, f"{schedule}-2026-01-01T00:00:00Z"):
        assert await run.decode([await sealed(workflow_id=earlier)]) == [PLAIN]
    other = in_workflow(CODEC, f"standing-order/{uuid4()}")
    with pytest.raises(PayloadUnreadable, match="another workflow"):
        await other.decode([await sealed(workflow_id=schedule)])


async def test_a_key_that_was_replaced_still_decrypts() -> None:
    old = await sealed()
    rotated = EncryptedPayloads(ring_of(K2, K1))
    assert await in_workflow(rotated).decode([old]) == [PLAIN]
    assert (await sealed(rotated)).metadata["encryption-key-id"] == b"k2"


async def test_a_payload_of_an_unknown_key_names_it() -> None:
    with pytest.raises(PayloadKeyMissing, match="'k1'"):
        await EncryptedPayloads(ring_of(K2)).decode([await sealed()])


async def test_what_was_never_encrypted_passes_unless_that_is_required() -> None:
    assert await CODEC.decode([PLAIN]) == [PLAIN]
    with pytest.raises(PayloadUnreadable, match="not encrypted"):
        await EncryptedPayloads(ring_of(K1), is_required=True).decode([PLAIN])
