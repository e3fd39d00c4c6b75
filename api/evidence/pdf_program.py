"""A program that makes an evidence document's PDF: ``python -m api.evidence.pdf_program``.

Reads the document as JSON from standard input, and writes the PDF to standard output.
"""

import json
import os
import sys

from api.evidence.pdf_document import PdfEvidence
from api.statements.pdf_program import NICENESS


def main() -> int:
    """Make one PDF, and give the exit code."""
    os.nice(NICENESS)
    sys.stdout.buffer.write(PdfEvidence(json.load(sys.stdin.buffer)).write())
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
