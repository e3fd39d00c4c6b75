"""What settings of the issuer are taken."""

import pytest
from pydantic import SecretStr, ValidationError

from runtime.settings import Settings

URL = SecretStr("postgresql://user:password@host/database")


@pytest.mark.parametrize(
    "issuer", ["https://login.example", "http://127.0.0.1:9000", "http://localhost:9000/realm"]
)
def test_an_issuer_is_called_over_https_or_on_this_machine(issuer: str) -> None:
    assert Settings(database_url=URL, oidc_issuer=issuer, oidc_audience="x").oidc_issuer == issuer


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://login.example", "oidc_audience": "x"},
        {"oidc_issuer": "ftp://127.0.0.1", "oidc_audience": "x"},
        {"oidc_issuer": "https://login.example"},
        {"oidc_audience": "x"},
        {
            "oidc_issuer": "https://login.example",
            "oidc_audience": "x",
            "oidc_jwks_url": "http://login.example/keys",
        },
    ],
    ids=str,
)
def test_an_issuer_that_could_be_another_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"database_url": URL, **wrong})


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_ISSUER", "")
    monkeypatch.setenv("OIDC_AUDIENCE", "")
    assert Settings(database_url=URL).oidc_issuer is None
