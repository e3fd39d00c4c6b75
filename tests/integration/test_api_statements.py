"""Statements over the API: what they hold, by what their period goes, and what they refuse."""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pypdf
import pytest

from tests.support.api import Client, Json, new_key, problem_of
from tests.support.tenants import TenantMaker

FORMATS = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8; header=present",
    "pdf": "application/pdf",
}


async def statement(tenant: Client, account: str, **params: Any) -> Json:
    return await tenant.get(f"/accounts/{account}/statement", **params)


async def raw(tenant: Client, account: str, **params: Any) -> httpx.Response:
    query = {name.rstrip("_"): value for name, value in params.items()}
    response = await tenant.call("GET", f"/accounts/{account}/statement", params=query)
    assert response.status_code == 200, response.text
    return response


async def csv_rows(tenant: Client, account: str, **params: Any) -> list[dict[str, str]]:
    text = (await raw(tenant, account, format="csv", **params)).content.decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def pdf_pages(tenant: Client, account: str, **params: Any) -> list[str]:
    content = (await raw(tenant, account, format="pdf", **params)).content
    # The reader puts NUL beside the characters of some fonts.
    return [
        page.extract_text().replace("\0", "") for page in pypdf.PdfReader(io.BytesIO(content)).pages
    ]


async def used_account(tenant: Client, currency: str = "EUR") -> Json:
    """Open an account, and move 1000 in, 200 out to another one, and 50 out of the system."""
    account, other = await tenant.account(currency), await tenant.account(currency)
    await tenant.deposit(account["id"], 1_000, currency)
    await tenant.transfer(
        source=account["id"],
        destination=other["id"],
        amount=200,
        currency=currency,
        description="Rent, May",
    )
    await tenant.withdraw(account["id"], 50, currency)
    return account | {"other": other}


async def test_a_statement_leads_from_nothing_to_the_present_balance(tenant: Client) -> None:
    account = await used_account(tenant)

    found = await statement(tenant, account["id"])

    assert (found["opening_balance"], found["closing_balance"]) == (0, 750)
    assert (found["total_credits"], found["credit_count"]) == (1_000, 1)
    assert (found["total_debits"], found["debit_count"]) == (250, 2)
    assert datetime.fromisoformat(found["from"]) == datetime.fromisoformat(account["created_at"])
    assert found["to"] == found["generated_at"]
    assert found["account"] == {
        "id": account["id"],
        "account_number": account["account_number"],
        "external_id": None,
        "kind": "CUSTOMER",
        "currency": "EUR",
        "exponent": 2,
        "holder": "Ada",
    }


async def test_the_entries_of_a_statement_are_those_of_the_ledger_and_tell_more(
    tenant: Client,
) -> None:
    account = await used_account(tenant)
    ledger = (await tenant.get(f"/accounts/{account['id']}/entries", order="asc"))["data"]

    entries = (await statement(tenant, account["id"]))["entries"]

    assert [{name: entry[name] for name in ledger[0]} for entry in entries] == ledger
    assert [entry["type"] for entry in entries] == ["DEPOSIT", "INTERNAL", "WITHDRAWAL"]
    assert [entry["description"] for entry in entries] == [None, "Rent, May", None]
    assert entries[1]["counterparty_id"] == account["other"]["id"]
    assert entries[1]["counterparty_account_number"] == account["other"]["account_number"]


@pytest.mark.parametrize(
    ("first", "behind", "opening", "closing"),
    [(0, 1, 0, 1_000), (0, 3, 0, 750), (1, 2, 1_000, 800), (1, 3, 1_000, 750), (2, 3, 800, 750)],
)
async def test_a_period_holds_what_was_recorded_in_it_and_the_balances_around(
    tenant: Client, first: int, behind: int, opening: int, closing: int
) -> None:
    account = await used_account(tenant)
    entries = (await statement(tenant, account["id"]))["entries"]
    times = [entry["created_at"] for entry in entries] + ["2199-01-01T00:00:00Z"]

    found = await statement(tenant, account["id"], from_=times[first], to=times[behind])

    assert found["entries"] == entries[first:behind]
    assert (found["opening_balance"], found["closing_balance"]) == (opening, closing)
    assert (found["from"], found["to"]) == (times[first], times[behind])


