"""The dashboard and the alert rules name what the service really serves, and say what they mean."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from runtime.composition import Services
from runtime.ports import LOOPBACK, free_port
from tests.support.api import new_key
from tests.support.served import locked_balance, served_api
from tests.support.stack import Stack
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "observability"
RULES = FOLDER / "alerts.yml"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "transfers.json"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

METRIC = re.compile(r"\b(?:transfers|temporal|process)_[a-z_]+\b")
LABELS = re.compile(r"\{[^}]*\}|by \([^)]*\)")
KIND = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
PARTS = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}


def rules() -> list[dict[str, object]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def expressions() -> Iterator[str]:
    yield from (str(rule["expr"]) for rule in rules())
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def named() -> set[str]:
    """Find the metrics that rules and panels name, apart from label values."""
    return {name for each in expressions() for name in METRIC.findall(LABELS.sub("", each))}


def served_names(text: str) -> set[str]:
    return {name + part for name, kind in KIND.findall(text) for part in PARTS.get(kind, ("",))}


def anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


async def test_every_metric_of_a_rule_or_a_panel_is_served(
    stack: Stack, services: Services
) -> None:
    sdk = f"{LOOPBACK}:{free_port()}"
    async with (
        served_api(stack, services.access, TEMPORAL_METRICS_ADDRESS=sdk) as served,
        served.client() as client,
        httpx.AsyncClient(trust_env=False) as prometheus,
    ):
        account, other = await client.account(balance=500), await client.account()
        async with locked_balance(stack.database_url, account["id"]):
            # Its steps fail, first as local activities.
            await client.post_transfer(
                key=new_key(),
                headers={"Prefer": "respond-async"},
                source=account["id"],
                destination=other["id"],
                amount=100,
                currency="EUR",
            )
            found: set[str] = set()

            async def all_is_served() -> bool:
                for url in (served.url, f"http://{sdk}"):
                    found.update(served_names((await prometheus.get(f"{url}/metrics")).text))
                return named() <= found

            try:
                await until(all_is_served, timeout_seconds=40)
            finally:
                assert named() - found == set()


def test_every_rule_has_a_section_of_the_runbook_and_a_line_there() -> None:
    headings = {anchor(line.lstrip("# ")) for line in OPERATIONS.splitlines() if line[:1] == "#"}
    assert len(rules()) > 8
    for rule in rules():
        assert isinstance(rule["annotations"], dict)
        page, _, section = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / page).is_file()
        assert section in headings, rule["alert"]
        assert f"| {rule['alert']} |" in OPERATIONS
        assert rule["labels"] in ({"severity": "warning"}, {"severity": "critical"})


def test_the_dashboard_asks_the_sources_that_are_provisioned() -> None:
    sources = yaml.safe_load(
        (FOLDER / "grafana" / "provisioning" / "datasources" / "datasources.yml").read_text()
    )["datasources"]
    dashboard = json.loads(DASHBOARD.read_text())
    asked = {
        target["datasource"]["uid"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    assert asked <= {source["uid"] for source in sources}
    hosts = {httpx.URL(source["url"]).host for source in sources}
    assert hosts <= COMPOSE["services"].keys()
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))


def test_what_is_mounted_is_there_and_what_is_scraped_is_served() -> None:
    for name in ("prometheus", "grafana"):
        for volume in COMPOSE["services"][name]["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists()
    settings = COMPOSE["services"]["worker"]["environment"]
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    places = {
        job["job_name"]: (dns["names"], dns["port"])
        for job in jobs
        for dns in job["dns_sd_configs"]
    }
    assert places == {
        "transfers-api": (["api"], int(COMPOSE["services"]["api"]["environment"]["API_PORT"])),
        "transfers-worker": (["worker"], int(settings["WORKER_METRICS_PORT"])),
        "temporal-sdk": (
            ["api", "worker"],
            int(settings["TEMPORAL_METRICS_ADDRESS"].rpartition(":")[2]),
        ),
    }


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing (Debian's package prometheus)"
)
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_itself_accepts_the_files_and_fires_as_it_should(
    arguments: tuple[str, ...],
) -> None:
    done = subprocess.run(  # noqa: S603 - the arguments are written out above
        ["promtool", *arguments],  # noqa: S607 - found on the path a moment ago
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing")
def test_prometheus_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rate = [each.replace("$__rate_interval", "1m") for each in expressions()]
    group = {
        "name": "panels",
        "rules": [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(rate)],
    }
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [group]}))
    done = subprocess.run(  # noqa: S603
        ["promtool", "check", "rules", str(path)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
