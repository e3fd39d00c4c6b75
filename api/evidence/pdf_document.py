"""An evidence document as pages of a PDF.

Kept apart from everything else of the API, since it runs in a process of its own: see
``api.evidence.pdf_program``.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from api.evidence.pdf_proof import proof_tables
from api.statements.pdf_sheet import (
    ACCENT,
    BASELINE,
    GAP,
    HAIRLINE,
    INK,
    LINE_HEIGHT,
    MARGIN,
    MUTED,
    ROW_HEIGHT,
    SMALL_SIZE,
    TEXT_SIZE,
    PdfSheet,
)
from services.currencies import find_currency

PAGES_MAXIMUM: Final = 9_999
SECTION_GAP: Final = 14.0
FIELD_HEIGHT: Final = 28.0
NOTHING: Final = "\N{EN DASH}"

Document: TypeAlias = Mapping[str, Any]
Columns: TypeAlias = Sequence[tuple[str, float]]
"""Headings, and how wide each is in relation to the others."""


class PdfEvidence(PdfSheet):
    """Sets an evidence document, section by section.

    Parameters
    ----------
    document
        As ``api.evidence.views.EvidenceView`` writes it in JSON.
    """

    def __init__(self, document: Document) -> None:
        super().__init__(PAGES_MAXIMUM)
        self._document = document
        self._transfer: Document = document["transfer"]
        self._numbers = {each["id"]: each["account_number"] for each in document["accounts"]}
        self._describe()
        self._attach()

    def write(self) -> bytearray:
        """Set all of it, and give the document."""
        self._pdf.add_page()
        self._head()
        self._movements()
        self._request()
        self._log()
        self._workflow()
        self._proof()
        self._end_page()
        return self._pdf.output()

    def _describe(self) -> None:
        pdf, transfer = self._pdf, self._transfer
        pdf.set_title(f"Evidence of transfer {transfer['id']}")
        pdf.set_author(self._document["tenant_name"])
        pdf.set_subject(f"All that is on record of transfer {transfer['id']}")
        pdf.set_creator("Durable transfers")
        pdf.set_lang("en")
        pdf.set_creation_date(datetime.fromisoformat(self._document["generated_at"]))

    def _attach(self) -> None:
        """Attach the JSON document, from which everything here can be made again."""
        self._pdf.embed_file(
            bytes=json.dumps(self._document, ensure_ascii=False).encode(),
            basename=f"evidence-{self._transfer['id']}.json",
            mime_type="application/json",
            modification_date=datetime.fromisoformat(self._document["generated_at"]),
        )

    def _head(self) -> None:
        transfer = self._transfer
        failure = transfer["failure"]
        state = transfer["state"] + (f" ({failure['code']})" if failure else "")
        self._y = self._title(self._document["tenant_name"], "Transfer evidence")
        rows = (
            ("Transfer", transfer["id"], "State", f"{state}, stage {transfer['stage']}"),
            ("Idempotency key", transfer["idempotency_key"], "Type", transfer["type"]),
            (
                "Amount",
                self._money(transfer["amount"]),
                "Created (UTC)",
                _time(transfer["created_at"]),
            ),
            (
                *("From account", self._number(transfer["source"])),
                *("Completed (UTC)", _time(transfer["completed_at"])),
            ),
            (
                *("To account", self._number(transfer["destination"])),
                *("Generated (UTC)", _time(self._document["generated_at"])),
            ),
            ("Description", transfer["description"] or NOTHING, "Capture", transfer["capture"]),
        )
        half = self._pdf.w / 2 - MARGIN - GAP
        for left_label, left, right_label, right in rows:
            self._field(MARGIN, self._y, left_label, left, half)
            self._field(self._pdf.w / 2, self._y, right_label, right, half)
            self._y += FIELD_HEIGHT
        if failure:
            self._field(MARGIN, self._y, "Failure", failure["message"], 2 * half)
            self._y += FIELD_HEIGHT

    def _movements(self) -> None:
        """Set what says how money was held and moved."""
        document = self._document
        self._table(
            "Ledger entries",
            (
                *(("Recorded (UTC)", 2.0), ("Account", 2.0), ("Sequence", 0.9), ("Direction", 1.0)),
                *(("Amount", 1.8), ("Balance after", 1.9), ("Entry", 4.1)),
            ),
            [
                (
                    _time(each["created_at"]),
                    self._number(each["account_id"]),
                    str(each["sequence"]),
                    each["direction"],
                    self._money(each["amount"], each["currency"]),
                    self._money(each["balance_after"], each["currency"]),
                    each["id"],
                )
                for each in document["entries"]
            ],
        )
        self._table(
            "Holds",
            (
                *(("Opened (UTC)", 2.0), ("Closed (UTC)", 2.0), ("Account", 2.0)),
                *(("Amount", 2.0), ("Captured", 2.0), ("Status", 1.2)),
            ),
            [
                (
                    _time(each["created_at"]),
                    _time(each["closed_at"]),
                    self._number(each["account_id"]),
                    self._money(each["amount"], each["currency"]),
                    self._money(each["captured_amount"], each["currency"]),
                    each["status"],
                )
                for each in document["holds"]
            ],
        )

    def _request(self) -> None:
        """Set what was asked for, by whom, and what was done with it later."""
        request = self._document["request"]
        key = request["requested_by"]
        claim = "the same" if request["is_fingerprint_of_claim"] else "NOT the same"
        self._table(
            "Request",
            (("What", 1.0), ("Value", 4.0)),
            [
                ("Fingerprint", request["fingerprint"]),
                ("Of the key's record", f"{claim}; claimed {_time(request['claimed_at'])}"),
                ("Asked for by", _who(key)),
                ("Metadata", _text(self._transfer["metadata"])),
            ],
        )
        self._table(
            "Approvals, captures and other operations",
            (("Time (UTC)", 2.0), ("Operation", 1.2), ("Amount", 1.8), ("By", 3.0), ("Note", 4.0)),
            [
                (
                    _time(each["created_at"]),
                    each["operation"],
                    NOTHING if each["amount"] is None else self._money(each["amount"]),
                    _who(each["requested_by"]),
                    each["note"] or NOTHING,
                )
                for each in self._document["operations"]
            ],
        )
        self._table(
            "Reversals",
            (("Created (UTC)", 2.0), ("Transfer", 3.0), ("Amount", 2.0), ("State", 1.5)),
            [
                (
                    _time(each["created_at"]),
                    each["id"],
                    self._money(each["amount"], each["currency"]),
                    each["state"],
                )
                for each in self._document["reversals"]
            ],
        )

    def _log(self) -> None:
        """Set the log of stages, and who did what to the transfer."""
        self._table(
            "Log of stages",
            (
                *(("Time (UTC)", 2.0), ("#", 0.5), ("Step", 1.2), ("Stage", 1.6), ("Cause", 1.6)),
                ("Details", 4.0),
            ),
            [
                (
                    _time(each["occurred_at"]),
                    str(each["sequence"]),
                    each["step"],
                    each["stage"],
                    each["cause"] or NOTHING,
                    _text(each["details"]),
                )
                for each in self._document["events"]
            ],
        )
        self._table(
            "Audit",
            (("Time (UTC)", 2.0), ("Action", 2.0), ("By", 2.6), ("Reason", 3.0), ("Details", 3.4)),
            [
                (
                    _time(each["recorded_at"]),
                    each["action"],
                    f"{each['actor']['kind']} {each['actor']['name']}",
                    each["reason"] or NOTHING,
                    _text(each["details"]),
                )
                for each in self._document["audit"]
            ],
        )

    def _workflow(self) -> None:
        """Set what Temporal still has."""
        workflow = self._document["workflow"]
        numbers = {each["run_id"]: str(n) for n, each in enumerate(workflow["runs"], 1)}
        self._table(
            f"Workflow {workflow['workflow_id']}: {workflow['status']}",
            (
                *(("Run", 0.5), ("Started (UTC)", 2.0), ("Ended (UTC)", 2.0), ("Status", 2.0)),
                ("Id of the run", 4.0),
            ),
            [
                (
                    numbers[each["run_id"]],
                    _time(each["started_at"]),
                    _time(each["closed_at"]),
                    each["status"],
                    each["run_id"],
                )
                for each in workflow["runs"]
            ],
        )
        self._table(
            "Attempts" if workflow["is_complete"] else "Attempts (not all of them)",
            (
                *(("Run", 0.5), ("Time (UTC)", 2.0), ("What", 2.4), ("Step", 1.8)),
                *(("Attempt", 0.8), ("Error", 4.5)),
            ),
            [
                (
                    numbers.get(each["run_id"], NOTHING),
                    _time(each["occurred_at"]),
                    each["what"],
                    each["step"] or NOTHING,
                    NOTHING if each["attempt"] is None else str(each["attempt"]),
                    each["error"] or NOTHING,
                )
                for each in workflow["history"]
            ],
        )

    def _proof(self) -> None:
        """Set how the entries are sealed, and what is left out of this document."""
        for title, columns, rows in proof_tables(self._document["chain_proof"], self._numbers):
            self._table(title, columns, rows)
        if self._document["more"]:
            left_out = ", ".join(self._document["more"])
            self._table("Not whole", (("Lists with more rows than are here", 1.0),), [(left_out,)])

    def _table(self, title: str, columns: Columns, rows: Sequence[Sequence[str]]) -> None:
        """Set a section: a heading, and its rows on as many pages as they need."""
        self._make_room(SECTION_GAP + 5 * ROW_HEIGHT)
        self._y += SECTION_GAP
        self._color(ACCENT)
        self._set_size(9)
        room = self._pdf.w - 2 * MARGIN
        self._any_text(MARGIN, self._y + BASELINE, self._shortened(title, room))
        self._y += ROW_HEIGHT
        widths = [room * share / sum(width for _, width in columns) for _, share in columns]
        self._headings(columns, widths)
        if not rows:
            self._color(MUTED)
            self._text(MARGIN, self._y + BASELINE, "None.")
            self._y += ROW_HEIGHT
        for row in rows:
            self._row(columns, widths, row)

    def _headings(self, columns: Columns, widths: Sequence[float]) -> None:
        self._color(MUTED)
        self._set_size(SMALL_SIZE)
        left = MARGIN
        for (name, _), width in zip(columns, widths, strict=True):
            self._text(left, self._y + BASELINE, name)
            left += width
        self._y += ROW_HEIGHT
        self._pdf.set_draw_color(*HAIRLINE)
        self._pdf.set_line_width(0.4)
        self._rule(self._y)
        self._set_size(TEXT_SIZE)
        self._color(INK)

    def _row(self, columns: Columns, widths: Sequence[float], row: Sequence[str]) -> None:
        cells = [
            self._wrapped(self._typefaces.shown(text), width - GAP)
            for text, width in zip(row, widths, strict=True)
        ]
        height = ROW_HEIGHT + LINE_HEIGHT * (max(map(len, cells)) - 1)
        if self._make_room(height):
            self._headings(columns, widths)
        left = MARGIN
        for cell, width in zip(cells, widths, strict=True):
            for number, part in enumerate(cell):
                self._any_text(left, self._y + BASELINE + number * LINE_HEIGHT, part)
            left += width
        self._y += height
        self._rule(self._y)

    def _make_room(self, height: float) -> bool:
        """Begin another page where this one is full, and tell whether that was so."""
        if self._y + height <= self._bottom:
            return False
        self._end_page()
        self._pdf.add_page()
        self._size = 0.0
        self._set_size(TEXT_SIZE)
        self._y = MARGIN
        return True

    def _end_page(self) -> None:
        self._foot("Long texts are cut off with dots; the attached JSON document has them whole.")

    def _number(self, account_id: str) -> str:
        return str(self._numbers.get(account_id, account_id))

    def _money(self, amount_minor: int, currency: str | None = None) -> str:
        code = currency or self._transfer["currency"]
        found = find_currency(code)
        return found.format(amount_minor) if found else f"{amount_minor} {code}"


def _time(moment: str | None) -> str:
    return NOTHING if moment is None else moment[:19].replace("T", " ")


def _who(key: Document | None) -> str:
    if key is None:
        return NOTHING
    return f"{key['name']} ({key['id']})" if key["name"] else str(key["id"])


def _text(value: Any) -> str:
    if value in (None, {}, [], ""):
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
