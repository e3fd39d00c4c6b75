"""`transfers import` against the real stack: once, in order, and with nothing half-done."""

import csv
import re
from pathlib import Path

import pytest

from tests.support.api import Client
from tests.support.command import Command, Ending

HEADER = "idempotency_key,type,account,source,destination,amount,currency,note"


@pytest.fixture
def transfers(tenant: Client) -> Command:
    """Give the command for a new tenant."""
    return Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY=tenant.api_key)


class Files:
    """The two files of an import, and its rejects."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.options = options
        self.accounts = folder / "accounts.csv"
        self.transfers = folder / "transfers.csv"
        self.rejects = folder / "rejects.csv"
        self.accounts.write_text(
            "external_id,user_external_id,currency,overdraft_limit\n"
            "shop,u-1,EUR,0\ntill,u-1,EUR,500\nsafe,u-2,EUR,0\n"
        )

    def write(self, *rows: str) -> tuple[object, ...]:
        """Write transfers, and give the command's arguments."""
        self.transfers.write_text("\n".join([HEADER, *rows, ""]))
        named = (self.accounts, self.transfers, "--rejects", self.rejects)
        return ("import", *named, *self.options)

    def rejected(self) -> list[dict[str, str]]:
        with self.rejects.open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(params=[(), ("--one-by-one",)], ids=["in batches", "one by one"])
def files(tmp_path: Path, request: pytest.FixtureRequest) -> Files:
    return Files(tmp_path, *request.param)


def bars(ending: Ending) -> dict[str, str]:
    """Give how many rows each bar shows at the end as done, and of how many."""
    return dict(
        re.findall(r"^ *(accounts|transfers) \S+ +(\d+/\d+) ", ending.messages, re.MULTILINE)
    )


GOOD_ROWS = (
    "k1,DEPOSIT,ext:shop,,,1000,EUR,",
    "k2,,,ext:shop,ext:till,400,EUR,",
    'k3,WITHDRAWAL,ext:till,,,900,EUR,"within, the limit"',
    "k4,INTERNAL,,ext:shop,ext:safe,600,EUR,",
)


async def test_an_import_moves_money_once(transfers: Command, tenant: Client, files: Files) -> None:
    arguments = files.write(*GOOD_ROWS)
    first = await transfers.printed(*arguments, "--json")
    assert first.document == {
        "rows": 4,
        "succeeded": 4,
        "replayed": 0,
        "rejected": 0,
        "failed": {},
        "users_created": 2,
        "accounts_created": 3,
    }
    assert "columns that are not used: note" in first.messages
    assert bars(first) == {"accounts": "3/3", "transfers": "4/4"}
    balances = [await tenant.posted(f"ext:{name}") for name in ("shop", "till", "safe")]
    assert balances == [0, -500, 600]
    again = await transfers.printed(*arguments, "--concurrency", 1)
    assert "moved earlier (replayed) │     4" in again.output
    assert [await tenant.posted(f"ext:{name}") for name in ("shop", "till", "safe")] == balances
    assert files.rejected() == []


async def test_rows_that_move_no_money_stand_in_the_rejects(
    transfers: Command, tenant: Client, files: Files
) -> None:
    arguments = files.write(
        GOOD_ROWS[0],
        "bad-1,WITHDRAWAL,ext:safe,,,1,EUR,kept",
        "bad-2,DEPOSIT,ext:shop,,,12.50,EUR,",
        "bad-3,DEPOSIT,ext:nobody,,,5,EUR,",
        "bad-4,DEPOSIT,ext:shop,,,5,USD,",
        "bad-5,GIFT,ext:shop,,,5,EUR,",
        "k1,DEPOSIT,ext:shop,,,999,EUR,",
    )
    ending = await transfers(*arguments, "--json")
    assert ending.code == 1
    assert (ending.document["succeeded"], ending.document["rejected"]) == (1, 6)
    assert bars(ending) == {"accounts": "3/3", "transfers": "7/7"}
    codes = {row["idempotency_key"]: row["code"] for row in files.rejected()}
    assert codes == {
        "bad-1": "insufficient_funds",
        "bad-2": "validation_failed",
        "bad-3": "account_not_found",
        "bad-4": "currency_mismatch",
        "bad-5": "validation_failed",
        "k1": "idempotency_key_reused",
    }
    [kept] = [row for row in files.rejected() if row["note"]]
    assert (kept["note"], kept["amount"]) == ("kept", "1")
    assert "available, and the transfer needs 1." in kept["detail"]
    assert await tenant.posted("ext:shop") == 1000


async def test_an_import_that_cannot_work_does_nothing(
    transfers: Command, tenant: Client, files: Files
) -> None:
    arguments = files.write(*GOOD_ROWS, "short,row")
    said = await transfers.refused(*arguments)
    assert f"{files.transfers}, line 6: 2 fields, where the header has 8" in said
    missing = files.transfers.with_name("missing.csv")
    said = await transfers.refused("import", files.accounts, missing)
    assert f"{missing} cannot be read: No such file" in said
    overwriting = ("import", files.accounts, files.transfers, "--rejects", files.transfers)
    assert "would overwrite" in await transfers.refused(*overwriting)
    files.write(*GOOD_ROWS)
    wrong = Command(TRANSFERS_API_URL=tenant.api_url, TRANSFERS_API_KEY="wrong")
    assert "unauthenticated" in await wrong.refused("import", files.accounts, files.transfers)
    assert (await tenant.get("/users"))["data"] == []


async def test_rows_that_were_refused_are_tried_again_by_the_same_import(
    transfers: Command, tenant: Client, files: Files
) -> None:
    arguments = files.write(*GOOD_ROWS[:1], "new,DEPOSIT,ext:later,,,7,EUR,")
    first = await transfers(*arguments, "--json")
    assert (first.code, first.document["failed"]) == (1, {"account_not_found": 1})
    with files.accounts.open("a") as file:
        file.write("later,u-9,EUR,0\n")
    second = await transfers.printed(*arguments, "--json")
    assert (second.document["succeeded"], second.document["replayed"]) == (1, 1)
    assert bars(second) == {"accounts": "4/4", "transfers": "2/2"}
    assert await tenant.posted("ext:later") == 7
    third = await transfers.printed(*arguments, "--json")
    assert (third.document["succeeded"], third.document["replayed"]) == (0, 2)


async def test_a_key_that_comes_twice_with_one_meaning_moves_money_once(
    transfers: Command, tenant: Client, files: Files
) -> None:
    done = await transfers.printed(*files.write(GOOD_ROWS[0], GOOD_ROWS[0]), "--json")
    assert (done.document["succeeded"], done.document["replayed"]) == (1, 1)
    assert await tenant.posted("ext:shop") == 1000
