"""Which code a schema still serves: migrations expand first, and contract a release later.

A migration only adds, so that the version before goes on working while processes are replaced. One
that takes something away says so, and why it may, in ``contract = "..."``: code that is older than
it is then refused.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # Every process of the product reads this module, and only what migrates has loaded Alembic.
    from alembic.script import ScriptDirectory

FIRST: Final = "0007"
"""Code from here on asks the schema whether it is served; all that is older knows one only."""

CONTRACT: Final = "contract"
MARK: Final = "serves code from revision "


def serves_from(scripts: "ScriptDirectory", revision: str) -> str:
    """Tell the oldest revision whose code works on the schema of another one."""
    for script in scripts.iterate_revisions(revision, "base"):
        if script.revision == FIRST or contracts(scripts, script.revision):
            return script.revision
    return revision


def contracts(scripts: "ScriptDirectory", revision: str) -> str | None:
    """Give the reason why a migration takes something away; ``None`` where it only adds."""
    reason: str | None = getattr(scripts.get_revision(revision).module, CONTRACT, None)
    return reason
