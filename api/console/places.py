"""Where the console has pages of the things that its lists name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from domain.stuck import StuckKind

STUCK_PAGES: Final[Mapping[StuckKind, str]] = MappingProxyType(
    {
        StuckKind.TRANSFER: "transfers",
        StuckKind.BATCH: "batches",
        StuckKind.STANDING_ORDER_RUN: "standing-orders",
    }
)
"""Of what is stuck, by its kind."""

SUBJECT_PAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "transfer": "transfers",
        "account": "accounts",
        "transfer_batch": "batches",
        "standing_order": "standing-orders",
    }
)
"""Of what a record of the audit log is about, by its type; of others there is none."""
