"""${message}."""

from alembic import op
import sqlalchemy as sa
${imports if imports else ""}
from migrations.guards import set_timeouts

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Bring the schema up to this revision."""
    set_timeouts()
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take the schema back to the revision before."""
    set_timeouts()
    ${downgrades if downgrades else "pass"}
