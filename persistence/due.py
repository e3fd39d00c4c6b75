"""When a transfer was to move on, in SQL."""

from typing import Final

DUE_AT: Final = """
coalesce(
    CASE transfer.stage
        WHEN 'SCHEDULED' THEN transfer.execute_at
        WHEN 'AWAITING_APPROVAL' THEN transfer.approval_deadline_at
        WHEN 'RESERVED' THEN
            CASE WHEN transfer.captured_minor IS NOT NULL THEN transfer.expires_at END
    END,
    transfer.updated_at
)
"""
"""Of a row ``transfer``: after its rest, where it is in one, else after its last change."""
