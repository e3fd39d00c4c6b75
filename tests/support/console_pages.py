"""Every page of the console, by name and with its address for one business's data."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from playwright.async_api import Page, expect

from tests.support.api import Json
from tests.support.batches import post_batch, row
from tests.support.console_data import Business
from tests.support.served import locked_balance
from tests.support.stuck import broken_posting, broken_recording, promised, until_stuck
from tests.support.waiting import until


def pages_of(business: Business) -> Mapping[str, str]:
    """Name the pages and say where they are, behind ``/console``."""
    return {
        "overview": "/overview",
        "transfers": "/transfers",
        "transfers-search": "/transfers?state=SUCCESS&currency=EUR&amount_from=20&amount_to=100"
        "&metadata=channel%3Dapp",
        "transfers-empty": "/transfers?q=no-such-key",
        "transfer": f"/transfers/{business.reversed['id']}",
        "transfer-waiting": f"/transfers/{business.waiting[0]['id']}",
        "transfer-failed": f"/transfers/{business.failed['id']}",
        "transfer-hold": f"/transfers/{business.held['id']}",
        "stuck": "/stuck",
        "approvals": "/approvals",
        "batches": "/batches",
        "batch": f"/batches/{business.batch['id']}",
        "standing-orders": "/standing-orders",
        "standing-order": f"/standing-orders/{business.order['id']}",
        "accounts": "/accounts",
        "account": f"/accounts/{business.accounts[1]['id']}",
        "audit-log": "/audit-log",
        "api-keys": "/api-keys",
        "tenants": "/tenants",
        "not-found": "/nowhere",
    }


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong just now in a business.

    Parameters
    ----------
    stuck
        Transfers whose posting fails.
    accepted
        A transfer that Temporal alone knows.
    """

    stuck: Sequence[Json]
    accepted: Json

    def pages(self) -> Mapping[str, str]:
        """Name its pages and say where they are, behind ``/console``."""
        return {
            "transfer-stuck": f"/transfers/{self.stuck[0]['id']}",
            "transfer-accepted": f"/transfers/{self.accepted['id']}",
        }


async def preview(page: Page, address: str, stuck: Sequence[Json], action: str) -> None:
    """Ask what an action would do with stuck transfers."""
    await page.goto(f"{address}/stuck?cause=activity_failing")
    boxes = [page.locator(f"#stuck-{transfer['id']} input") for transfer in stuck]
    for box in boxes:
        await expect(box).to_be_visible()
    for box in boxes:
        await box.check()
    await page.get_by_label("Action").select_option(action)
    await page.get_by_label("Reason").fill("The disk has space again")
    await page.get_by_role("button", name="Preview what is ticked").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("what would happen")


@asynccontextmanager
async def in_trouble(business: Business, database_url: str) -> AsyncIterator[Trouble]:
    """Let steps of a business fail in PostgreSQL until the block ends."""
    maker, source = business.maker, business.accounts[0]
    broken, unrecorded = await maker.account(), await maker.account(balance=100_000)
    async with (
        broken_posting(database_url, broken),
        broken_recording(database_url, unrecorded),
    ):
        stuck = [await promised(maker, source, broken, amount=amount) for amount in (48_000, 9_950)]
        accepted = await promised(maker, unrecorded, source, amount=17_500)
        for transfer in (*stuck, accepted):
            await until_stuck(business.operator, transfer["id"], "activity_failing")
        yield Trouble(stuck, accepted)


@asynccontextmanager
async def running_batch(business: Business, database_url: str, *, rows: int) -> AsyncIterator[Json]:
    """Hold a batch up behind its first chunk until the block ends.

    Parameters
    ----------
    rows
        Two chunks at least.
    """
    maker, (source, _, destination) = business.maker, business.accounts[:3]
    locked = await maker.account(balance=100_000)
    sources = [source if number < rows // 2 else locked for number in range(rows)]
    made = [
        row(1_200 + 7 * (number % 90), source=each["id"], destination=destination["id"])
        for number, each in enumerate(sources)
    ]
    async with locked_balance(database_url, locked["id"]):
        response = await post_batch(maker, made, prefer=None, description="Payroll, July")
        batch: Json = response.json()

        async def has_begun() -> bool:
            found = await maker.get(f"/transfer-batches/{batch['id']}")
            return bool(found["counts"]["succeeded"])

        await until(has_begun)
        yield batch
