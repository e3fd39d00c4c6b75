"""The tables that show an evidence document's chain proof."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from domain.ledger_seals import text_digest

Table: TypeAlias = tuple[str, Sequence[tuple[str, float]], Sequence[Sequence[str]]]
"""Title, columns with their relative widths, and rows."""


def proof_tables(proof: Mapping[str, Any], account_numbers: Mapping[str, str]) -> Iterator[Table]:
    """Lay a proof out, from the entries up to their seals."""
    yield (
        f"Chain proof, made with this document: {proof['result']}",
        (
            *(("Entry", 3.2), ("Account", 1.8), ("Sequence", 0.9), ("Seal", 0.7), ("Result", 0.9)),
            ("SHA-256 of the entry, or what differs", 5.0),
        ),
        [
            (
                each["entry_id"],
                account_numbers.get(each["account_id"], each["account_id"]),
                str(each["sequence"]),
                "none yet" if each["seal_number"] is None else str(each["seal_number"]),
                each["result"],
                each["finding"] or text_digest(each["entry_text"]).hex(),
            )
            for each in proof["entries"]
        ],
    )
    yield (
        "Sealed records of the accounts",
        (("Seal", 0.8), ("Account", 2.0), ("Sequences", 1.4), ("Digest", 5.8)),
        [
            (
                str(each["seal_number"]),
                account_numbers.get(each["account_id"], each["account_id"]),
                f"{each['first_sequence']} to {each['last_sequence']}",
                each["digest"],
            )
            for each in proof["segments"]
        ],
    )
    for seal in proof["seals"]:
        yield (f"Seal {seal['number']}", (("What", 1.4), ("Value", 6.0)), _seal_rows(seal))


def _seal_rows(seal: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    rows = (
        ("Hash", seal["hash"]),
        ("Sealed at (UTC)", seal["sealed_at"].replace("T", " ").removesuffix("Z")),
    )
    content = seal["content"]
    if content is None:
        return rows
    counts = f"{content['segments']}, {content['entries']}, {content['position']}"
    return (
        *rows,
        ("Hash of the seal before", content["previous_hash"]),
        ("Root over its records", content["root"]),
        ("Records, entries, position", counts),
    )
