"""What operators can search workflows by in Temporal. No personal data: these are not encrypted."""

from typing import Final

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from activities.contracts import TransferInput
from domain.states import ProcessState

TRANSFER_ID: Final = SearchAttributeKey.for_keyword("TransferId")
TENANT_ID: Final = SearchAttributeKey.for_keyword("TenantId")
SOURCE_ACCOUNT_ID: Final = SearchAttributeKey.for_keyword("SourceAccountId")
DESTINATION_ACCOUNT_ID: Final = SearchAttributeKey.for_keyword("DestinationAccountId")
TRANSFER_TYPE: Final = SearchAttributeKey.for_keyword("TransferType")
TRANSFER_STATE: Final = SearchAttributeKey.for_keyword("TransferState")
BATCH_ID: Final = SearchAttributeKey.for_keyword("BatchId")

SEARCH_ATTRIBUTE_NAMES: Final = tuple(
    key.name
    for key in (
        TRANSFER_ID,
        TENANT_ID,
        SOURCE_ACCOUNT_ID,
        DESTINATION_ACCOUNT_ID,
        TRANSFER_TYPE,
        TRANSFER_STATE,
        BATCH_ID,
    )
)
"""All of them, each a Keyword, to be registered before the first workflow starts."""


def search_attributes_of(order: TransferInput) -> TypedSearchAttributes:
    """Give what the workflow of a transfer is to be found by when it starts."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(TRANSFER_ID, str(order.transfer_id)),
            SearchAttributePair(TENANT_ID, str(order.tenant_id)),
            SearchAttributePair(SOURCE_ACCOUNT_ID, str(order.source_account_id)),
            SearchAttributePair(DESTINATION_ACCOUNT_ID, str(order.destination_account_id)),
            SearchAttributePair(TRANSFER_TYPE, order.type.value),
            SearchAttributePair(TRANSFER_STATE, ProcessState.PROCESSING.value),
        ]
    )
