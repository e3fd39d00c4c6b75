"""Hold the entries of a transfer, and the reversals of one, against what they may sum to.

Counters with checks said how much was captured and reversed; nothing held the entries and the
reversals themselves to these counters.

What a transfer takes from an account is its amount, the sum of its legs from there, or what is
captured of its hold so far. Entries of one account at the same moment meet at its sequence, which
``ledger_entries_follow`` judges before, by the order of the triggers' names: no lock is needed.

A transfer's reversals that have not failed sum to what it counts as reversed, no more and no less,
judged at commit in one look at both. Whoever adds a reversal has to change the counter, whose row
is locked until then; so this too needs no lock of its own.
"""

from alembic import op

from migrations.guards import set_timeouts

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NOTE_UNBALANCED = """
    INSERT INTO unbalanced_postings (tenant_id, transfer_id)
    SELECT DISTINCT tenant_id, transfer_id FROM added
    GROUP BY tenant_id, transfer_id, currency
    HAVING sum(CASE direction WHEN 'CREDIT' THEN amount_minor ELSE -amount_minor END) <> 0;
    RETURN NULL;
"""

# One look at all that is judged: a statement more for each posting could be measured. A transfer's
# own entries are found by its index, for an account may have many. What is rare is judged apart.
REQUIRE_KNOWN_ENTRIES = f"""
CREATE OR REPLACE FUNCTION require_known_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT entry.id, CASE
        WHEN transfer.id IS NULL THEN 'ledger_entries_transfer'
        WHEN account.id IS NULL THEN 'ledger_entries_account'
        WHEN transfer.is_plain THEN 'ledger_entries_within' END AS broken INTO wrong
    FROM added AS entry
    LEFT JOIN LATERAL (
        SELECT id, source_account_id, amount_minor,
            leg_count IS NULL AND captured_minor IS NULL AND state <> 'FAILED' AS is_plain
        FROM transfers WHERE id = entry.transfer_id LIMIT 1
    ) AS transfer ON true
    LEFT JOIN LATERAL (
        SELECT id FROM accounts WHERE id = entry.account_id
            AND tenant_id = entry.tenant_id AND currency = entry.currency LIMIT 1
    ) AS account ON true
    WHERE transfer.id IS NULL OR account.id IS NULL OR (
        entry.direction = 'DEBIT' AND (NOT transfer.is_plain
            OR entry.account_id <> transfer.source_account_id
            OR entry.amount_minor > transfer.amount_minor
            OR EXISTS (
                SELECT FROM ledger_entries AS taken
                WHERE taken.transfer_id = entry.transfer_id AND taken.direction = 'DEBIT'
                    AND taken.id <> entry.id)))
    ORDER BY broken NULLS LAST
    LIMIT 1;
    IF FOUND AND wrong.broken IS NULL THEN
        SELECT entry.id, 'ledger_entries_within' AS broken INTO wrong
        FROM added AS entry
        JOIN LATERAL (SELECT * FROM transfers WHERE id = entry.transfer_id LIMIT 1)
            AS transfer ON true
        WHERE entry.direction = 'DEBIT' AND coalesce(CASE
            WHEN transfer.state = 'FAILED' THEN 0
            WHEN transfer.leg_count IS NOT NULL THEN (
                SELECT sum(leg.amount_minor) FROM transfer_legs AS leg
                WHERE leg.transfer_id = transfer.id AND leg.position <= transfer.leg_count
                    AND leg.source_account_id = entry.account_id)
            WHEN entry.account_id = transfer.source_account_id THEN (
                SELECT least(hold.captured_minor, transfer.amount_minor) FROM holds AS hold
                WHERE hold.transfer_id = transfer.id AND hold.account_id = entry.account_id)
            END, 0) < (
                SELECT sum(taken.amount_minor) FILTER (WHERE taken.account_id = entry.account_id)
                FROM ledger_entries AS taken
                WHERE taken.transfer_id = entry.transfer_id AND taken.direction = 'DEBIT')
        LIMIT 1;
    END IF;
    IF FOUND AND wrong.broken = 'ledger_entries_within' THEN
        RAISE EXCEPTION 'with entry % a transfer takes more than it may', wrong.id
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = wrong.broken;
    ELSIF FOUND THEN
        RAISE EXCEPTION 'entry % refers to what is not there', wrong.id
            USING ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME,
                CONSTRAINT = wrong.broken;
    END IF;
    {NOTE_UNBALANCED.strip()}
END
$$
"""  # noqa: S608 - texts of this file
# As revision 0006 made it.
EARLIER_KNOWN_ENTRIES = f"""
CREATE OR REPLACE FUNCTION require_known_entries() RETURNS trigger LANGUAGE plpgsql AS $$
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
    {NOTE_UNBALANCED.strip()}
END
$$
"""  # noqa: S608 - texts of this file

# A transfer that cannot be seen, because it is another tenant's, cannot be reversed either.
REQUIRE_REVERSALS_COUNTED = """
CREATE FUNCTION require_reversals_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (VALUES (NEW.id), (NEW.reversal_of)) AS concerned (id)
        WHERE concerned.id IS NOT NULL
            AND (SELECT reversed_minor FROM transfers WHERE id = concerned.id)
            IS DISTINCT FROM (
                SELECT coalesce(sum(reversal.amount_minor), 0) FROM transfers AS reversal
                WHERE reversal.reversal_of = concerned.id AND reversal.state <> 'FAILED')
    ) THEN
        RAISE EXCEPTION 'transfer % and its reversals disagree about what is reversed',
                coalesce(NEW.reversal_of, NEW.id)
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME,
                CONSTRAINT = 'transfers_reversals_counted';
    END IF;
    RETURN NULL;
END
$$
"""

# The conditions are judged without a call: what is no reversal costs nothing.
REVERSALS_COUNTED = {
    "transfers_reversals_counted": (
        "INSERT",
        "NEW.reversal_of IS NOT NULL OR NEW.reversed_minor <> 0",
    ),
    "transfers_reversals_failed": (
        "UPDATE OF state",
        "NEW.reversal_of IS NOT NULL AND NEW.state = 'FAILED'",
    ),
    "transfers_reversed_changed": (
        "UPDATE OF reversed_minor",
        "NEW.reversed_minor <> OLD.reversed_minor",
    ),
}
TRIGGERS = {
    trigger: f"""
CREATE CONSTRAINT TRIGGER {trigger} AFTER {event} ON transfers
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ({condition})
EXECUTE FUNCTION require_reversals_counted()
"""
    for trigger, (event, condition) in REVERSALS_COUNTED.items()
}


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.execute(REQUIRE_KNOWN_ENTRIES)
    op.execute(REQUIRE_REVERSALS_COUNTED)
    for trigger, definition in TRIGGERS.items():
        op.execute(definition)
        op.execute(f"ALTER TABLE transfers ENABLE ALWAYS TRIGGER {trigger}")


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    for trigger in TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON transfers")
    op.execute("DROP FUNCTION require_reversals_counted()")
    op.execute(EARLIER_KNOWN_ENTRIES)