async def test_periods_that_meet_share_the_balance_where_they_meet(tenant: Client) -> None:
    account = await used_account(tenant)
    entries = (await statement(tenant, account["id"]))["entries"]
    cuts = [datetime.fromisoformat(entry["created_at"]) for entry in entries]
    cuts = [cuts[0] - timedelta(hours=1), *cuts, cuts[-1] + timedelta(hours=1)]

    found = [
        await statement(tenant, account["id"], from_=begin.isoformat(), to=end.isoformat())
        for begin, end in pairwise(cuts)
    ]

    assert [entry for each in found for entry in each["entries"]] == entries
    for earlier, later in pairwise(found):
        assert earlier["closing_balance"] == later["opening_balance"]


@pytest.mark.parametrize(
    ("period", "balance"),
    [
        ({"from_": "2190-01-01T00:00:00Z"}, 750),
        ({"from_": "2190-01-01T00:00:00Z", "to": "2190-01-01T00:00:00Z"}, 750),
        ({"to": "2000-01-01T00:00:00Z"}, 0),
    ],
)
async def test_a_period_without_entries_has_a_balance_and_no_lines(
    tenant: Client, period: dict[str, str], balance: int
) -> None:
    account = await used_account(tenant)

    found = await statement(tenant, account["id"], **period)
    rows = await csv_rows(tenant, account["id"], **period)
    (page,) = await pdf_pages(tenant, account["id"], **period)

    assert (found["opening_balance"], found["closing_balance"]) == (balance, balance)
    assert (found["entries"], found["debit_count"], found["credit_count"]) == ([], 0, 0)
    assert found["from"] <= found["to"]
    assert [row["kind"] for row in rows] == ["OPENING", "TOTAL", "TOTAL", "CLOSING"]
    assert "No entries in this period." in page


async def test_the_period_goes_by_recording_and_not_by_when_money_counts(tenant: Client) -> None:
    account = await tenant.account()
    await tenant.transfer(
        type="DEPOSIT",
        destination=account["id"],
        amount=100,
        effective_at="2026-01-01T00:00:00Z",
    )

    found = await statement(tenant, account["id"], from_="2026-02-01T00:00:00Z")

    assert [entry["effective_at"] for entry in found["entries"]] == ["2026-01-01T00:00:00Z"]


async def test_an_account_is_named_in_any_way(tenant: Client) -> None:
    account = await tenant.account(balance=5, external_id="ada-eur")
    for name in (account["id"], account["account_number"], "ext:ada-eur"):
        assert (await statement(tenant, name))["closing_balance"] == 5


async def test_a_settlement_account_has_a_statement_too(tenant: Client) -> None:
    await used_account(tenant)
    accounts = (await tenant.get("/accounts"))["data"]
    system = next(account for account in accounts if account["kind"] == "SYSTEM")

    found = await statement(tenant, system["id"])
    (page,) = await pdf_pages(tenant, system["id"])

    assert (found["closing_balance"], found["account"]["holder"]) == (-950, None)
    assert "Settlement account" in page
    assert "-9.50" in page


@pytest.mark.parametrize(
    ("currency", "opening", "rent", "closing"),
    [
        ("JPY", "0", "200", "750"),
        ("EUR", "0.00", "2.00", "7.50"),
        ("KWD", "0.000", "0.200", "0.750"),
    ],
)
async def test_amounts_have_the_decimal_places_of_their_currency(
    tenant: Client, currency: str, opening: str, rent: str, closing: str
) -> None:
    account = await used_account(tenant, currency)

    rows = await csv_rows(tenant, account["id"])
    (page,) = await pdf_pages(tenant, account["id"])

    kinds = ["OPENING", "ENTRY", "ENTRY", "ENTRY", "TOTAL", "TOTAL", "CLOSING"]
    assert [row["kind"] for row in rows] == kinds
    assert (rows[0]["balance"], rows[2]["amount"], rows[-1]["balance"]) == (opening, rent, closing)
    assert [row["balance_minor"] for row in rows[:4]] == ["0", "1000", "800", "750"]
    assert [(row["direction"], row["amount_minor"], row["count"]) for row in rows[4:6]] == [
        ("DEBIT", "250", "2"),
        ("CREDIT", "1000", "1"),
    ]
    assert {rent, closing} <= set(page.split())


