"""What the console's pages show, and what their forms do."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from domain.access import Scope
from domain.stuck import StuckCount
from persistence.samples import ProofSample
from runtime.composition import Services
from tests.support.api import Client, Json
from tests.support.batches import row, run_batch
from tests.support.console import ConsoleClient, console_of
from tests.support.samples import sample, slot_ago
from tests.support.standing_orders import make_order
from tests.support.tenants import TenantMaker
from tests.support.waiting import until


@dataclass(frozen=True, slots=True)
class Scene:
    """Two accounts, of which the first has 1,000.00 EUR, and two transfers between them."""

    tenant: Client
    console: ConsoleClient
    source: Json
    destination: Json
    tagged: Json
    failed: Json

    async def found(self, **fields: str) -> set[str]:
        """Search, and give the ids of the transfers that the page lists."""
        page = await self.console.page(f"/transfers?{urlencode(fields)}")
        return set(re.findall(r'<tr id="transfer-([0-9a-f-]{36})"', page))


@pytest.fixture
async def scene(tenant: Client) -> AsyncIterator[Scene]:
    source, destination = await tenant.account(balance=100_000), await tenant.account()
    sides = {"source": source["id"], "destination": destination["id"]}
    tagged = await tenant.transfer(
        key="rent-7", amount=12_345, metadata={"invoice": 4711, "channel": "app"}, **sides
    )
    response = await tenant.post_transfer(key="too-much", amount=10**9, currency="EUR", **sides)
    async with console_of(tenant) as console:
        yield Scene(
            tenant, console, source, destination, tagged, failed=response.json()["transfer"]
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"q": "rent-7"},
        {"state": "SUCCESS", "type": "INTERNAL"},
        {"currency": "eur", "amount_from": "123.45", "amount_to": "123.45"},
        {"metadata": "invoice=4711"},
        {"metadata": 'channel="app"'},
        {"metadata": "channel=app", "from": "2020-01-01T00:00", "state": "SUCCESS"},
    ],
)
async def test_a_transfer_is_found_by_what_is_known_of_it(
    scene: Scene, fields: dict[str, str]
) -> None:
    assert await scene.found(**fields) == {scene.tagged["id"]}


async def test_a_transfer_is_found_by_its_account_under_each_of_its_names(scene: Scene) -> None:
    wanted = {scene.tagged["id"], scene.failed["id"]}
    for name in (scene.destination["id"], scene.destination["account_number"]):
        assert await scene.found(account=name) == wanted
    assert await scene.found(q=scene.destination["account_number"]) == wanted
    assert await scene.found(account="ext:nobody") == set()


async def test_an_id_leads_to_what_has_it(scene: Scene) -> None:
    for kind, thing in (("transfers", scene.tagged), ("accounts", scene.source)):
        response = await scene.console.http.get(f"/transfers?q={thing['id']}")
        assert response.headers["location"] == f"/console/{kind}/{thing['id']}"


@pytest.mark.parametrize(
    "fields",
    [
        {"to": "2020-01-01T00:00"},
        {"metadata": "invoice=4712"},
        {"metadata": 'invoice="4711"'},
        {"currency": "USD"},
        {"q": "rent"},
    ],
)
async def test_what_does_not_fit_is_not_found(scene: Scene, fields: dict[str, str]) -> None:
    assert await scene.found(**fields) == set()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"amount_from": "12"}, "needs a currency beside it"),
        ({"currency": "EUR", "amount_from": "a lot"}, "is no amount"),
        ({"currency": "EUR", "amount_to": "1e999999999"}, "is no amount"),
        ({"currency": "XXX"}, "is no currency"),
        ({"from": "yesterday"}, "is no time"),
        ({"metadata": "invoice"}, "is written as name=value"),
        ({"type": "GIFT"}, "cannot be searched for"),
        ({"state": "LOST"}, "cannot be searched for"),
    ],
)
async def test_a_search_that_cannot_be_is_explained(
    scene: Scene, fields: dict[str, str], said: str
) -> None:
    assert said in await scene.console.page(f"/transfers?{urlencode(fields)}")


async def test_a_list_goes_on_where_its_page_ends(tenant: Client) -> None:
    account = await tenant.account()
    rows = [row(1, type="DEPOSIT", destination=account["id"]) for _ in range(60)]
    await run_batch(tenant, rows)
    async with console_of(tenant) as console:
        first = await console.page("/transfers?state=SUCCESS")
        [older] = re.findall(r'rel="next" href="/console([^"]+)"', first)
        second = await console.page(older.replace("&amp;", "&"))
    ids = [re.findall(r'<tr id="transfer-([^"]+)"', page) for page in (first, second)]
    assert [len(found) for found in ids] == [50, 10]
    assert len({*ids[0], *ids[1]}) == 60
    assert "hx-trigger" in first
    assert "hx-trigger" not in second


async def test_the_overview_counts_what_happened(scene: Scene) -> None:
    await scene.tenant.hold(
        source=scene.source["id"], destination=scene.destination["id"], amount=5_000
    )
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", await scene.console.page("/overview")))
    assert "Started 4 " in page
    assert "Success rate 66.67 %" in page
    assert "In flight 1 " in page
    assert "EUR 1 50.00 EUR" in page
    assert "insufficient_funds 1 " in page


async def test_the_overview_shows_over_time_what_was_sampled(
    scene: Scene, services: Services, make_tenant: TenantMaker
) -> None:
    sides = {"source": scene.source["id"], "destination": scene.destination["id"]}
    await scene.tenant.hold(**sides, amount=5_000)
    other = await make_tenant()
    stuck = StuckCount({scene.tenant.tenant_id: 2, other.tenant_id: 1}, is_whole=False)
    assert await sample(services, slot_ago(minutes=40), stuck, ProofSample(1, age_seconds=200))
    page = await scene.console.page("/overview")
    for words in (
        "At most 1 in flight, now 1",
        "at least 3 stuck, 2 of this tenant",
        "At most 50.00 EUR held",
        "1 violation, last proved 3 min before",
        "no sample was taken",
    ):
        assert words in page
    reader = await make_tenant(scene.tenant.record.tenant_name, scopes=[Scope.TRANSFERS_READ])
    async with console_of(reader) as console:
        page = await console.page("/overview")
    assert "At most 1 in flight" in page
    assert "stuck" not in page.lower()
    assert "violation" not in page


async def test_a_worker_takes_samples_by_itself(scene: Scene) -> None:
    async def is_sampled() -> bool:
        page = await scene.console.page("/overview?period=15m")
        return "No samples in this period." not in page

    await until(is_sampled)


async def test_a_transfers_page_tells_all_of_it(scene: Scene) -> None:
    reversal = await scene.tenant.operate(scene.tagged, "reversals", amount=45)
    assert reversal.is_success
    page = await scene.console.page(f"/transfers/{scene.tagged['id']}")
    for text in ("123.45", "Reserved", "Posted", "Completed", "Debit", "Credit", "4711", "rent-7"):
        assert text in page
    assert reversal.json()["id"] in page
    workflow = await scene.console.page(f"/transfers/{scene.tagged['id']}/workflow")
    assert scene.tagged["workflow_id"] in workflow
    failed = await scene.console.page(f"/transfers/{scene.failed['id']}")
    assert "insufficient_funds" in failed
    assert "A failed transfer has none, for ever." in failed


async def test_what_clients_write_stays_text(scene: Scene) -> None:
    evil = "<script>alert(1)</script>"
    transfer = await scene.tenant.transfer(
        source=scene.source["id"],
        destination=scene.destination["id"],
        amount=1,
        key="<b>bold</b>",
        description=evil,
        metadata={evil: evil},
    )
    for path in (
        "/transfers",
        f"/transfers/{transfer['id']}",
        f"/transfers?{urlencode({'q': evil})}",
    ):
        page = await scene.console.page(path)
        assert evil not in page
        assert "<b>bold" not in page


@pytest.mark.parametrize(
    ("currency", "amount", "shown"),
    [("EUR", 123_456_789, "1,234,567.89"), ("JPY", 1_234, "1,234"), ("BHD", 1_234, "1.234")],
)
async def test_amounts_have_the_decimals_of_their_currency(
    tenant: Client, currency: str, amount: int, shown: str
) -> None:
    account = await tenant.account(currency, balance=amount)
    async with console_of(tenant) as console:
        page = await console.page(f"/accounts/{account['id']}")
    assert f'<span class="figure">{shown}</span> <span class="currency">{currency}</span>' in page


async def test_an_account_is_frozen_and_unfrozen_with_a_reason(scene: Scene) -> None:
    path = f"/accounts/{scene.source['id']}"
    response = await scene.console.send(f"{path}/freeze", page=path)
    assert response.status_code == 303
    assert "reason: must have 1 to" in await scene.console.page(path)
    assert (await scene.tenant.get(path))["status"] == "ACTIVE"
    response = await scene.console.send(f"{path}/freeze", page=path, reason="Card was stolen")
    assert response.headers["location"] == f"/console{path}"
    page = await scene.console.page(path)
    assert "Frozen: no money moves" in page
    assert (await scene.tenant.get(path))["status"] == "FROZEN"
    assert "Frozen: no money moves" not in await scene.console.page(path)
    await scene.console.send(f"{path}/unfreeze", page=path, reason="It was found again")
    assert (await scene.tenant.get(path))["status"] == "ACTIVE"


async def test_a_statement_is_downloaded(scene: Scene) -> None:
    path = f"/accounts/{scene.source['id']}/statement"
    response = await scene.console.http.get(f"{path}?from=&to=&format=csv")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/csv")
    response = await scene.console.http.get(f"{path}?from=2020-01-01&to=2020-01-31&format=pdf")
    assert response.content.startswith(b"%PDF")
    await scene.console.page(f"{path}?from=someday", status=422)


async def test_a_standing_order_is_paused_resumed_and_cancelled(scene: Scene) -> None:
    order = await make_order(
        scene.tenant,
        source=scene.source["id"],
        destination=scene.destination["id"],
        seconds=3600,
    )
    path = f"/standing-orders/{order['id']}"
    for verb, status in (("pause", "PAUSED"), ("resume", "ACTIVE"), ("cancel", "CANCELLED")):
        response = await scene.console.send(f"{path}/{verb}", page=path, reason="As agreed")
        assert response.status_code == 303
        assert (await scene.tenant.get(path))["status"] == status
        assert status.capitalize() in await scene.console.page(path)
    await scene.console.send(f"{path}/pause", page=path, reason="Too late")
    assert 'class="flash bad" role="alert"' in await scene.console.page(path)


async def test_a_finished_batch_shows_its_rows_and_cannot_be_cancelled(scene: Scene) -> None:
    sides = {"source": scene.source["id"], "destination": scene.destination["id"]}
    batch = await run_batch(scene.tenant, [row(5, **sides), row(10**9, **sides)])
    path = f"/batches/{batch['id']}"
    page = await scene.console.page(path)
    assert "2 of 2" in page
    assert "insufficient_funds" in page
    assert "/cancel" not in page
    assert "5.00" not in await scene.console.page(f"{path}?status=PENDING")
    await scene.console.send(f"/batches/{batch['id']}/cancel", page=path)
    assert "nothing to cancel" in await scene.console.page(path)


def secret_in(page: str) -> str:
    found = re.search(r'value="(trf_[^"]+)"', page)
    assert found is not None, page
    return found[1]


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/transfers/none", "/accounts/none", "/batches/none", "/standing-orders/none"],
)
async def test_what_is_not_there_has_a_page_that_says_so(scene: Scene, path: str) -> None:
    page = await scene.console.page(path, status=404)
    assert "Nothing here" in page
    assert "To the first page" in page


async def test_the_consoles_files_are_its_own(tenant: Client) -> None:
    async with ConsoleClient(tenant.api_url) as console:
        for name in ("console.css", "console.js", "htmx/htmx-2.0.11.min.js", "icon.svg"):
            response = await console.http.get(f"/static/{name}")
            assert response.status_code == 200
            assert "http://" not in response.text.replace("http://www.w3.org/", "")


async def test_an_operator_revokes_a_key_with_a_reason(
    scene: Scene, make_tenant: TenantMaker
) -> None:
    other = await make_tenant(scene.tenant.record.tenant_name)
    path = f"/api-keys/{other.record.id}/revoke"
    await scene.console.send(path, page="/api-keys")
    assert "reason: must have" in await scene.console.page("/api-keys")
    await scene.console.send(path, page="/api-keys", reason="It was in a chat")
    assert "Revoked" in await scene.console.page("/api-keys")
    assert (await other.call("GET", "/accounts")).status_code == 401
    assert "It was in a chat" in await scene.console.page("/audit-log?action=api_key.revoke")
    stranger = await make_tenant()
    path = f"/api-keys/{stranger.record.id}/revoke"
    response = await scene.console.send(path, page="/api-keys", reason="not mine")
    assert response.status_code == 404


async def test_a_key_is_made_and_rotated_and_its_secret_shown_once(
    scene: Scene, make_tenant: TenantMaker
) -> None:
    form = {"name": "till 4", "reason": "A new till", "expires_in_days": "30"}
    await scene.console.send("/api-keys", page="/api-keys", **form)
    assert "scopes: must be one at least" in await scene.console.page("/api-keys")
    made = await scene.console.send(
        "/api-keys", page="/api-keys", **form, **{"scope.accounts:read": "on"}
    )
    assert made.status_code == 200
    secret = secret_in(made.text)
    async with Client(scene.tenant.api_url, secret, scene.tenant.record) as till:
        assert (await till.call("GET", "/accounts")).status_code == 200
        assert (await till.call("GET", "/users")).status_code == 403
        (key,) = (k for k in (await scene.tenant.get("/api-keys"))["data"] if k["name"] == "till 4")
        path = f"/api-keys/{key['id']}/rotate"
        rotated = await scene.console.send(path, page="/api-keys", reason="Its turn")
        assert secret_in(rotated.text) != secret
        assert "is taken until" in rotated.text
        assert (await till.call("GET", "/accounts")).status_code == 200
    listed = await scene.console.page("/api-keys")
    assert secret not in listed
    assert "till 4" in listed
    stranger = await make_tenant()
    path = f"/api-keys/{stranger.record.id}/rotate"
    assert (await scene.console.send(path, page="/api-keys", reason="not mine")).status_code == 404
    clerk = await make_tenant(
        scene.tenant.record.tenant_name, scopes=frozenset({Scope.OPERATIONS_READ})
    )
    async with console_of(clerk) as console:
        assert "New key" not in await console.page("/api-keys")
        refused = await console.send(
            "/api-keys", page="/api-keys", **form, **{"scope.operations:read": "on"}
        )
        assert refused.status_code == 403


async def test_what_people_do_stands_in_the_audit_log_with_its_reason(scene: Scene) -> None:
    path = f"/accounts/{scene.source['id']}"
    await scene.console.send(f"{path}/freeze", page=path, reason="Card was stolen")
    page = await scene.console.page(f"/audit-log?subject={scene.source['id']}")
    assert "Account freeze" in page
    assert "Card was stolen" in page
    assert "operator" in page
    assert "Console session begin" in await scene.console.page("/audit-log")


async def test_the_evidence_of_a_transfer_is_downloaded(scene: Scene) -> None:
    path = f"/transfers/{scene.tagged['id']}/evidence"
    response = await scene.console.http.get(f"{path}?format=json")
    assert response.status_code == 200
    assert scene.tagged["fingerprint"] in response.text
    assert (await scene.console.http.get(path)).content.startswith(b"%PDF")
