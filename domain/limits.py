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

OVERDUE_SECONDS: Final = 60
"""After this long without moving on, a transfer under way counts as overdue in the metrics."""

REQUEST_BODY_BYTES_MAXIMUM: Final = 64 * 1024

REQUEST_HEAD_BYTES_MAXIMUM: Final = 32 * 1024
REQUEST_HEADERS_MAXIMUM: Final = 100
"""Path and headers of a request."""

REQUEST_HEAD_SECONDS_MAXIMUM: Final = 20.0
"""From a connection's opening, or a request's first byte, to the end of the headers."""

REQUEST_BODY_PAUSE_SECONDS: Final = 20.0
REQUEST_BODY_BYTES_PER_SECOND_MINIMUM: Final = 1024
"""A body must come at this rate, looked at after each such time."""

REQUEST_ID_LENGTH_MAXIMUM: Final = 128
"""Of an X-Request-ID that a client gives."""
CODEC_BODY_BYTES_MAXIMUM: Final = 4 * 1024 * 1024
"""Payloads sent to the codec endpoint: twice what Temporal takes as one, in base64."""

CODEC_PAYLOADS_MAXIMUM: Final = 1_000
"""Payloads in one request to the codec endpoint."""

CODEC_SESSION_SECONDS: Final = 8 * 3600
"""How long a login for the codec endpoint counts: a working day."""

BATCH_ROWS_MAXIMUM: Final = 100_000
BATCH_BODY_BYTES_MAXIMUM: Final = 64 * 1024 * 1024
BATCH_ROW_CHARACTERS_MAXIMUM: Final = 64 * 1024
"""Length of one row of a batch, as it is sent: about that of a single request."""

BATCH_ATOMIC_ROWS_MAXIMUM: Final = 10_000
"""Rows of an atomic batch: one transaction, in which its accounts are locked for about a second."""

BATCH_CHUNK_ROWS: Final = 1_000
"""Rows that are posted in one transaction."""

BATCH_BEGUN_CHUNK_LOCK_SECONDS: Final = 0.3
"""How long a chunk that has begun before its turn waits for a lock: less than PostgreSQL's
``deadlock_timeout``, so that it gives way before anybody is ended. It is then done anew."""

BATCH_ERRORS_SHOWN_MAXIMUM: Final = 100
"""Mistakes in the rows of a refused batch that are named; reading ends there."""

BATCHES_READ_AT_ONCE: Final = 2
"""Bodies of batches that a process reads at a time; more wait for their turn."""

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAXIMUM: Final = 200

WAIT_SECONDS_DEFAULT: Final = 10
WAIT_SECONDS_MAXIMUM: Final = 30

HOLD_SECONDS_DEFAULT: Final = 7 * 24 * 3600
"""How long a hold with manual capture stands where the client names no time: 7 days."""

HOLD_SECONDS_MAXIMUM: Final = 31 * 24 * 3600
"""How far in the future a hold may end, also after an extension: 31 days."""

CAPTURES_MAXIMUM: Final = 100
"""Captures of one hold."""

EXECUTE_AT_SECONDS_MAXIMUM: Final = 366 * 24 * 3600
"""How far in the future a transfer can be scheduled: 366 days."""

REQUESTS_PER_SECOND_MAXIMUM: Final = 100_000
"""The most that an API key's own rate limit can be set to, also for its burst."""

REQUESTS_PER_SECOND_DEFAULT: Final = 10_000
REQUESTS_BURST_DEFAULT: Final = 20_000
"""Rate limit of a key that has none of its own: far above what one machine carries, so that it
keeps a client that has gone wild from starving the others, and nothing else."""

KEY_OVERLAP_SECONDS_DEFAULT: Final = 24 * 3600
KEY_OVERLAP_SECONDS_MAXIMUM: Final = 31 * 24 * 3600
"""How long the secret before a rotation is taken beside the new one: 31 days."""

FAILED_LOGINS_PER_MINUTE_DEFAULT: Final = 60
"""Keys and tokens that are not good, from one address. More are refused without a look."""

FAILED_LOGINS_MAXIMUM: Final = 1_000_000
"""The highest that this limit can be set to."""

APPROVERS_MAXIMUM: Final = 2
APPROVAL_SECONDS_DEFAULT: Final = 24 * 3600
APPROVAL_SECONDS_MAXIMUM: Final = 31 * 24 * 3600
"""How long a transfer may wait for its approval: 31 days."""

LEGS_MAXIMUM: Final = 100
"""Legs of one transfer."""

NOTE_LENGTH_MAXIMUM: Final = 1_000
"""Reasons and notes of operators and clients."""

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

STATEMENT_ENTRIES_MAXIMUM: Final = 500_000
"""Entries of one statement as JSON or CSV: some 15 seconds of one core, and 250 MB of JSON."""

STATEMENT_PDF_ENTRIES_MAXIMUM: Final = 250_000
"""Entries of one statement as PDF: 6,000 pages."""

STATEMENT_PREPARING_SECONDS_MAXIMUM: Final = 180
"""How long a statement may take to be made: many times what the longest usually takes."""

STATEMENTS_PREPARED_AT_ONCE: Final = 3
"""Statements that a process prepares at once. Each holds one of its connections to the database."""

STATEMENTS_OPEN_MAXIMUM: Final = 24
"""Statements that a process prepares or sends at once. Each has a temporary file."""

STATEMENT_SENDING_SECONDS_MINIMUM: Final = 30
STATEMENT_SENDING_BYTES_PER_SECOND_MINIMUM: Final = 64 * 1024
"""Together: how long a client may take to receive a statement of some size."""
STANDING_ORDER_INTERVAL_SECONDS_MINIMUM: Final = 1
STANDING_ORDER_INTERVAL_SECONDS_MAXIMUM: Final = 366 * 24 * 60 * 60