async def test_csv_is_that_of_rfc_4180_and_runs_no_formula(tenant: Client) -> None:
    account, other = await tenant.account(balance=100), await tenant.account()
    texts = ['=HYPERLINK("http://x","y")', 'a "quoted", text', "-1+1", "@SUM", "Ωλ 世界", "'=1"]
    for text in texts:
        await tenant.transfer(
            source=account["id"], destination=other["id"], amount=1, description=text
        )

    content = (await raw(tenant, account["id"], format="csv")).content.decode()
    rows = await csv_rows(tenant, account["id"])

    assert content.count("\r\n") == content.count("\n") == len(rows) + 1
    assert '"a ""quoted"", text"' in content
    found = [row["description"] for row in rows if row["kind"] == "ENTRY"][1:]
    guarded = {texts[0], texts[2], texts[3], texts[5]}
    assert found == [f"'{text}" if text in guarded else text for text in texts]


async def test_a_pdf_reads_as_the_statement_it_is(tenant: Client) -> None:
    account = await used_account(tenant)
    await tenant.transfer(
        source=account["id"],
        destination=account["other"]["id"],
        amount=123_45 - 11_800,
        description="Grüße, Ωλ, Привет {nb}",
    )

    response = await raw(tenant, account["id"], format="pdf")
    reader = pypdf.PdfReader(io.BytesIO(response.content))
    (page,) = [page.extract_text() for page in reader.pages]

    assert reader.metadata is not None
    grouped = " ".join(account["account_number"][at : at + 4] for at in range(0, 16, 4))
    assert grouped in (reader.metadata.title or "")
    assert (reader.metadata.author or "").startswith("tenant-")
    for text in ("Ada", grouped, "Opening balance", "Rent, May", "Grüße, Ωλ, Привет {nb}"):
        assert text in page
    for text in ("10.00", "2.00", "0.50", "5.45", "7.95", "2.05", "Page 1 of 1"):
        assert text in page


async def test_a_long_pdf_repeats_its_head_carries_balances_over_and_counts_its_pages(
    tenant: Client,
) -> None:
    account = await tenant.account()
    await asyncio.gather(*(tenant.deposit(account["id"], 1) for _ in range(60)))

    pages = await pdf_pages(tenant, account["id"])

    assert len(pages) == 2
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of 2" in page
        assert "Counterparty" in page
    assert "Carried forward" in pages[0]
    assert "Brought forward" in pages[1]
    assert (
        pages[0].split("Carried forward")[1].split()[0]
        == (pages[1].split("Brought forward")[1].split()[0])
    )
    assert "Closing balance" in pages[1]


async def test_any_text_that_a_client_may_send_can_be_set(tenant: Client) -> None:
    account, other = await tenant.account(balance=100), await tenant.account()
    texts = [
        "مرحبا بالعالم 123",
        "שלום",
        "नमस्ते क्षत्रिय",
        "😀🎉👩‍👩‍👧",
        "家賃 五月 你好 한국어",
        "\u202eevil\u202c \ue000 \U0010fffd \u200b\u2028",
        "x" * 1_000,
        " ".join(["family 👨‍👩‍👧 مرحبا"] * 40),
        "e\u0301\u0302\u0303" * 20,
    ]
    for text in texts:
        await tenant.transfer(
            source=account["id"], destination=other["id"], amount=1, description=text
        )

    text = "\n".join(await pdf_pages(tenant, account["id"]))

    assert all(part in text for part in ("家賃", "五月", "你好", "한국어"))
    assert "evil \N{REPLACEMENT CHARACTER}" in text
    assert "xxx…" in text


async def test_the_largest_amounts_have_room(tenant: Client) -> None:
    account = await tenant.account(balance=10**30)
    await tenant.deposit(account["id"], 10**30)

    found = await statement(tenant, account["id"])
    (page,) = await pdf_pages(tenant, account["id"])

    assert found["closing_balance"] == 2 * 10**30
    assert "20,000,000,000,000,000,000,000,000,000.00" in page


