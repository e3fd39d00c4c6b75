"""Rules that the database itself holds: append-only history, balanced transfers, gapless ledgers.

Every trigger is ENABLE ALWAYS, so that ``session_replication_role`` does not switch it off.
"""

from alembic import op

from migrations.guards import set_timeouts

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
$$
"""

# A final transfer stands for ever, and what a transfer is about never changes.
REFUSE_FINAL_CHANGE = """
CREATE FUNCTION refuse_final_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'PROCESSING'
        OR (NEW.id, NEW.tenant_id, NEW.idempotency_key, NEW.fingerprint, NEW.type,
            NEW.source_account_id, NEW.destination_account_id, NEW.amount_minor, NEW.currency,
            NEW.created_at)
        IS DISTINCT FROM
           (OLD.id, OLD.tenant_id, OLD.idempotency_key, OLD.fingerprint, OLD.type,
            OLD.source_account_id, OLD.destination_account_id, OLD.amount_minor, OLD.currency,
            OLD.created_at)
    THEN
        RAISE EXCEPTION 'transfer % is % and cannot change', OLD.id, OLD.state
            USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$
"""

# Deferred: a posting may take several statements, and is judged as a whole at commit.
REQUIRE_BALANCED_TRANSFER = """
CREATE FUNCTION require_balanced_transfer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM ledger_entries
        WHERE transfer_id = NEW.transfer_id
        GROUP BY currency
        HAVING sum(CASE direction WHEN 'CREDIT' THEN amount_minor ELSE -amount_minor END) <> 0
    ) THEN
        RAISE EXCEPTION 'debits and credits of transfer % differ', NEW.transfer_id
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END
$$
"""

# Each entry follows from the one before it in its account: next sequence, right balance.
REQUIRE_FOLLOWING_ENTRY = """
CREATE FUNCTION require_following_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT entry.account_id, entry.sequence INTO wrong
    FROM added AS entry
    LEFT JOIN ledger_entries AS previous
        ON previous.account_id = entry.account_id AND previous.sequence = entry.sequence - 1
    WHERE (entry.sequence > 1 AND previous.id IS NULL)
        OR entry.balance_after_minor <> coalesce(previous.balance_after_minor, 0)
            + entry.amount_minor * CASE entry.direction WHEN 'CREDIT' THEN 1 ELSE -1 END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % of account % does not follow from the one before',
                wrong.sequence, wrong.account_id
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END
$$
"""

APPEND_ONLY = ("ledger_entries", "transfer_events", "idempotency_keys")

TRIGGERS = {
    ("ledger_entries", "ledger_entries_balanced"): """
CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_balanced_transfer()
""",
    ("ledger_entries", "ledger_entries_follow"): """
CREATE TRIGGER ledger_entries_follow AFTER INSERT ON ledger_entries
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION require_following_entry()
""",
    ("transfers", "transfers_final"): """
CREATE TRIGGER transfers_final BEFORE UPDATE OR DELETE ON transfers
FOR EACH ROW EXECUTE FUNCTION refuse_final_change()
""",
    ("transfers", "transfers_not_truncated"): """
CREATE TRIGGER transfers_not_truncated BEFORE TRUNCATE ON transfers
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
} | {
    (table, f"{table}_append_only"): f"""
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""
    for table in APPEND_ONLY
}

FUNCTIONS = {
    "refuse_change": REFUSE_CHANGE,
    "refuse_final_change": REFUSE_FINAL_CHANGE,
    "require_balanced_transfer": REQUIRE_BALANCED_TRANSFER,
    "require_following_entry": REQUIRE_FOLLOWING_ENTRY,
}


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    for definition in FUNCTIONS.values():
        op.execute(definition)
    for (table, trigger), definition in TRIGGERS.items():
        op.execute(definition)
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for table, trigger in TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}()")