CRON_LENGTH_MAXIMUM: Final = 200

STANDING_ORDER_LATE_SECONDS: Final = 60
"""A run that begins later than this was missed, for orders that skip missed runs.

Also how late an order may be recorded for its first run to be made all the same.
"""

STANDING_ORDER_CATCH_UP_DAYS: Final = 366
"""How far back runs are made up for, for orders that do not skip them."""

NEXT_RUNS_MAXIMUM: Final = 10

DATABASE_STATEMENT_TIMEOUT_SECONDS: Final = 5.0
DATABASE_LOCK_TIMEOUT_SECONDS: Final = 4.0
"""Below the statement's: a wait for a lock is then told apart from a slow statement."""

DATABASE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS: Final = 10.0
DATABASE_TRANSACTION_TIMEOUT_SECONDS: Final = 60.0
"""The longest transactions are chunks of batches, and batches that are staged."""

DATABASE_SNAPSHOT_TIMEOUT_SECONDS: Final = 3_600
"""A proof of all the ledger, or a long statement, reads in one transaction."""

DATABASE_TIMEOUT_SECONDS_MAXIMUM: Final = 3_600

CONSOLE_SESSION_IDLE_SECONDS: Final = 30 * 60
"""How long a session of the console lasts after its last use; live updates are no use."""

CONSOLE_SESSION_SECONDS_MAXIMUM: Final = 12 * 3600
"""How long a session of the console lasts at most, however much it is used."""

CONSOLE_SESSION_USE_SECONDS: Final = 60
"""How exactly the last use of a session is kept: so often is it written at most."""

OVERVIEW_TRANSFERS_MAXIMUM: Final = 200_000
"""Transfers that one overview is made of, the newest: some tenths of a second of one core."""

METADATA_MATCHES_MAXIMUM: Final = 1_000
"""Transfers that a search takes from the index on metadata; of more, it fills its page sooner by
going through the tenant's transfers from the newest on."""

SAMPLE_SECONDS: Final = 30
"""Of how long one sample stands for what was in flight, stuck, held and proved."""

SAMPLE_STUCK_SECONDS_MAXIMUM: Final = 10.0
"""How long a sample searches for what is stuck; after that it says that it is not known."""

SAMPLES_KEPT_SECONDS: Final = 8 * 24 * 3600
"""A day longer than the longest overview reaches back: 23,040 samples at most."""

SAMPLES_REMOVED_MAXIMUM: Final = 100
"""Samples past their time that go with a new one; after a pause the next ones take the rest."""

BALANCE_POINTS_MAXIMUM: Final = 200
"""Points of the chart of an account's balance."""

STUCK_IDLE_SECONDS: Final = 5
"""What has changed more recently is not looked at when stuck transfers are searched for."""

STUCK_ACTIVITY_ATTEMPTS: Final = 5
"""From so many attempts of one step on, a transfer is stuck: some six seconds of them."""

STUCK_TASK_ATTEMPTS: Final = 3
"""From so many attempts of one workflow task on, a transfer is stuck."""

STUCK_UNATTENDED_SECONDS: Final = 15
"""How long work may wait for a worker."""

STUCK_EXAMINED_MAXIMUM: Final = 500
"""Candidates that are looked at for one page of what is stuck; the next page goes on."""

STUCK_LOOKS_AT_ONCE: Final = 16
"""Workflows that are asked for at a time, for one page."""

OPEN_WORKFLOWS_LISTED_MAXIMUM: Final = 10_000
"""Open workflows that are held against the database for one page; of more, the oldest are not."""

OPERATOR_ACTION_ITEMS_MAXIMUM: Final = 100
"""Items of any kind that one request of an operator acts on."""

OPERATOR_ACTIONS_AT_ONCE: Final = 8
"""Of these, how many at a time."""

EVIDENCE_HISTORY_EVENTS_MAXIMUM: Final = 2_000
"""Events of a workflow's histories that one evidence document is made from, the newest run's first.
"""

EVIDENCE_RUNS_MAXIMUM: Final = 20
"""Runs of a workflow, the newest, of which an evidence document tells."""

EVIDENCE_TEMPORAL_SECONDS_MAXIMUM: Final = 10
"""How long an evidence document waits for the histories; without them it says so."""

EVIDENCE_ROWS_MAXIMUM: Final = 1_000
"""Rows of each list in an evidence document; it says where there are more."""

EVIDENCE_PROVED_ENTRIES_MAXIMUM: Final = 100
"""Entries of a transfer, the first, whose seals are made again for an evidence document."""

EVIDENCE_PROOF_BYTES_MAXIMUM: Final = 256 * 1024
"""Bytes of seals' records and digests that stand in one evidence document; as hexadecimal digits in
JSON they are twice as many. What does not fit is checked all the same, and left out."""

EVIDENCE_PDFS_AT_ONCE: Final = 2
"""Evidence documents that a process has set as PDF at a time."""

EVIDENCE_PDF_SECONDS_MAXIMUM: Final = 60
"""How long that may take: many times what the longest does."""

SEAL_ENTRIES_MAXIMUM: Final = 10_000
"""Entries that one seal covers: a transaction of a few tenths of a second that locks nothing."""

SEAL_SEGMENT_ENTRIES_MAXIMUM: Final = 1_000
"""Entries of one account in one seal, so that a proof reads pages of a known size."""

PROOF_VIOLATIONS_MAXIMUM: Final = 1_000
"""Violations that a proof names; what is over is counted."""
