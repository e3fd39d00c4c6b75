"""Tenants, keys, users, accounts, transfers and the ledger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.guards import set_timeouts

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name="tenants_pkey"),
        sa.UniqueConstraint("name", name="tenants_name"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "prefix", sa.Text(), nullable=False, comment="first characters, to recognise the key by"
        ),
        sa.Column(
            "secret_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the whole key"
        ),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("octet_length(secret_hash) = 32", name="api_keys_secret_hash_length"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="api_keys_tenant"),
        sa.PrimaryKeyConstraint("id", name="api_keys_pkey"),
        sa.UniqueConstraint("secret_hash", name="api_keys_secret_hash"),
    )
    op.create_index("api_keys_of_tenant", "api_keys", ["tenant_id", "id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("key ~ '^[!-~]{1,200}$'", name="idempotency_keys_shape"),
        sa.CheckConstraint(
            "octet_length(fingerprint) = 32", name="idempotency_keys_fingerprint_length"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="idempotency_keys_tenant"),
        sa.PrimaryKeyConstraint("tenant_id", "key", name="idempotency_keys_pkey"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="users_tenant"),
        sa.PrimaryKeyConstraint("id", name="users_pkey"),
        sa.UniqueConstraint("tenant_id", "external_id", name="users_external_id"),
        sa.UniqueConstraint("tenant_id", "id", name="users_of_tenant"),
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("account_number", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("(kind = 'CUSTOMER') = (user_id IS NOT NULL)", name="accounts_owner"),
        sa.CheckConstraint("account_number ~ '^[1-9][0-9]{15}$'", name="accounts_number_shape"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="accounts_currency_code"),
        sa.CheckConstraint("kind IN ('CUSTOMER', 'SYSTEM')", name="accounts_kind_known"),
        sa.CheckConstraint(
            "mod(account_number::bigint, 97) = 1", name="accounts_number_check_digits"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], name="accounts_user"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="accounts_tenant"),
        sa.PrimaryKeyConstraint("id", name="accounts_pkey"),
        sa.UniqueConstraint("account_number", name="accounts_account_number"),
        sa.UniqueConstraint("id", "tenant_id", "currency", "kind", name="accounts_kind"),
        sa.UniqueConstraint("id", "tenant_id", "currency", name="accounts_currency"),
        sa.UniqueConstraint("tenant_id", "external_id", name="accounts_external_id"),
        sa.UniqueConstraint("tenant_id", "id", name="accounts_of_tenant"),
    )
    op.create_index("accounts_of_user", "accounts", ["tenant_id", "user_id", "id"], unique=False)
    op.create_index(
        "accounts_settlement",
        "accounts",
        ["tenant_id", "currency"],
        unique=True,
        postgresql_where=sa.text("kind = 'SYSTEM'"),
    )
    op.create_table(
        "balances",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'ACTIVE'"), nullable=False),
        sa.Column("posted_minor", sa.Numeric(38, 0), server_default=sa.text("0"), nullable=False),
        sa.Column("held_minor", sa.Numeric(38, 0), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "overdraft_limit_minor", sa.Numeric(38, 0), nullable=True, comment="null: without limit"
        ),
        sa.Column("last_sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "(kind = 'SYSTEM') = (overdraft_limit_minor IS NULL)",
            name="balances_only_system_unlimited",
        ),
        sa.CheckConstraint(
            "status <> 'CLOSED' OR (posted_minor = 0 AND held_minor = 0)",
            name="balances_closed_empty",
        ),
        sa.CheckConstraint(
            "status IN ('ACTIVE', 'FROZEN', 'CLOSED')", name="balances_status_known"
        ),
        sa.CheckConstraint("held_minor >= 0", name="balances_held_not_negative"),
        sa.CheckConstraint("last_sequence >= 0", name="balances_sequence_not_negative"),
        sa.CheckConstraint(
            "overdraft_limit_minor BETWEEN 0 AND 1000000000000000000000000000000",
            name="balances_overdraft_limit_range",
        ),
        sa.CheckConstraint(
            "posted_minor - held_minor + overdraft_limit_minor >= 0", name="balances_available"
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "tenant_id", "currency", "kind"],
            ["accounts.id", "accounts.tenant_id", "accounts.currency", "accounts.kind"],
            name="balances_account",
        ),
        sa.PrimaryKeyConstraint("account_id", name="balances_pkey"),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "transfers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("source_account_id", sa.Uuid(), nullable=False),
        sa.Column("destination_account_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.Numeric(38, 0), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("reversal_of", sa.Uuid(), nullable=True),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'FAILED') = (failure_code IS NOT NULL)"
            " AND (failure_code IS NULL) = (failure_message IS NULL)",
            name="transfers_failure_explained",
        ),
        sa.CheckConstraint(
            "(state = 'PROCESSING' AND stage IN ('ACCEPTED', 'RESERVED', 'POSTED'))"
            " OR (state = 'SUCCESS' AND stage = 'COMPLETED')"
            " OR (state = 'FAILED' AND stage = 'FAILED')",
            name="transfers_stage_of_state",
        ),
        sa.CheckConstraint(
            "(state = 'PROCESSING') = (completed_at IS NULL)", name="transfers_completion_dated"
        ),
        sa.CheckConstraint(
            "(type = 'REVERSAL') = (reversal_of IS NOT NULL)", name="transfers_reversal_linked"
        ),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name="transfers_metadata_object"),
        sa.CheckConstraint(
            "type IN ('INTERNAL', 'DEPOSIT', 'WITHDRAWAL', 'REVERSAL')", name="transfers_type_known"
        ),
        sa.CheckConstraint(
            "amount_minor BETWEEN 1 AND 1000000000000000000000000000000",
            name="transfers_amount_range",
        ),
        sa.CheckConstraint(
            "source_account_id <> destination_account_id", name="transfers_two_accounts"
        ),
        sa.ForeignKeyConstraint(
            ["destination_account_id", "tenant_id", "currency"],
            ["accounts.id", "accounts.tenant_id", "accounts.currency"],
            name="transfers_destination",
        ),
        sa.ForeignKeyConstraint(["reversal_of"], ["transfers.id"], name="transfers_reversal_of"),
        sa.ForeignKeyConstraint(
            ["source_account_id", "tenant_id", "currency"],
            ["accounts.id", "accounts.tenant_id", "accounts.currency"],
            name="transfers_source",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "idempotency_key"],
            ["idempotency_keys.tenant_id", "idempotency_keys.key"],
            name="transfers_key_claimed",
        ),
        sa.PrimaryKeyConstraint("id", name="transfers_pkey"),
        sa.UniqueConstraint("tenant_id", "idempotency_key", name="transfers_idempotency_key"),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "transfers_by_destination", "transfers", ["destination_account_id", "id"], unique=False
    )
    op.create_index("transfers_by_source", "transfers", ["source_account_id", "id"], unique=False)
    op.create_index("transfers_of_tenant", "transfers", ["tenant_id", "id"], unique=False)
    op.create_index(
        "transfers_processing",
        "transfers",
        ["updated_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'PROCESSING'"),
    )
    op.create_index(
        "transfers_reversals",
        "transfers",
        ["reversal_of"],
        unique=False,
        postgresql_where=sa.text("reversal_of IS NOT NULL"),
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.Numeric(38, 0), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'HELD') = (closed_at IS NULL)", name="holds_closing_dated"),
        sa.CheckConstraint("status IN ('HELD', 'CAPTURED', 'RELEASED')", name="holds_status_known"),
        sa.CheckConstraint(
            "amount_minor BETWEEN 1 AND 1000000000000000000000000000000", name="holds_amount_range"
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "tenant_id", "currency"],
            ["accounts.id", "accounts.tenant_id", "accounts.currency"],
            name="holds_account",
        ),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="holds_of_transfer"),
        sa.PrimaryKeyConstraint("id", name="holds_pkey"),
        sa.UniqueConstraint("transfer_id", name="holds_transfer"),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index("holds_of_account", "holds", ["account_id", "created_at"], unique=False)
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.Numeric(38, 0), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("balance_after_minor", sa.Numeric(38, 0), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("statement_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "direction IN ('DEBIT', 'CREDIT')", name="ledger_entries_direction_known"
        ),
        sa.CheckConstraint(
            "amount_minor BETWEEN 1 AND 1000000000000000000000000000000",
            name="ledger_entries_amount_range",
        ),
        sa.CheckConstraint("sequence >= 1", name="ledger_entries_sequence_positive"),
        sa.ForeignKeyConstraint(
            ["account_id", "tenant_id", "currency"],
            ["accounts.id", "accounts.tenant_id", "accounts.currency"],
            name="ledger_entries_account",
        ),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="ledger_entries_transfer"),
        sa.PrimaryKeyConstraint("id", name="ledger_entries_pkey"),
        sa.UniqueConstraint("account_id", "sequence", name="ledger_entries_sequence"),
    )
    op.create_index(
        "ledger_entries_effective",
        "ledger_entries",
        ["account_id", "effective_at"],
        unique=False,
        postgresql_include=["direction", "amount_minor"],
    )
    op.create_index("ledger_entries_of_transfer", "ledger_entries", ["transfer_id"], unique=False)
    op.create_table(
        "transfer_events",
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column(
            "occurred_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "stage IN ('ACCEPTED', 'RESERVED', 'POSTED', 'COMPLETED', 'FAILED')",
            name="transfer_events_stage_known",
        ),
        sa.CheckConstraint("sequence >= 1", name="transfer_events_sequence_positive"),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"], name="transfer_events_transfer"),
        sa.PrimaryKeyConstraint("transfer_id", "sequence", name="transfer_events_pkey"),
        sa.UniqueConstraint("transfer_id", "step", name="transfer_events_step"),
    )


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    op.drop_table("transfer_events")
    op.drop_index("ledger_entries_of_transfer", table_name="ledger_entries")
    op.drop_index(
        "ledger_entries_effective",
        table_name="ledger_entries",
        postgresql_include=["direction", "amount_minor"],
    )
    op.drop_table("ledger_entries")
    op.drop_index("holds_of_account", table_name="holds")
    op.drop_table("holds")
    op.drop_index(
        "transfers_reversals",
        table_name="transfers",
        postgresql_where=sa.text("reversal_of IS NOT NULL"),
    )
    op.drop_index(
        "transfers_processing",
        table_name="transfers",
        postgresql_where=sa.text("state = 'PROCESSING'"),
    )
    op.drop_index("transfers_of_tenant", table_name="transfers")
    op.drop_index("transfers_by_source", table_name="transfers")
    op.drop_index("transfers_by_destination", table_name="transfers")
    op.drop_table("transfers")
    op.drop_table("balances")
    op.drop_index(
        "accounts_settlement", table_name="accounts", postgresql_where=sa.text("kind = 'SYSTEM'")
    )
    op.drop_index("accounts_of_user", table_name="accounts")
    op.drop_table("accounts")
    op.drop_table("users")
    op.drop_table("idempotency_keys")
    op.drop_index("api_keys_of_tenant", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("tenants")
