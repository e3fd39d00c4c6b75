"""Judge plain postings, which nearly all are, with two look-ups each instead of five.

A transfer between two accounts that is debited and credited once has its two entries and no more.
Its accounts exist, in its tenant and currency, since ``transfers_known`` has seen to that, and
neither it nor they can change. Where all entries of a statement are of such postings, nothing is
left to judge; else all are judged as before. Replaces a function only.
"""

from alembic import op

from migrations.guards import set_timeouts

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# As revision 0015 made it.
JUDGE_EACH = """
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
    INSERT INTO unbalanced_postings (tenant_id, transfer_id)
    SELECT DISTINCT tenant_id, transfer_id FROM added
    GROUP BY tenant_id, transfer_id, currency
    HAVING sum(CASE direction WHEN 'CREDIT' THEN amount_minor ELSE -amount_minor END) <> 0;
    RETURN NULL;
"""

# With two entries in all, both of this statement, a posting has each of them counted once. The
# planner may not know yet how long the tables have become.
JUDGE_PLAIN = """
    SELECT count(*) INTO plain
    FROM (
        SELECT transfer_id, tenant_id, currency, amount_minor,
            any_value(account_id) FILTER (WHERE direction = 'DEBIT') AS source_id,
            any_value(account_id) FILTER (WHERE direction = 'CREDIT') AS destination_id
        FROM added
        GROUP BY transfer_id, tenant_id, currency, amount_minor
        HAVING count(*) = 2 AND count(*) FILTER (WHERE direction = 'DEBIT') = 1
    ) AS posting
    CROSS JOIN LATERAL (
        SELECT FROM transfers
        WHERE id = posting.transfer_id AND source_account_id = posting.source_id
            AND destination_account_id = posting.destination_id
            AND tenant_id = posting.tenant_id AND currency = posting.currency
            AND amount_minor >= posting.amount_minor AND leg_count IS NULL
            AND captured_minor IS NULL AND state <> 'FAILED'
        LIMIT 1
    ) AS transfer
    WHERE (SELECT count(*) FROM ledger_entries WHERE transfer_id = posting.transfer_id) = 2;
    IF plain * 2 = (SELECT count(*) FROM added) THEN
        RETURN NULL;
    END IF;
"""


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.execute(
        "CREATE OR REPLACE FUNCTION require_known_entries() RETURNS trigger LANGUAGE plpgsql"
        " SET enable_seqscan = off AS $$ DECLARE wrong record; plain bigint; BEGIN"
        f"{JUDGE_PLAIN}{JUDGE_EACH}END $$"
    )


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    op.execute(
        "CREATE OR REPLACE FUNCTION require_known_entries() RETURNS trigger LANGUAGE plpgsql"
        f" AS $$ DECLARE wrong record; BEGIN{JUDGE_EACH}END $$"
    )
