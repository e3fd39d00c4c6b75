"""Every page of the console, by name and with its address for one business's data."""

from collections.abc import Mapping

from tests.support.console_data import Business


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
        "account": f"/accounts/{business.accounts[0]['id']}",
        "audit-log": "/audit-log",
        "api-keys": "/api-keys",
        "tenants": "/tenants",
        "not-found": "/nowhere",
    }
