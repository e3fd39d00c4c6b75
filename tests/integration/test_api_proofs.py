"""Operators read over HTTP what the background has proved and sealed."""

from domain.access import CLIENT_SCOPES, Scope
from services.ledger_proofs import CHECKS
from tests.support.api import Client, Json, problem_of
from tests.support.tenants import TenantMaker
from tests.support.waiting import until

PROOF_SECONDS = 90.0
"""The schedule's first run comes within 10 s, and the walks through a test's ledger take a few."""


async def proofs_once_sealed(client: Client, entries: int) -> Json:
    """Wait until so many entries are sealed and every invariant was proved over the ledger."""
    found: Json = {}

    async def is_done() -> bool:
        found.update(await client.get("/operations/proofs"))
        is_sealed = found["sealing"]["sealed_entries"] >= entries
        return is_sealed and all(proof["proved_at"] for proof in found["data"])

    await until(is_done, timeout_seconds=PROOF_SECONDS)
    return found


async def test_the_background_seals_and_proves_and_says_so(tenant: Client) -> None:
    await tenant.account(balance=100)
    sealed = (await tenant.get("/operations/proofs"))["sealing"]["sealed_entries"]
    await tenant.account(balance=100)
    found = await proofs_once_sealed(tenant, sealed + 2)
    assert [proof["invariant"] for proof in found["data"]] == list(CHECKS)
    assert found["is_clean"] is True
    assert found["sealing"]["newest_seal"] >= 1
    assert found["sealing"]["all_sealed_at"] is not None

    metrics = (await tenant.http.get("/metrics")).text
    assert 'transfers_ledger_violations{invariant="1",name="zero sum"} 0.0' in metrics
    assert 'transfers_ledger_proved_timestamp_seconds{invariant="8",name="seals"}' in metrics
    for name in ("seals", "sealed_entries", "unsealed_entries", "all_sealed_timestamp_seconds"):
        assert f"\ntransfers_ledger_{name} " in metrics


async def test_a_checkpoint_names_the_newest_seal_and_is_unsigned_without_a_key(
    tenant: Client,
) -> None:
    await tenant.account(balance=100)
    found = await proofs_once_sealed(tenant, 2)
    checkpoint = await tenant.get("/operations/checkpoint")
    assert checkpoint["seal"] >= found["sealing"]["newest_seal"]
    assert checkpoint["position"] >= found["sealing"]["sealed_entries"]
    assert (len(checkpoint["hash"]), checkpoint["signature"]) == (64, None)


async def test_proofs_and_checkpoints_need_the_operators_scope(make_tenant: TenantMaker) -> None:
    client = await make_tenant(scopes=CLIENT_SCOPES)
    reader = await make_tenant(scopes=[Scope.OPERATIONS_READ])
    for path in ("/operations/proofs", "/operations/checkpoint"):
        problem_of(await client.call("GET", path), 403, "scope_missing")
        assert (await reader.call("GET", path)).status_code in {200, 404}