@pytest.mark.parametrize("name", FORMATS)
async def test_each_format_comes_as_a_named_file_of_its_own_type(tenant: Client, name: str) -> None:
    account = await tenant.account(balance=1)
    period = {"from_": "2026-01-01T00:00:00Z", "to": "2199-02-01T00:00:00Z"}

    response = await raw(tenant, account["id"], format=name, **period)

    assert response.headers["content-type"] == FORMATS[name]
    number = account["account_number"]
    file_name = f'filename="statement-{number}-2026-01-01-2199-02-01.{name}"'
    assert file_name in response.headers["content-disposition"]
    assert int(response.headers["content-length"]) == len(response.content)
    assert "no-store" in response.headers["cache-control"]


@pytest.mark.parametrize(
    ("accept", "given", "name"),
    [
        ("application/pdf", None, "pdf"),
        ("text/csv", None, "csv"),
        ("text/html, application/pdf;q=0.5, text/csv;q=0.9", None, "csv"),
        ("*/*", None, "json"),
        ("text/html", None, "json"),
        ("application/pdf", "csv", "csv"),
    ],
)
async def test_the_header_accept_chooses_where_no_format_is_named(
    tenant: Client, accept: str, given: str | None, name: str
) -> None:
    account = await tenant.account()
    response = await tenant.call(
        "GET",
        f"/accounts/{account['id']}/statement",
        params={"format": given} if given else {},
        headers={"Accept": accept},
    )
    assert response.headers["content-type"] == FORMATS[name]


@pytest.mark.parametrize(
    ("params", "field", "told"),
    [
        ({"format": "xml"}, "format", "'json', 'csv' or 'pdf'"),
        ({"from": "yesterday"}, "from", "RFC 3339"),
        ({"to": "2026-01-01"}, "to", "RFC 3339"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T23:59:59Z"}, "from", "later than to"),
    ],
)
async def test_a_wrong_request_is_refused_by_the_name_of_the_field(
    tenant: Client, params: dict[str, str], field: str, told: str
) -> None:
    account = await tenant.account()
    response = await tenant.call("GET", f"/accounts/{account['id']}/statement", params=params)
    (error,) = problem_of(response, 422, "validation_failed")["errors"]
    assert error["field"] == field
    assert told in error["message"]


@pytest.mark.parametrize("name", FORMATS)
async def test_another_tenants_account_has_no_statement_here(
    tenant: Client, make_tenant: TenantMaker, name: str
) -> None:
    foreign = await (await make_tenant()).account(external_id="theirs")
    for reference in (foreign["id"], foreign["account_number"], "ext:theirs"):
        response = await tenant.call(
            "GET", f"/accounts/{reference}/statement", params={"format": name}
        )
        problem_of(response, 404, "account_not_found")


async def test_statements_add_up_while_money_moves(tenant: Client) -> None:
    one, two = await tenant.account(balance=1_000), await tenant.account(balance=1_000)
    is_done = asyncio.Event()

    async def move(source: Json, destination: Json) -> None:
        while not is_done.is_set():
            response = await tenant.post_transfer(
                key=new_key(),
                source=source["id"],
                destination=destination["id"],
                amount=3,
                currency="EUR",
            )
            assert response.status_code in {201, 202, 422, 503}

    moving = [
        asyncio.create_task(move(*pair)) for pair in ((one, two), (two, one)) for _ in range(4)
    ]
    counts = []
    for _ in range(20):
        found = await statement(tenant, one["id"])
        balance = found["opening_balance"]
        for entry in found["entries"]:
            balance += entry["amount"] * (1 if entry["direction"] == "CREDIT" else -1)
            assert entry["balance_after"] == balance
        assert balance == found["closing_balance"]
        assert found["total_credits"] - found["total_debits"] == balance
        counts.append(len(found["entries"]))
    is_done.set()
    await asyncio.gather(*moving)
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


async def test_a_statement_of_now_ends_now(tenant: Client) -> None:
    account = await tenant.account()
    before = datetime.now(UTC)
    found = await statement(tenant, account["id"])
    assert abs(datetime.fromisoformat(found["to"]) - before) < timedelta(minutes=1)


async def test_the_documentation_tells_of_all_three_formats(tenant: Client) -> None:
    document = (await tenant.http.get("/openapi.json")).json()
    operation = document["paths"]["/v1/accounts/{account}/statement"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json",
        "text/csv",
        "application/pdf",
    }
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/StatementView"}
    assert "from" in document["components"]["schemas"]["StatementView"]["properties"]
