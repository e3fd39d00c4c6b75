"""What the files that build, start and check the service promise, held without Docker."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from runtime.settings import Settings
from workflows.search_attributes import SEARCH_ATTRIBUTE_NAMES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE = COMPOSE_FILE.read_text()
ENV_EXAMPLE = (ROOT / ".env.example").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
REQUIREMENT_FILES = sorted(path.name for path in (ROOT / "requirements").iterdir())

PASSWORDS = [
    "LEDGER_DB_PASSWORD",
    "LEDGER_READER_PASSWORD",
    "LEDGER_SERVICE_PASSWORD",
    "TEMPORAL_DB_PASSWORD",
]
KEYS = "PAYLOAD_KEYS"
COMMAND_TIMEOUT_SECONDS = 60

SET_BY_COMPOSE = {
    "API_HOST": "every address of the container; what is published decides who reaches it",
    "API_PORT": "of the container; API_PORTS are the machine's",
    "DATABASE_URL": "ledger-db, as the service's role",
    "TEMPORAL_ADDRESS": "the service temporal",
    "TEMPORAL_METRICS_ADDRESS": "where deploy/observability/prometheus.yml looks",
}
OF_THE_WORKER_ALONE = {"WORKER_METRICS_PORT": "where deploy/observability/prometheus.yml looks"}
LEFT_OUT = {
    "DATABASE_SSL_MODE": "ledger-db has no TLS, on a network of its own",
    "DATABASE_SSL_ROOT_CERTIFICATE": "the same",
    "PAYLOAD_KEYS_FILE": "PAYLOAD_KEYS is required, and goes without it",
    "RUN_WORKER_IN_API": "the fast path needs it",
    "TEMPORAL_API_KEY": "of Temporal Cloud",
    "TEMPORAL_TLS": "the service temporal has none, on a network of its own",
    "TEMPORAL_TLS_CA": "the same",
    "TEMPORAL_TLS_CERT": "the same",
    "TEMPORAL_TLS_KEY": "the same",
    "TEMPORAL_TLS_SERVER_NAME": "the same",
}
OF_REQUESTS = ("API_", "OIDC_", "CHECKPOINT_", "TEMPORAL_UI_")

# ${NAME} with what may follow the name: `:-default`, `:?message`. $$ is a dollar of the shell's.
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")
SETTING = re.compile(r"^(?P<name>\w+)=(?P<value>.*)$", re.MULTILINE)
PIN = re.compile(
    r"(?P<name>[a-z0-9._-]+)(?:\[[a-z0-9_,-]+\])?==(?P<version>[^\s;]+)"
    r"(?: ; [^-]+?(?=\s+--))?(?:\s+--hash=sha256:[0-9a-f]{64})+"
)
# Joined here, so that this file does not name them either.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("crates", "io"),
        ("golang", "org"),
        ("npmjs", "org"),
        ("maven", "org"),
        ("deb", "debian", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
    ]
]
MACHINE_PATH = re.compile(r"(?<![\w.$}-])/(?:root|work|home|Users)/\w")


def settings_of_example() -> dict[str, str]:
    return {match["name"]: match["value"] for match in SETTING.finditer(ENV_EXAMPLE)}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - every command is written out in this file
        command,
        cwd=folder,
        env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
        check=False,
    )


def compose_command(folder: Path) -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and run([*command, "version"], folder).returncode == 0:
            return command
    pytest.skip("neither `docker compose` nor `docker-compose` is installed")


def compose_config(folder: Path, **passwords: str) -> subprocess.CompletedProcess[str]:
    settings = settings_of_example() | passwords
    env_file = folder / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    command = compose_command(folder)
    options = ["--env-file", str(env_file), "--file", str(COMPOSE_FILE)]
    return run([*command, *options, "config"], folder)


def pins_of(file_name: str) -> set[tuple[str, str]]:
    text = (ROOT / "requirements" / file_name).read_text().replace("\\\n", "")
    lines = [line.strip() for line in text.splitlines()]
    pins = set()
    for line in lines:
        if line and not line.startswith("#"):
            pin = PIN.fullmatch(line)
            assert pin is not None, f"{file_name}: not a pin with hashes: {line}"
            pins.add((pin["name"], pin["version"]))
    return pins


def committed_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    options = ["-z", "--cached", "--others", "--exclude-standard"]
    listing = run(["git", "-c", f"safe.directory={ROOT}", "ls-files", *options], ROOT)
    assert listing.returncode == 0, listing.stderr
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_compose_accepts_the_file_once_the_passwords_are_filled_in(tmp_path: Path) -> None:
    passwords = {name: f"secret-of-{name.lower()}" for name in PASSWORDS}
    service = passwords["LEDGER_SERVICE_PASSWORD"]

    result = compose_config(tmp_path, **passwords, **{KEYS: "k1:x"})

    assert result.returncode == 0, result.stderr
    assert f"postgresql://transfers_service:{service}@ledger-db:5432/ledger" in result.stdout


@pytest.mark.parametrize("missing", PASSWORDS)
def test_compose_refuses_an_empty_password_and_tells_how_to_make_one(
    tmp_path: Path, missing: str
) -> None:
    passwords = dict.fromkeys([*PASSWORDS, "PAYLOAD_KEYS"], "secret") | {missing: ""}

    result = compose_config(tmp_path, **passwords)

    assert result.returncode != 0
    assert f"set {missing} in .env to the output of: openssl rand -hex 24" in result.stderr


def test_the_example_documents_exactly_the_variables_of_the_compose_file() -> None:
    used = {match["name"] for match in VARIABLE.finditer(COMPOSE)}
    own = {"COMPOSE_PROJECT_NAME"}  # compose itself reads it

    assert set(settings_of_example()) == used | own


def test_only_jobs_that_end_know_the_password_of_the_owner() -> None:
    [jobs] = re.findall(r"^  roles:\n(.+?)^  api:\n", COMPOSE, re.MULTILINE | re.DOTALL)

    uses = r"\*owner-url|\$\{LEDGER_DB_PASSWORD"
    of_the_server = 1
    assert len(re.findall(uses, COMPOSE)) == len(re.findall(uses, jobs)) + of_the_server
    assert 'command: ["migrate"]' in jobs


def test_no_password_has_a_default() -> None:
    kinds = {
        name: {match["kind"] for match in VARIABLE.finditer(COMPOSE) if match["name"] == name}
        for name in settings_of_example()
        if "PASSWORD" in name
    }

    assert sorted(kinds) == PASSWORDS
    assert all("?" in found and "-" not in found for found in kinds.values())
    assert all(settings_of_example()[name] == "" for name in PASSWORDS)
    assert re.findall(r"(?:PASSWORD|PWD): (?!\"\$\{|[&*])(.+)", COMPOSE) == []


def test_the_defaults_of_the_compose_file_are_those_of_the_example() -> None:
    settings = settings_of_example()
    defaults = [match for match in VARIABLE.finditer(COMPOSE) if match["kind"] == "-"]

    assert defaults
    assert {match["name"]: match["text"] for match in defaults} == {
        match["name"]: settings[match["name"]] for match in defaults
    }


def test_compose_does_not_start_without_keys_for_payloads() -> None:
    [kind] = {match["kind"] for match in VARIABLE.finditer(COMPOSE) if match["name"] == KEYS}

    assert kind == "?"
    assert settings_of_example()[KEYS] == ""


def test_temporals_ui_gets_payloads_in_clear_from_the_api() -> None:
    assert 'TEMPORAL_CODEC_ENDPOINT: "${API_URL:-http://127.0.0.1:8080}/codec"' in COMPOSE
    assert 'TEMPORAL_CODEC_INCLUDE_CREDENTIALS: "true"' in COMPOSE


def test_ports_are_published_on_loopback_alone() -> None:
    blocks = re.findall(r"^ +ports:\n((?:^ +- .+\n)+)", COMPOSE, re.MULTILINE)
    ports = [line.strip() for block in blocks for line in block.splitlines()]

    assert len(ports) == len(re.findall(r"\bports:", COMPOSE)) == 3
    assert all(port.startswith('- "127.0.0.1:') for port in ports)


def test_images_of_others_are_pinned_and_temporals_agree() -> None:
    images = re.findall(r"^ +image: \"?([\w/-]+):([^\"\s]+)", COMPOSE, re.MULTILINE)
    tags = {name: tag for name, tag in images if name != "durable-transfers"}
    [python_tag] = re.findall(r"^ARG PYTHON_IMAGE=python:(\S+)$", DOCKERFILE, re.MULTILINE)

    assert sorted(tags) == [
        "grafana/grafana",
        "jaegertracing/jaeger",
        "postgres",
        "prom/prometheus",
        "temporalio/admin-tools",
        "temporalio/server",
        "temporalio/ui",
    ]
    assert all(re.match(r"v?\d+\.\d+", tag) for tag in [*tags.values(), python_tag])
    assert tags["temporalio/server"] == tags["temporalio/admin-tools"]


def test_replicas_can_be_added_because_no_container_has_a_fixed_name() -> None:
    assert "container_name" not in COMPOSE


def test_compose_registers_the_search_attributes_of_the_code() -> None:
    registered = re.search(r"SEARCH_ATTRIBUTES: >-\n +(.+)\n", COMPOSE)

    assert registered is not None
    assert sorted(registered[1].split()) == sorted(SEARCH_ATTRIBUTE_NAMES)


def environment_of(service: str) -> dict[str, str]:
    return dict(yaml.safe_load(COMPOSE)["services"][service]["environment"])


def forwarded_to(service: str) -> dict[str, re.Match[str]]:
    """Find the settings that come from the variable of the same name in ``.env``."""
    found = {name: VARIABLE.fullmatch(text) for name, text in environment_of(service).items()}
    return {name: match for name, match in found.items() if match and match["name"] == name}


def test_every_setting_is_forwarded_to_the_api_or_is_left_to_compose_for_a_reason() -> None:
    given, forwarded = environment_of("api"), forwarded_to("api")

    assert {name.upper() for name in Settings.model_fields} == {
        *forwarded,
        *SET_BY_COMPOSE,
        *LEFT_OUT,
        *OF_THE_WORKER_ALONE,
    }
    assert given.keys() == forwarded.keys() | SET_BY_COMPOSE.keys()


def test_the_worker_gets_every_setting_but_those_of_requests() -> None:
    of_requests = {name for name in forwarded_to("api") if name.startswith(OF_REQUESTS)}

    assert forwarded_to("worker").keys() == forwarded_to("api").keys() - of_requests
    others = environment_of("worker").keys() - forwarded_to("worker").keys()
    assert others == (SET_BY_COMPOSE.keys() | OF_THE_WORKER_ALONE.keys()) - {"API_PORT"}


def test_a_default_of_compose_is_the_services_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1/ledger")
    own = Settings()
    defaults = {name: match["text"] for name, match in forwarded_to("api").items()}
    for name in defaults.keys() - {KEYS}:
        monkeypatch.setenv(name, defaults[name])

    given = Settings()

    differing = {
        name.upper() for name in Settings.model_fields if getattr(own, name) != getattr(given, name)
    }
    assert differing == {"TEMPORAL_NAMESPACE", "TEMPORAL_UI_URL"}


def test_the_image_holds_every_package_of_the_wheel_and_no_secrets() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    admitted = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    others = {"LICENSE", "README.md", "pyproject.toml", "requirements"}

    assert rules[0] == "*"
    assert admitted == set(packages) | others


def test_the_image_runs_as_an_unprivileged_user() -> None:
    [user] = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)

    assert int(user) > 0


def test_the_image_installs_nothing_that_is_not_hash_locked() -> None:
    steps = DOCKERFILE.replace("\\\n", " ").replace("&&", "\n").splitlines()
    installs = [step for step in steps if re.search(r"/pip .*\binstall\b", step)]

    assert len(installs) == 3
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)


@pytest.mark.parametrize("file_name", REQUIREMENT_FILES)
def test_every_requirement_is_pinned_with_hashes_and_no_index_is_named(file_name: str) -> None:
    text = (ROOT / "requirements" / file_name).read_text()

    assert pins_of(file_name)
    assert re.findall(r"--(?:extra-)?index-url|--find-links|://", text) == []


@pytest.mark.parametrize("file_name", ["bench.txt", "build.txt", "production.txt"])
def test_what_is_deployed_is_what_is_tested(file_name: str) -> None:
    tested = dict(pins_of("dev.txt"))
    deployed = dict(pins_of(file_name))

    differing = {name: v for name, v in deployed.items() if tested.get(name, v) != v}
    assert differing == {}


def test_ci_can_be_started() -> None:
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    found = []
    for path in committed_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        words = [host for host in REGISTRY_HOSTS if host in text]
        words += MACHINE_PATH.findall(text)
        if words:
            found.append((str(path.relative_to(ROOT)), words))

    assert found == []
