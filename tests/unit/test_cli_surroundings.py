import json
from pathlib import Path

import pytest

from cli.calls import api_place
from cli.failures import CommandFailed
from cli.options import parse_metadata
from cli.surroundings import settings_from_environment, settings_or_stack

URL = "postgresql://user:password@127.0.0.1:5432/ledger"
STACK = {
    "api_url": "http://127.0.0.1:18700",
    "console_url": "http://127.0.0.1:18734/console",
    "temporal_ui_url": "http://127.0.0.1:18734",
    "temporal_address": "127.0.0.1:18733",
    "temporal_namespace": "default",
    "database_url": URL,
    "api_key": "client-key",
    "operator_key": "operator-key",
    "pids": {},
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "API_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "stack.json").write_text(json.dumps(STACK))
    return tmp_path


def test_a_running_stack_is_found_by_its_file(data_dir: Path) -> None:
    place = api_place(None, None, data_dir)
    assert (place.url, place.key) == ("http://127.0.0.1:18700", "client-key")
    settings = settings_or_stack(data_dir)
    assert settings.database_url.get_secret_value() == URL
    assert settings.temporal_address == "127.0.0.1:18733"


def test_what_is_given_comes_before_the_stack(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = api_place("https://api.example/", "own-key", data_dir)
    assert (place.url, place.key) == ("https://api.example", "own-key")
    monkeypatch.setenv("DATABASE_URL", "postgresql://other/database")
    settings = settings_or_stack(data_dir)
    assert settings.database_url.get_secret_value() == "postgresql://other/database"
    assert settings.temporal_address == "127.0.0.1:7233"


def test_another_tenants_key_works_with_the_stacks_url(data_dir: Path) -> None:
    place = api_place(None, "own-key", data_dir)
    assert (place.url, place.key) == ("http://127.0.0.1:18700", "own-key")


def test_the_stacks_key_is_not_sent_to_another_server(data_dir: Path) -> None:
    with pytest.raises(CommandFailed, match="TRANSFERS_API_KEY"):
        api_place("https://api.example", None, data_dir)


def test_without_any_place_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"`transfers dev`.*--api-url.*TRANSFERS_API_URL"):
        api_place(None, None, tmp_path)
    with pytest.raises(CommandFailed, match=r"DATABASE_URL is not set.*`transfers dev`"):
        settings_or_stack(tmp_path)


def test_a_server_does_not_take_a_local_stacks_settings(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data_dir)
    with pytest.raises(CommandFailed, match="DATABASE_URL is not set"):
        settings_from_environment()


@pytest.mark.parametrize("url", ["foo", "mysql://a/b", "postgresql://host", "postgresql://h:x/"])
def test_a_database_url_of_another_form_is_refused_without_showing_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(CommandFailed, match="has not the form postgresql://") as refusal:
        settings_from_environment()
    assert url not in str(refusal.value).split()


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("API_PORT", "http")
    with pytest.raises(CommandFailed, match="API_PORT") as refusal:
        settings_from_environment()
    assert "password" not in str(refusal.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"api_url": "x", "unknown": 1}'])
def test_a_file_that_no_stack_wrote_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    with pytest.raises(CommandFailed, match=r"stack\.json"):
        api_place(None, None, tmp_path)


@pytest.mark.parametrize("url", ["127.0.0.1:18700", "ftp://host", "http://", "http://[x"])
def test_what_is_no_url_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="is no URL of an API"):
        api_place(url, "key", tmp_path)


def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="The API key holds characters") as refusal:
        api_place("http://api", "geheim-ä", tmp_path)
    assert "geheim" not in str(refusal.value)


def test_metadata_is_a_json_object() -> None:
    assert parse_metadata(None) is None
    assert parse_metadata('{"till": 7}') == {"till": 7}
    for text in ("{", "[]", "7"):
        with pytest.raises(CommandFailed, match=r"--metadata is .* Give an object"):
            parse_metadata(text)
