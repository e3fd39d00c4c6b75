"""What a transfer of a peer is about: the standard library alone, so that any engine carries it."""

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Details:
    """One transfer of one minor unit, as text."""

    transfer_id: str
    tenant_id: str
    key: str
    source: str
    destination: str


def endless_details(pairs: Path, *, tenant_id: str, key_prefix: str) -> Iterator[Details]:
    """Give transfers between the listed pairs of accounts, over and over, each with its own key."""
    lines = [line.split() for line in pairs.read_text().splitlines()]
    for number, (source, destination) in enumerate(itertools.cycle(lines)):
        yield Details(
            transfer_id=str(uuid.uuid4()),
            tenant_id=tenant_id,
            key=f"{key_prefix}-{number}",
            source=source,
            destination=destination,
        )
