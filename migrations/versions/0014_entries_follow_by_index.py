"""Look up the entry before a new one by its account and sequence, whoever posts.

Under row security a join on ``entry.sequence - 1`` is no condition for an index: the subtraction
might leak what the policy hides. So each posting of the service read all entries of both accounts.
In a subquery of its own the number is known before.
"""

from alembic import op

from migrations.guards import set_timeouts

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LOOKED_UP = """
    LEFT JOIN LATERAL (
        SELECT balance_after_minor FROM ledger_entries
        WHERE account_id = entry.account_id AND sequence = entry.sequence - 1
        LIMIT 1
    ) AS previous ON true
"""
JOINED = """
    LEFT JOIN ledger_entries AS previous
        ON previous.account_id = entry.account_id AND previous.sequence = entry.sequence - 1
"""


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.execute(_require_following_entry(LOOKED_UP))


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    op.execute(_require_following_entry(JOINED))


def _require_following_entry(previous: str) -> str:
    return f"""
CREATE OR REPLACE FUNCTION require_following_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT entry.account_id, entry.sequence INTO wrong
    FROM added AS entry
    {previous.strip()}
    WHERE (entry.sequence > 1 AND previous.balance_after_minor IS NULL)
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
"""  # noqa: S608 - texts of this file
