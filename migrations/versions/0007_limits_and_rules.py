"""Say on the balance itself whether the account has limits, and on a rule who retired it.

A reserve that waited for the balance's lock sees the row's newest version and nothing else that has
changed meanwhile: limits that were set while it waited would escape it in their own table.
"""

import sqlalchemy as sa
from alembic import op

from migrations.guards import set_timeouts

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    op.add_column(
        "balances",
        sa.Column("has_limits", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.add_column(
        "approval_rules", sa.Column("retired_by", sa.Uuid(), nullable=True, comment="API key")
    )
    op.execute(
        "UPDATE balances SET has_limits = true FROM account_limits"
        " WHERE account_limits.account_id = balances.account_id"
    )


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    op.drop_column("approval_rules", "retired_by")
    op.drop_column("balances", "has_limits")
