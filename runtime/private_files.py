"""Small files that only their owner may read: passwords, keys, and where the stack runs."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from runtime.local_errors import FolderError


def write_private_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file of mode 0600 so that readers see the whole old or the whole new one."""
    # mkstemp makes the file with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_private_json(path: Path) -> dict[str, Any] | None:
    """Read such a file; None where there is none.

    Raises
    ------
    FolderError
        It cannot be read by this user, or is not what was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FolderError(f"{path} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise FolderError(f"{path} is not a JSON object.")
    return content
