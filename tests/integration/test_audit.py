"""The check for known vulnerabilities, with a stand-in of the service that it asks."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.ports import free_port
from tests.support.audit_dependencies import CANARY, main

PINNED = "left==1.0\nright==2.0\n"
CANARYS_NAME = CANARY.partition("==")[0]


@contextmanager
def service(vulnerable: Mapping[str, str], *, status: int = 200) -> Iterator[list[str]]:
    """Serve as the database of OSV does; gives pip-audit's options to ask it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = asked["package"]["name"]
            found = {"vulns": [advisory(name, vulnerable[name])]} if name in vulnerable else {}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_arguments: Any) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield asking(server.server_port)
        finally:
            server.shutdown()
            thread.join()


def asking(port: int) -> list[str]:
    url = f"http://127.0.0.1:{port}/v1/query"
    return ["--vulnerability-service", "osv", "--osv-url", url]


def advisory(name: str, advisory_id: str) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}]
    return {
        "id": advisory_id,
        "summary": "as the test has it",
        "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}],
    }


@pytest.fixture
def pinned(tmp_path: Path) -> list[Path]:
    file = tmp_path / "pinned.txt"
    file.write_text(PINNED)
    return [file]


def test_a_vulnerable_package_fails_the_check_and_is_named(
    pinned: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with service({CANARYS_NAME: "CVE-0", "right": "CVE-1"}) as options:
        assert main([*options, "--cache-dir", str(tmp_path)], pinned) == 1
    said = capsys.readouterr().out
    assert "right 2.0: CVE-1, fixed in 9.9" in said
    assert "1 in 2 pinned packages" in said


def test_packages_of_which_nothing_bad_is_known_pass(
    pinned: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with service({CANARYS_NAME: "CVE-0"}) as options:
        assert main(options, pinned) == 0
    assert "Vulnerabilities: 0 in 2 pinned packages" in capsys.readouterr().out


def test_a_service_that_knows_nothing_is_not_taken_for_a_clean_bill(
    pinned: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with service({}) as options:
        assert main(options, pinned) == 0
    assert f"not checked: the service knows none of {CANARY}" in capsys.readouterr().out


def test_a_service_that_is_away_is_told_and_fails_nothing(
    pinned: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asking(free_port()), pinned) == 0
    with service({}, status=503) as options:
        assert main(options, pinned) == 0
    assert capsys.readouterr().out.count("not checked: service unreachable") == 2


def test_an_audit_that_breaks_for_another_reason_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.txt"
    broken.write_text("left>=1\n")
    with (
        service({CANARYS_NAME: "CVE-0"}) as options,
        pytest.raises(RuntimeError, match="pip-audit failed"),
    ):
        main(options, [broken])
