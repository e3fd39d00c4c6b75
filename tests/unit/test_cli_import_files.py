import io
from pathlib import Path

import pytest

from runtime.import_files import (
    AccountFile,
    ImportFileError,
    RejectsFile,
    TransferFile,
    TransferRow,
)

HEADER = "idempotency_key,type,account,amount,currency"
ROW = "k1,DEPOSIT,ext:a,100,EUR"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.csv"


def transfers(path: Path, content: str | bytes) -> list[TransferRow]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(TransferFile(path).transfers())


def test_a_row_becomes_the_request_that_it_stands_for(path: Path) -> None:
    [row] = transfers(
        path,
        f"{HEADER},effective_at,description,balance_after\n"
        f'{ROW},1993-01-01T00:00:00Z,"one, two",100\n',
    )
    assert row.key == "k1"
    assert row.body() == {
        "type": "DEPOSIT",
        "destination": "ext:a",
        "amount": "100",
        "currency": "EUR",
        "effective_at": "1993-01-01T00:00:00Z",
        "description": "one, two",
    }


def test_the_account_of_a_withdrawal_pays(path: Path) -> None:
    [row] = transfers(path, f"{HEADER}\n{ROW.replace('DEPOSIT', 'WITHDRAWAL')}\n")
    assert (row.source, row.destination) == ("ext:a", None)


def test_a_row_without_a_type_is_internal_and_names_both_sides(path: Path) -> None:
    [row] = transfers(
        path,
        "idempotency_key,source,destination,amount,currency\nk1,ext:a,ext:b,5,EUR\n",
    )
    assert row.body() == {
        "type": "INTERNAL",
        "source": "ext:a",
        "destination": "ext:b",
        "amount": "5",
        "currency": "EUR",
    }


def test_an_internal_row_is_not_given_sides_by_its_account_column(path: Path) -> None:
    [row] = transfers(path, f"{HEADER}\n{ROW.replace('DEPOSIT', 'INTERNAL')}\n")
    assert (row.source, row.destination) == (None, None)


def test_spreadsheets_byte_order_marks_line_ends_and_blank_lines_are_read(path: Path) -> None:
    rows = transfers(path, b"\xef\xbb\xbf" + f"{HEADER}\r\n\r\n{ROW}\r\n".encode())
    assert [row.key for row in rows] == ["k1"]


def test_columns_that_are_not_used_are_named(path: Path) -> None:
    path.write_text(f"{HEADER},balance_after\n{ROW},1\n")
    assert TransferFile(path).ignored == ["balance_after"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file.csv is empty"),
        (b"\n\n", "file.csv is empty"),
        (b"idempotency_key,account,currency\n", "line 1: no column amount. The first line names"),
        (b"a;b;c\n", "line 1: no column idempotency_key, amount, currency"),
        (b"idempotency_key,amount,currency\n", "line 1: no column says between which accounts"),
        (f"{HEADER},type\n".encode(), "line 1: column 'type' stands more than once"),
        (f"{HEADER}\n{ROW}\nk2,DEPOSIT\n".encode(), "line 3: 2 fields, where the header has 5"),
        (f"{HEADER}\n{ROW},more\n".encode(), "line 2: 6 fields, where the header has 5"),
        (f'{HEADER}\n{ROW}\n"k2,DEPOSIT\n'.encode(), "line 3: no CSV"),
        (f"{HEADER}\n{ROW}\n".encode() + b"k\xff,,,,\n", "line 3: not UTF-8"),
    ],
)
def test_a_file_that_is_not_of_the_format_is_refused_with_its_line(
    path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(ImportFileError) as refusal:
        transfers(path, content)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_file_without_rows_is_refused(path: Path) -> None:
    path.write_text(f"{HEADER}\n")
    with pytest.raises(ImportFileError, match="a header and no rows"):
        TransferFile(path).count()


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(ImportFileError, match=r"file.csv cannot be read: No such file"):
        TransferFile(path)
    with pytest.raises(ImportFileError, match="cannot be read: Is a directory"):
        TransferFile(path.parent)


def test_an_account_has_a_user_name_and_a_limit_where_the_row_has_them(path: Path) -> None:
    path.write_text(
        "external_id,user_external_id,currency,overdraft_limit,user_name\n"
        "a-1,u-1,EUR,500,Ada\na-2,u-2,JPY,,\n"
    )
    first, second = AccountFile(path).accounts()
    assert (first.user_name, first.overdraft_limit_minor) == ("Ada", 500)
    assert (second.user_name, second.overdraft_limit_minor) == ("u-2", 0)
    assert (second.reference, second.place) == ("ext:a-2", f"{path}, line 3")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",u,EUR,0", "external_id '' is no external id"),
        ("a,b/c,EUR,0", "user_external_id 'b/c' is no external id"),
        ("a,u,EURO,0", "currency 'EURO' is not in ISO 4217"),
        ("a,u,EUR,-1", "overdraft_limit '-1' is no number of minor units"),
        ("a,u,EUR,1" + "0" * 31, "is no number of minor units"),
    ],
)
def test_an_account_that_is_not_valid_is_refused_with_its_line(
    path: Path, row: str, message: str
) -> None:
    path.write_text(f"external_id,user_external_id,currency,overdraft_limit\n{row}\n")
    with pytest.raises(ImportFileError) as refusal:
        list(AccountFile(path).accounts())
    assert str(refusal.value).startswith(f"{path}, line 2: ")
    assert message in str(refusal.value)


def test_rejects_are_the_rows_as_they_came_with_the_reason() -> None:
    file = io.StringIO()
    rejects = RejectsFile(file, ["idempotency_key", "amount", "code", "detail"])
    row = TransferRow({"idempotency_key": "k1", "amount": "5", "code": "old", "detail": "old"})
    rejects.add(row, code="insufficient_funds", detail="too little, by 3")
    assert file.getvalue().splitlines() == [
        "idempotency_key,amount,code,detail",
        'k1,5,insufficient_funds,"too little, by 3"',
    ]
