"""Batches of transfers with their rows, and the ledger's rules at less cost for many entries.

What an entry and a transfer refer to, and whether debits equal credits, is judged once a statement
and not several times a row. What they refer to never goes away: a check at insert is enough.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.guards import set_timeouts

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A counted repetition takes twenty times as long to match: most of the time of a key's insert.
KEY_SHAPE = "octet_length(key) BETWEEN 1 AND 200 AND key ~ '^[!-~]+$'"
EARLIER_KEY_SHAPE = "key ~ '^[!-~]{1,200}$'"

REFUSE_LOSS = """
CREATE FUNCTION refuse_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is there for ever: % is refused', OLD.id, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
$$
"""

# Named as the foreign keys that it stands for; looked up one by one, for a join may be planned to
# read a whole table. A statement that leaves a transfer unbalanced is
# noted, to be judged at commit: a posting may take several.
REQUIRE_KNOWN_ENTRIES = """
CREATE FUNCTION require_known_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
    broken text;
BEGIN
    SELECT entry.id INTO wrong
    FROM added AS entry
    WHERE (SELECT id FROM transfers WHERE id = entry.transfer_id) IS NULL
    LIMIT 1;
    IF FOUND THEN
        broken := 'ledger_entries_transfer';
    ELSE
        SELECT entry.id INTO wrong
        FROM added AS entry
        WHERE (SELECT id FROM accounts WHERE id = entry.account_id
            AND tenant_id = entry.tenant_id AND currency = entry.currency) IS NULL
        LIMIT 1;
        IF FOUND THEN
            broken := 'ledger_entries_account';
        END IF;
    END IF;
    IF broken IS NOT NULL THEN
        RAISE EXCEPTION 'entry % refers to what is not there', wrong.id
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = broken;
    END IF;
    INSERT INTO unbalanced_postings (tenant_id, transfer_id)
    SELECT DISTINCT tenant_id, transfer_id FROM added
    GROUP BY tenant_id, transfer_id, currency
    HAVING sum(CASE direction WHEN 'CREDIT' THEN amount_minor ELSE -amount_minor END) <> 0;
    RETURN NULL;
END
$$
"""

REQUIRE_KNOWN_SIDES = """
CREATE FUNCTION require_known_sides() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT transfer.id, CASE
        WHEN destination.id IS NULL THEN 'transfers_destination'
        WHEN source.id IS NULL THEN 'transfers_source'
        WHEN claimed.key IS NULL THEN 'transfers_key_claimed'
        ELSE 'transfers_batch' END AS broken INTO wrong
    FROM added AS transfer
    LEFT JOIN LATERAL (SELECT id FROM accounts WHERE id = transfer.source_account_id
        AND tenant_id = transfer.tenant_id AND currency = transfer.currency LIMIT 1)
        AS source ON true
    LEFT JOIN LATERAL (SELECT id FROM accounts WHERE id = transfer.destination_account_id
        AND tenant_id = transfer.tenant_id AND currency = transfer.currency LIMIT 1)
        AS destination ON true
    LEFT JOIN LATERAL (SELECT key FROM idempotency_keys WHERE tenant_id = transfer.tenant_id
        AND key = transfer.idempotency_key LIMIT 1) AS claimed ON true
    WHERE source.id IS NULL OR destination.id IS NULL OR claimed.key IS NULL
        OR (transfer.batch_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM transfer_batches WHERE id = transfer.batch_id OFFSET 0))
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transfer % refers to what is not there', wrong.id
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME,
                CONSTRAINT = wrong.broken;
    END IF;
    RETURN NULL;
