"""The local stack put together with this product's keys, commands and search attributes."""

from collections.abc import Mapping
from typing import Final

from domain.access import CLIENT_SCOPES, Scope
from runtime.composition import open_services
from runtime.local_stack import LocalStack
from runtime.part import Report, say_nothing
from runtime.stack_files import BootstrapKeys
from runtime.stack_options import LocalStackOptions
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES

LOCAL_TENANT: Final = "local"
CLIENT_KEY_NAME: Final = "local-api"
OPERATOR_KEY_NAME: Final = "local-operator"


def make_local_stack(
    options: LocalStackOptions,
    *,
    report: Report = say_nothing,
    environment: Mapping[str, str] | None = None,
) -> LocalStack:
    """Make the local stack of this product; nothing starts yet.

    Parameters
    ----------
    options
        Its folder and ports.
    report
        Takes lines of progress.
    environment
        Further environment variables of its API and its worker.
    """
    return LocalStack(
        options,
        bootstrap=make_keys,
        report=report,
        environment=environment,
        search_attributes=SEARCH_ATTRIBUTE_NAMES,
    )


async def make_keys(database_url: str) -> BootstrapKeys:
    """Make the two API keys of a local stack, and its tenant.

    Raises
    ------
    StaleSchemaError
        The database was not migrated.
    DatabaseUnavailable
        No connection.
    """
    async with open_services(database_url) as services:
        _, api_key = await services.access.create_key(
            tenant_name=LOCAL_TENANT, name=CLIENT_KEY_NAME, scopes=CLIENT_SCOPES
        )
        _, operator_key = await services.access.create_key(
            tenant_name=LOCAL_TENANT, name=OPERATOR_KEY_NAME, scopes=frozenset(Scope)
        )
    return BootstrapKeys(api_key=api_key, operator_key=operator_key)
