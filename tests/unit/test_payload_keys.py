"""Keys of payloads are read strictly, and never shown."""

from pathlib import Path

import pytest

from tests.support.payloads import new_payload_key
from workflows.payload_keys import PayloadKeyMissing, PayloadKeyRing, PayloadKeysWrong

K1, K2 = new_payload_key("k1"), new_payload_key("k2")


def test_the_first_key_encrypts_and_all_are_there() -> None:
    ring = PayloadKeyRing.parse(f"{K2},{K1}")
    assert ring.current == "k2"
    assert {len(ring.secret(key_id)) for key_id in ("k1", "k2")} == {32}


def test_a_file_has_a_key_a_line_and_may_have_remarks(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# since spring\n{K1}\n\n{K2}\n")
    assert PayloadKeyRing.read(path).current == "k1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no key"),
        ("k1", "has not the form"),
        (f"a b:{K1[3:]}", "has not the form"),
        (f"ü:{K1[3:]}", "has not the form"),
        ("k1:no base64!", "k1"),
        ("k1:AAAA", "has 3 bytes and must have 32"),
        (f"{K1},{K1}", "same id"),
    ],
    ids=["none", "id alone", "blank in id", "umlaut in id", "no base64", "short", "id twice"],
)
def test_what_is_not_a_key_is_refused(text: str, says: str) -> None:
    with pytest.raises(PayloadKeysWrong, match=says):
        PayloadKeyRing.parse(text)


def test_no_message_shows_a_key(tmp_path: Path) -> None:
    secret = K1[3:]
    path = tmp_path / "keys"
    path.write_text(f"{K1}{secret}")
    with pytest.raises(PayloadKeysWrong) as refusal:
        PayloadKeyRing.read(path)
    assert secret[:8] not in str(refusal.value)
    assert secret not in repr(PayloadKeyRing.parse(K1))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PayloadKeysWrong, match="cannot be read: No such file"):
        PayloadKeyRing.read(tmp_path / "none")


def test_a_key_that_is_missing_is_named() -> None:
    with pytest.raises(PayloadKeyMissing, match=r"'k2'.*PAYLOAD_KEYS"):
        PayloadKeyRing.parse(K1).secret("k2")