END
$$
"""

REQUIRE_BALANCED_POSTING = """
CREATE FUNCTION require_balanced_posting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM ledger_entries
        WHERE transfer_id = NEW.transfer_id
        GROUP BY currency
        HAVING sum(CASE direction WHEN 'CREDIT' THEN amount_minor ELSE -amount_minor END) <> 0
    ) THEN
        RAISE EXCEPTION 'debits and credits of transfer % differ', NEW.transfer_id
            USING ERRCODE = 'check_violation', TABLE = 'ledger_entries', CONSTRAINT = TG_NAME;
    END IF;
    DELETE FROM unbalanced_postings WHERE transfer_id = NEW.transfer_id;
    RETURN NULL;
END
$$
"""

FUNCTIONS = {
    "refuse_loss": REFUSE_LOSS,
    "require_known_entries": REQUIRE_KNOWN_ENTRIES,
    "require_known_sides": REQUIRE_KNOWN_SIDES,
    "require_balanced_posting": REQUIRE_BALANCED_POSTING,
}
TRIGGERS = {
    ("accounts", "accounts_kept"): """
CREATE TRIGGER accounts_kept BEFORE DELETE OR UPDATE OF id, tenant_id, currency ON accounts
FOR EACH ROW EXECUTE FUNCTION refuse_loss()
""",
    ("accounts", "accounts_not_truncated"): """
CREATE TRIGGER accounts_not_truncated BEFORE TRUNCATE ON accounts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
    ("transfer_batches", "transfer_batches_kept"): """
CREATE TRIGGER transfer_batches_kept BEFORE DELETE OR UPDATE OF id, tenant_id ON transfer_batches
FOR EACH ROW EXECUTE FUNCTION refuse_loss()
""",
    ("transfer_batches", "transfer_batches_not_truncated"): """
CREATE TRIGGER transfer_batches_not_truncated BEFORE TRUNCATE ON transfer_batches
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
    ("ledger_entries", "ledger_entries_known"): """
CREATE TRIGGER ledger_entries_known AFTER INSERT ON ledger_entries
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION require_known_entries()
""",
    ("transfers", "transfers_known"): """
CREATE TRIGGER transfers_known AFTER INSERT ON transfers
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION require_known_sides()
""",
    ("unbalanced_postings", "ledger_entries_balanced"): """
CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON unbalanced_postings
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_balanced_posting()
""",
}
# As revision 0002 made it.
EARLIER_BALANCED = """
CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_balanced_transfer()
"""


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    _check_keys(KEY_SHAPE)
    op.create_table(
        "unbalanced_postings",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
    )
    op.create_table(
        "transfer_batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("is_atomic", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("total_rows", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in (
                "position",
                "succeeded_rows",
                "replayed_rows",
                "failed_rows",
                "rejected_rows",
                "cancelled_rows",
            )
        ),
        sa.Column("requested_by", sa.Uuid(), nullable=True, comment="the API key of the request"),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="transfer_batches_pkey"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "idempotency_key"],
            ["idempotency_keys.tenant_id", "idempotency_keys.key"],
            name="transfer_batches_key_claimed",
        ),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name="transfer_batches_idempotency_key"
        ),
        sa.ForeignKeyConstraint(
            ["requested_by"], ["api_keys.id"], name="transfer_batches_requested_by"
        ),
        sa.CheckConstraint(
            "(state = 'PROCESSING' AND stage IN ('STAGED', 'RUNNING'))"
            " OR (state = 'SUCCESS' AND stage = 'COMPLETED')"
            " OR (state = 'FAILED' AND stage IN ('CANCELLED', 'REJECTED'))",
            name="transfer_batches_stage_of_state",
        ),
        sa.CheckConstraint(
            "(state = 'FAILED') = (failure_code IS NOT NULL)"
            " AND (failure_code IS NULL) = (failure_message IS NULL)",
            name="transfer_batches_failure_explained",
        ),
        sa.CheckConstraint(
            "(state = 'PROCESSING') = (completed_at IS NULL)",
            name="transfer_batches_completion_dated",
        ),
        sa.CheckConstraint("total_rows BETWEEN 1 AND 100000", name="transfer_batches_size"),
        sa.CheckConstraint(
            "position BETWEEN 0 AND total_rows AND least(replayed_rows, failed_rows,"
            " rejected_rows, cancelled_rows) >= 0 AND replayed_rows <= succeeded_rows"
            " AND succeeded_rows + failed_rows"
            " + rejected_rows + cancelled_rows"
            " BETWEEN CASE state WHEN 'PROCESSING' THEN 0 ELSE total_rows END AND total_rows",
            name="transfer_batches_rows_counted",
        ),
    )
    op.create_index("transfer_batches_of_tenant", "transfer_batches", ["tenant_id", "id"])
    op.create_index(
        "transfer_batches_processing",
        "transfer_batches",
        ["id"],
        postgresql_where=sa.text("state = 'PROCESSING'"),
    )
    op.create_table(
        "transfer_batch_rows",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True, comment="as the request names the account"),
        sa.Column("destination", sa.Text(), nullable=True),
        sa.Column("amount_minor", sa.Numeric(38, 0), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("transfer_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", "position", name="transfer_batch_rows_pkey"),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["transfer_batches.id"], name="transfer_batch_rows_batch"
        ),
        sa.CheckConstraint("position >= 1", name="transfer_batch_rows_position_positive"),
        sa.CheckConstraint(
            "status IN ('PENDING', 'SUCCEEDED', 'FAILED', 'REJECTED', 'CANCELLED')",
            name="transfer_batch_rows_status_known",
        ),
        sa.CheckConstraint(
            "status NOT IN ('SUCCEEDED', 'FAILED') OR transfer_id IS NOT NULL",
            name="transfer_batch_rows_transfer_named",
        ),
        sa.CheckConstraint(
            "(code IS NULL) = (message IS NULL)"
            " AND (status NOT IN ('FAILED', 'REJECTED') OR code IS NOT NULL)",
            name="transfer_batch_rows_failure_explained",
        ),
        postgresql_with={"fillfactor": "50"},
    )
    op.add_column("transfers", sa.Column("batch_id", sa.Uuid(), nullable=True))
    op.execute("DROP TRIGGER ledger_entries_balanced ON ledger_entries")
    for definition in FUNCTIONS.values():
        op.execute(definition)
    for (table, trigger), definition in TRIGGERS.items():
        op.execute(definition)
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
    op.drop_constraint("ledger_entries_transfer", "ledger_entries")
    op.drop_constraint("ledger_entries_account", "ledger_entries")
    for rule in ("transfers_source", "transfers_destination", "transfers_key_claimed"):
        op.drop_constraint(rule, "transfers")


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for table, trigger in TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}()")
    op.drop_column("transfers", "batch_id")
    op.drop_table("transfer_batch_rows")
    op.drop_table("transfer_batches")
    op.drop_table("unbalanced_postings")
    _check_keys(EARLIER_KEY_SHAPE)
    op.execute(EARLIER_BALANCED)
    op.execute("ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_balanced")
    for side in ("source", "destination"):
        op.create_foreign_key(
            f"transfers_{side}",
            "transfers",
            "accounts",
            [f"{side}_account_id", "tenant_id", "currency"],
            ["id", "tenant_id", "currency"],
        )
    op.create_foreign_key(
        "transfers_key_claimed",
        "transfers",
        "idempotency_keys",
        ["tenant_id", "idempotency_key"],
        ["tenant_id", "key"],
    )
    op.create_foreign_key(
        "ledger_entries_account",
        "ledger_entries",
        "accounts",
        ["account_id", "tenant_id", "currency"],
        ["id", "tenant_id", "currency"],
    )
    op.create_foreign_key(
        "ledger_entries_transfer", "ledger_entries", "transfers", ["transfer_id"], ["id"]
    )


def _check_keys(shape: str) -> None:
    op.drop_constraint("idempotency_keys_shape", "idempotency_keys")
    op.create_check_constraint("idempotency_keys_shape", "idempotency_keys", shape)
