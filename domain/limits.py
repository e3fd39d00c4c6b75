"""Every limit that callers can meet, by name. Units stand last in a name."""

from typing import Final

AMOUNT_MINIMUM_MINOR: Final = 1
AMOUNT_MAXIMUM_MINOR: Final = 10**30
"""Largest amount of one transfer, and largest overdraft limit, in minor units."""

BALANCE_DIGITS: Final = 38
"""Digits of a balance: what ``NUMERIC(38, 0)`` holds."""

IDEMPOTENCY_KEY_LENGTH_MAXIMUM: Final = 200
EXTERNAL_ID_LENGTH_MAXIMUM: Final = 200
NAME_LENGTH_MAXIMUM: Final = 200
DESCRIPTION_LENGTH_MAXIMUM: Final = 1_000

METADATA_ENTRIES_MAXIMUM: Final = 50
METADATA_DEPTH_MAXIMUM: Final = 5
METADATA_BYTES_MAXIMUM: Final = 16 * 1024
"""Size of metadata as compact JSON in UTF-8."""

REQUEST_BODY_BYTES_MAXIMUM: Final = 64 * 1024

BATCH_ROWS_MAXIMUM: Final = 100_000
BATCH_BODY_BYTES_MAXIMUM: Final = 64 * 1024 * 1024
BATCH_ROW_BYTES_MAXIMUM: Final = 64 * 1024
"""Size of one row of a batch, as it is sent: that of a single request."""

BATCH_ATOMIC_ROWS_MAXIMUM: Final = 10_000
"""Rows of an atomic batch: one transaction, in which its accounts are locked for about a second."""

BATCH_CHUNK_ROWS: Final = 1_000
"""Rows that are posted in one transaction."""

BATCH_ERRORS_SHOWN_MAXIMUM: Final = 100
"""Mistakes in the rows of a refused batch that are named; reading ends there."""

BATCHES_READ_AT_ONCE: Final = 2
"""Bodies of batches that a process reads at a time; more wait for their turn."""

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAXIMUM: Final = 200

WAIT_SECONDS_DEFAULT: Final = 10
WAIT_SECONDS_MAXIMUM: Final = 30

EFFECTIVE_AT_YEAR_MINIMUM: Final = 1900
EFFECTIVE_AT_YEAR_MAXIMUM: Final = 2200

API_WORKERS_MAXIMUM: Final = 64
"""Processes that serve the API behind one listening socket."""

TRANSFERS_IN_FLIGHT_DEFAULT: Final = 256
"""Requests that move money, in flight in all processes behind one port: what two cores do in three
seconds."""

REQUESTS_IN_FLIGHT_DEFAULT: Final = 256
"""All other requests in flight in one process."""

IN_FLIGHT_MAXIMUM: Final = 10_000
"""The highest that either limit can be set to."""
