"""``python -m tests.support.audit_dependencies``: known vulnerabilities of all pinned packages.

pip-audit asks a vulnerability service about every version in ``requirements/``. What that service
says is believed only where it knows an old version that is known to be vulnerable: a mirror without
such knowledge, or no network at all, is told as "not checked" and fails nothing. Options of
pip-audit may follow, such as ``--vulnerability-service osv`` or ``--ignore-vuln ID``.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REQUIREMENTS: Final = tuple(sorted(Path("requirements").glob("*.txt")))
CANARY: Final = "urllib3==1.24.1"
"""Vulnerable by CVE-2019-11324 and others, for ever. A mirror of packages may say 404 to what
pip-audit asks, which pip-audit takes for a package without vulnerabilities."""
TIMEOUT_SECONDS: Final = 5

# How pip-audit ends where its service does not answer, or answers with an error.
UNREACHABLE: Final = (
    "requests.exceptions.",
    "ConnectionError",
    "Could not connect",
    "ServiceError",
)


class Unreachable(Exception):
    """The vulnerability service does not answer."""


@dataclass(frozen=True, slots=True)
class Findings:
    """How many packages the service knows, which it does not, and what is wrong with them."""

    packages: int
    unknown: tuple[str, ...]
    vulnerable: tuple[str, ...]


def ask(files: Sequence[Path], options: Sequence[str]) -> Findings:
    """Let pip-audit ask about every package that requirements files pin."""
    wanted = [part for file in files for part in ("--requirement", str(file))]
    fixed = ("--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json")
    done = subprocess.run(  # noqa: S603 - this Python, and what the caller of the check has written
        [
            *(sys.executable, "-m", "pip_audit", *fixed, f"--timeout={TIMEOUT_SECONDS}"),
            *wanted,
            *options,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        if any(mark in done.stderr for mark in UNREACHABLE):
            raise Unreachable(done.stderr.strip().splitlines()[-1]) from None
        raise RuntimeError(f"pip-audit failed: {done.stderr}") from None
    vulnerable = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in "
        f"{' or '.join(found['fix_versions']) or 'no version yet'}"
        for package in report["dependencies"]
        for found in package.get("vulns", ())
    ]
    unknown = tuple(
        package["name"] for package in report["dependencies"] if "skip_reason" in package
    )
    known = len(report["dependencies"]) - len(unknown)
    return Findings(known, unknown, tuple(vulnerable))


def main(options: Sequence[str], files: Sequence[Path] = REQUIREMENTS) -> int:
    """Say what is known; 1 where a pinned package is vulnerable."""
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as canary:
            canary.write(f"{CANARY}\n")
            canary.flush()
            if not ask([Path(canary.name)], options).vulnerable:
                _say(f"Vulnerabilities: not checked: the service knows none of {CANARY}")
                return 0
        findings = ask(files, options)
    except Unreachable as error:
        _say(f"Vulnerabilities: not checked: service unreachable ({error})")
        return 0
    if findings.unknown:
        _say(f"Vulnerabilities: not checked: the service does not know {findings.unknown}")
    for line in findings.vulnerable:
        _say(line)
    _say(f"Vulnerabilities: {len(findings.vulnerable)} in {findings.packages} pinned packages")
    return 1 if findings.vulnerable else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
