from tests.support.api import Client


async def test_a_transfer_moves_money_between_accounts(tenant: Client) -> None:
    source = await tenant.account(balance=1_000)
    destination = await tenant.account()
    transfer = await tenant.transfer(source=source["id"], destination=destination["id"], amount=300)
    assert (transfer["state"], transfer["stage"]) == ("SUCCESS", "COMPLETED")
    assert await tenant.posted(source["id"]) == 700
    assert await tenant.posted(destination["id"]) == 300
