"""The ledger, its seals, and what is known of its invariants."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

from domain.ledger_seals import RECORD_BYTES
from domain.limits import AMOUNT_MAXIMUM_MINOR
from persistence.tables.columns import (
    MinorUnits,
    currency_column,
    id_column,
    metadata,
    one_of,
    tenant_id_column,
    time_column,
)

ledger_entries: Final = Table(
    "ledger_entries",
    metadata,
    id_column(),
    tenant_id_column(),
    Column("transfer_id", Uuid, nullable=False),
    Column("account_id", Uuid, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("direction", Text, nullable=False),
    Column("amount_minor", MinorUnits, nullable=False),
    currency_column(),
    Column("balance_after_minor", MinorUnits, nullable=False),
    time_column("effective_at", nullable=False),
    # The posting statement's time: it runs under the accounts' locks, so that times do not fall
    # along a sequence. The transaction's own time would be older than its wait for the locks.
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.statement_timestamp(),
    ),
    PrimaryKeyConstraint("id", name="ledger_entries_pkey"),
    # That transfer and account are there, of the entry's tenant and currency, is held by a trigger
    # once a statement (``ledger_entries_known``): foreign keys took a third of a batch's time.
    # So is that entries take no more than their transfer's amount, its legs or what is captured.
    UniqueConstraint("account_id", "sequence", name="ledger_entries_sequence"),
    CheckConstraint(one_of("direction", "DEBIT", "CREDIT"), name="ledger_entries_direction_known"),
    CheckConstraint(
        f"amount_minor BETWEEN 1 AND {AMOUNT_MAXIMUM_MINOR}", name="ledger_entries_amount_range"
    ),
    CheckConstraint("sequence >= 1", name="ledger_entries_sequence_positive"),
    Index("ledger_entries_of_transfer", "transfer_id"),
    Index(
        "ledger_entries_effective",
        "account_id",
        "effective_at",
        postgresql_include=["direction", "amount_minor"],
    ),
)

unbalanced_postings: Final = Table(
    "unbalanced_postings",
    metadata,
    tenant_id_column(),
    Column("transfer_id", Uuid, nullable=False),
)
"""Transfers whose entries do not add up yet: judged, and gone, when the transaction commits."""

ledger_seals: Final = Table(
    "ledger_seals",
    metadata,
    Column("number", BigInteger, nullable=False, autoincrement=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("segments", Integer, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("position", BigInteger, nullable=False, comment="entries of this and all before"),
    time_column("sealed_at", nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("number", name="ledger_seals_pkey"),
    UniqueConstraint("previous_hash", name="ledger_seals_previous"),
    CheckConstraint("number >= 1", name="ledger_seals_number_positive"),
    CheckConstraint(
        "segments >= 1 AND entries >= segments AND position >= entries",
        name="ledger_seals_counted",
    ),
    CheckConstraint(
        "octet_length(previous_hash) = 32 AND octet_length(root) = 32 AND octet_length(hash) = 32",
        name="ledger_seals_hash_length",
    ),
)

ledger_seal_segments: Final = Table(
    "ledger_seal_segments",
    metadata,
    Column("seal_number", BigInteger, nullable=False),
    Column("account_id", Uuid, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column(
        "records",
        LargeBinary,
        nullable=False,
        comment="of each entry its id, its digest, its transfer's digest",
    ),
    Column("digest", LargeBinary, nullable=False),
    # No two segments of an account begin alike: sealing twice at once is refused.
    PrimaryKeyConstraint("account_id", "first_sequence", name="ledger_seal_segments_pkey"),
    UniqueConstraint("seal_number", "account_id", name="ledger_seal_segments_of_seal"),
    ForeignKeyConstraint(
        ["seal_number"],
        ["ledger_seals.number"],
        name="ledger_seal_segments_seal",
        deferrable=True,
        initially="DEFERRED",
    ),
    CheckConstraint(
        "first_sequence >= 1 AND last_sequence >= first_sequence"
        f" AND octet_length(records) = {RECORD_BYTES} * (last_sequence - first_sequence + 1)",
        name="ledger_seal_segments_records",
    ),
    CheckConstraint("octet_length(digest) = 32", name="ledger_seal_segments_digest_length"),
)

ledger_proofs: Final = Table(
    "ledger_proofs",
    metadata,
    Column("name", Text, nullable=False),
    Column("position", Text, nullable=True, comment="null: at the beginning"),
    time_column("pass_began_at", nullable=False),
    Column("examined", BigInteger, nullable=False, server_default=text("0")),
    time_column("advanced_at", nullable=False),
    time_column("completed_at", nullable=True),
    Column("completed_examined", BigInteger, nullable=True),
    Column("remaining", BigInteger, nullable=True, comment="entries left unsealed"),
    PrimaryKeyConstraint("name", name="ledger_proofs_pkey"),
)

ledger_violations: Final = Table(
    "ledger_violations",
    metadata,
    Column("proof", Text, nullable=False),
    Column("invariant", SmallInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message", Text, nullable=False),
    time_column("first_seen_at", nullable=False),
    time_column("last_seen_at", nullable=False),
    time_column("resolved_at", nullable=True),
    PrimaryKeyConstraint("proof", "invariant", "subject", name="ledger_violations_pkey"),
)
