"""The import against an API that lives in memory, fails on demand and sees the order of things."""

import asyncio
import io
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.api_client import ApiClient, RetryPolicy
from runtime.import_files import AccountFile, ImportFileError, RejectsFile, TransferFile
from runtime.importing import Importer, ImportStopped

FAST = RetryPolicy(max_seconds=1.0, first_delay_seconds=0.001, max_delay_seconds=0.005)
SEED = 11
ACCOUNTS = "external_id,user_external_id,currency\na,u1,EUR\nb,u1,EUR\nc,u2,EUR\n"
HEADER = "idempotency_key,type,account,source,destination,amount,currency\n"


class Api:
    """Just enough of the API; balances may not become negative."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.balances: dict[str, int] = {}
        self.outcomes: dict[str, httpx.Response] = {}
        self.keys_in_order: list[str] = []
        self.failing: list[httpx.Response] = []
        self.promises = 0
        self._chance = random.Random(SEED)  # noqa: S311 - nothing here is secret

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        for _ in range(self._chance.randrange(5)):
            await asyncio.sleep(0)
        if self.failing and request.url.path == "/v1/transfers":
            return self.failing.pop()
        if request.method == "GET":
            return self._read(request)
        body = json.loads(request.content)
        if request.url.path == "/v1/transfers":
            return self._transfer(request.headers["Idempotency-Key"], body)
        return self._make(request.url.path, body)

    def _make(self, path: str, body: dict[str, Any]) -> httpx.Response:
        name = f"{path}?{body['external_id']}"
        if name in self.objects:
            return problem(409, "external_id_taken")
        number = str(1000 + len(self.objects))
        made = {"id": f"id-{len(self.objects)}", "account_number": number, **body}
        self.objects[name] = made
        self.balances[made["id"]] = 0
        return httpx.Response(201, json=made)

    def _read(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, request.url.params
        if "external_id" in query:
            found = self.objects.get(f"{path}?{query['external_id']}")
            return httpx.Response(200, json={"data": [found] if found else []})
        account_id = self._account(path.removeprefix("/v1/accounts/"))
        if account_id is None:
            return problem(404, "account_not_found")
        return httpx.Response(200, json={"id": account_id})

    def _account(self, name: str) -> str | None:
        for key, made in self.objects.items():
            names = {made["id"], made["account_number"], f"ext:{made['external_id']}"}
            if key.startswith("/v1/accounts") and name in names:
                return str(made["id"])
        return None

    def _transfer(self, key: str, body: dict[str, Any]) -> httpx.Response:
        if self.promises:
            self.promises -= 1
            return httpx.Response(202, json={"id": "t"})
        if key in self.outcomes:
            earlier = self.outcomes[key]
            headers = {"Idempotency-Replayed": "true"}
            return httpx.Response(earlier.status_code, content=earlier.content, headers=headers)
        self.keys_in_order.append(key)
        sides = {
            side: self._account(body[side]) for side in ("source", "destination") if side in body
        }
        if not sides or None in sides.values():
            return problem(422, "account_not_found")
        source, destination, amount = (
            sides.get("source"),
            sides.get("destination"),
            int(body["amount"]),
        )
        if source and self.balances[source] < amount:
            self.outcomes[key] = problem(422, "insufficient_funds")
            return self.outcomes[key]
        if source:
            self.balances[source] -= amount
        if destination:
            self.balances[destination] += amount
        self.outcomes[key] = httpx.Response(201, json={"id": key})
        return self.outcomes[key]


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "code": code, "detail": f"it is {code}"})


class Watcher:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.parts: dict[str, int] = {}
        self.advances = 0

    def began(self, what: str, total: int) -> None:
        self.parts[what] = total

    def advanced(self, rows: int = 1) -> None:
        self.advances += rows


class Import:
    """Imports files with the given content."""

    def __init__(self, folder: Path, api: Api) -> None:
        self.folder = folder
        self.api = api
        self.watcher = Watcher()
        self.rejects = io.StringIO()

    async def __call__(self, transfers: str, accounts: str = ACCOUNTS) -> dict[str, Any]:
        async with self._importer(transfers, accounts) as (importer, files):
            return (await importer.run(*files)).document()

    @asynccontextmanager
    async def _importer(
        self, transfers: str, accounts: str
    ) -> AsyncIterator[tuple[Importer, tuple[AccountFile, TransferFile]]]:
        accounts_path, transfers_path = self.folder / "accounts.csv", self.folder / "transfers.csv"
        accounts_path.write_text(accounts)
        transfers_path.write_text(transfers)
        files = AccountFile(accounts_path), TransferFile(transfers_path)
        transport = httpx.MockTransport(self.api)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            rejects = RejectsFile(self.rejects, files[1].columns)
            api = ApiClient(http, retries=FAST)
            yield (
                Importer(api, concurrency=8, watcher=self.watcher, rejects=rejects),
                files,
            )


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def run(tmp_path: Path, api: Api) -> Import:
    return Import(tmp_path, api)


async def test_users_and_accounts_are_made_once_and_transfers_follow(run: Import, api: Api) -> None:
    report = await run(f"{HEADER}k1,DEPOSIT,ext:a,,,100,EUR\nk2,INTERNAL,,ext:a,ext:c,40,EUR\n")
    assert report == {
        "rows": 2,
        "succeeded": 2,
        "replayed": 0,
        "rejected": 0,
        "failed": {},
        "users_created": 2,
        "accounts_created": 3,
    }
    assert run.watcher.parts == {"accounts": 3, "transfers": 2}
    assert run.watcher.advances == 5
    assert sorted(api.balances.values()) == [0, 0, 0, 40, 60]


async def test_the_same_files_again_move_nothing(run: Import, api: Api) -> None:
    transfers = f"{HEADER}k1,DEPOSIT,ext:a,,,100,EUR\nk2,WITHDRAWAL,ext:a,,,30,EUR\n"
    await run(transfers)
    before = dict(api.balances)
    report = await run(transfers)
    assert (report["succeeded"], report["replayed"], report["rejected"]) == (0, 2, 0)
    assert (report["users_created"], report["accounts_created"]) == (0, 0)
    assert api.balances == before


async def test_rows_of_an_account_keep_their_order_by_whichever_name_it_goes(
    run: Import, api: Api
) -> None:
    await run(f"{HEADER}first,DEPOSIT,ext:a,,,1,EUR\n")
    accounts = {made["external_id"]: made for made in api.objects.values()}
    chance = random.Random(SEED)  # noqa: S311 - nothing here is secret
    rows, named = [], []
    for number in range(200):
        source, destination = chance.sample("abc", 2)
        forms = ("ext:{external_id}", "{id}", "{account_number}")
        names = [chance.choice(forms).format(**accounts[each]) for each in (source, destination)]
        rows.append(f"k{number},INTERNAL,,{names[0]},{names[1]},0,EUR\n")
        named.append({source, destination})
    await run(HEADER + "".join(rows))
    order = [int(key[1:]) for key in api.keys_in_order if key != "first"]
    assert len(order) == 200
    for account in "abc":
        of_account = [number for number in order if account in named[number]]
        assert of_account == sorted(of_account)


async def test_rows_that_move_no_money_are_kept_with_the_reason(run: Import) -> None:
    report = await run(
        f"{HEADER}k1,WITHDRAWAL,ext:a,,,5,EUR\nk2,DEPOSIT,ext:nobody,,,5,EUR\n"
        "k 3,DEPOSIT,ext:a,,,5,EUR\nk4,DEPOSIT,ext:a,,,5,EUR\n"
    )
    assert (report["rows"], report["succeeded"], report["rejected"]) == (4, 1, 3)
    assert report["failed"] == {
        "insufficient_funds": 1,
        "account_not_found": 1,
        "idempotency_key_invalid": 1,
    }
    lines = run.rejects.getvalue().splitlines()
    assert lines[0] == HEADER.strip() + ",code,detail"
    assert "k1,WITHDRAWAL,ext:a,,,5,EUR,insufficient_funds,it is insufficient_funds" in lines
    assert len(lines) == 4


async def test_an_api_that_is_away_for_a_while_is_waited_for(run: Import, api: Api) -> None:
    api.failing = [problem(503, "database_unavailable"), problem(429, "too_many")]
    report = await run(f"{HEADER}k1,DEPOSIT,ext:a,,,5,EUR\n")
    assert report["succeeded"] == 1


async def test_an_api_that_stays_away_stops_the_import_and_nothing_overtakes(
    run: Import, api: Api
) -> None:
    api.failing = [problem(503, "database_unavailable")] * 10_000
    with pytest.raises(ImportStopped, match="database_unavailable"):
        await run(f"{HEADER}k1,DEPOSIT,ext:a,,,5,EUR\nk2,WITHDRAWAL,ext:a,,,5,EUR\n")
    api.failing = []
    assert api.keys_in_order == []
    report = await run(f"{HEADER}k1,DEPOSIT,ext:a,,,5,EUR\nk2,WITHDRAWAL,ext:a,,,5,EUR\n")
    assert report["succeeded"] == 2


async def test_a_key_that_is_refused_stops_the_import(run: Import, api: Api) -> None:
    api.failing = [problem(401, "unauthenticated")]
    with pytest.raises(ImportStopped, match="unauthenticated"):
        await run(f"{HEADER}k1,DEPOSIT,ext:a,,,5,EUR\n")


async def test_the_next_row_waits_until_a_transfer_is_final(run: Import, api: Api) -> None:
    api.promises = 3
    report = await run(f"{HEADER}k1,DEPOSIT,ext:a,,,5,EUR\nk2,WITHDRAWAL,ext:a,,,5,EUR\n")
    assert report["succeeded"] == 2


async def test_an_account_that_exists_otherwise_is_told_before_any_transfer(
    run: Import, api: Api
) -> None:
    await run(f"{HEADER}k1,DEPOSIT,ext:a,,,5,EUR\n")
    with pytest.raises(ImportFileError, match=r"accounts.csv, line 2: account a .* currency EUR"):
        await run(
            f"{HEADER}k2,DEPOSIT,ext:a,,,5,USD\n",
            "external_id,user_external_id,currency\na,u1,USD\n",
        )
    assert api.keys_in_order == ["k1"]


async def test_a_bad_line_at_the_end_keeps_all_from_being_done(run: Import, api: Api) -> None:
    with pytest.raises(ImportFileError, match=r"transfers.csv, line 3: 2 fields"):
        await run(f"{HEADER}k1,DEPOSIT,ext:a,,,5,EUR\nk2,oops\n")
    with pytest.raises(ImportFileError, match=r"accounts.csv, line 5: "):
        await run(f"{HEADER}k1,DEPOSIT,ext:a,,,5,EUR\n", f"{ACCOUNTS}d,u3,XXX\n")
    assert api.objects == {}
