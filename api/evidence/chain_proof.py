"""The proof of an evidence document's entries, with what a reader needs to make it again."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from domain.chain_proofs import ChainProof, EntryProof, ProofResult, SealLink
from domain.ledger_seals import SEAL_FORMAT, SealSegment
from domain.limits import EVIDENCE_PROOF_BYTES_MAXIMUM


class _Room:
    """How many bytes of records and digests still go into a document."""

    def __init__(self) -> None:
        self._left = EVIDENCE_PROOF_BYTES_MAXIMUM
        self.has_all = True

    def has(self, size: int) -> bool:
        """Take room, where there is enough."""
        if size > self._left:
            self.has_all = False
            return False
        self._left -= size
        return True


class EntryProofView(BaseModel):
    """An entry, and where it is sealed."""

    entry_id: UUID
    account_id: UUID
    sequence: int
    result: ProofResult
    finding: str | None = Field(description="What differs.")
    seal_number: int | None = Field(description="null where it is not sealed yet")
    entry_text: str = Field(description="What the entry's digest is SHA-256 of.")

    @staticmethod
    def of(proof: EntryProof) -> "EntryProofView":
        """Show what was found of an entry."""
        entry = proof.entry
        return EntryProofView(
            entry_id=entry.id,
            account_id=entry.account_id,
            sequence=entry.sequence,
            result=proof.result,
            finding=proof.finding,
            seal_number=entry.seal_number,
            entry_text=entry.text,
        )


class SegmentView(BaseModel):
    """The entries of one account that were sealed together."""

    seal_number: int
    account_id: UUID
    first_sequence: int
    last_sequence: int
    records: str | None = Field(
        description="Of each entry its id, its digest and its transfer's; hexadecimal digits. "
        "null where it is too long for this document."
    )
    digest: str

    @staticmethod
    def of(segment: SealSegment, room: _Room) -> "SegmentView":
        """Show a segment, whole where there is room for it."""
        return SegmentView(
            seal_number=segment.seal_number,
            account_id=segment.account_id,
            first_sequence=segment.first_sequence,
            last_sequence=segment.last_sequence,
            records=segment.records.hex() if room.has(len(segment.records)) else None,
            digest=segment.digest.hex(),
        )


class SealContentView(BaseModel):
    """What a seal's hash covers, with the digests of its segments."""

    previous_hash: str
    root: str
    segments: int
    entries: int
    position: int
    segment_digests: list[str] | None = Field(
        description="In the order of their accounts. null where they are too many."
    )

    @staticmethod
    def of(link: SealLink, room: _Room) -> "SealContentView":
        """Show it, with all digests where there is room for them."""
        content, digests = link.seal.content, link.segment_digests
        return SealContentView(
            previous_hash=content.previous_hash.hex(),
            root=content.root.hex(),
            segments=content.segments,
            entries=content.entries,
            position=content.position,
            segment_digests=(
                [digest.hex() for digest in digests] if room.has(sum(map(len, digests))) else None
            ),
        )


class SealView(BaseModel):
    """A seal."""

    number: int
    sealed_at: datetime
    hash: str
    content: SealContentView | None = Field(
        description="For keys with `operations:read`: it tells how much the whole ledger holds, "
        "of all tenants."
    )

    @staticmethod
    def of(link: SealLink, room: _Room, *, for_operators: bool) -> "SealView":
        """Show a seal."""
        return SealView(
            number=link.seal.content.number,
            sealed_at=link.seal.content.sealed_at,
            hash=link.seal.hash.hex(),
            content=SealContentView.of(link, room) if for_operators else None,
        )


class ChainProofView(BaseModel):
    """The proof that the entries are those that were sealed.

    The service made every digest again when it made the document; whoever reads it can do the same,
    and hold the seals against a checkpoint. How is in the tamper evidence's documentation.
    """

    format: str
    result: ProofResult = Field(description="What the service found: the worst of all entries.")
    transfer_text: str | None = Field(
        description="What the transfer's digest is SHA-256 of; null without entries."
    )
    entries: list[EntryProofView]
    segments: list[SegmentView]
    seals: list[SealView]
    is_complete: bool = Field(
        description="false where entries were not checked, or records or digests did not fit."
    )

    @staticmethod
    def of(proof: ChainProof, *, for_operators: bool) -> "ChainProofView":
        """Show a proof; to others than operators, nothing of the ledger as a whole."""
        room = _Room()
        segments = [SegmentView.of(segment, room) for segment in proof.segments]
        seals = [SealView.of(link, room, for_operators=for_operators) for link in proof.seals]
        results = {each.result for each in proof.entries}
        return ChainProofView(
            format=SEAL_FORMAT,
            result=proof.result,
            transfer_text=proof.entries[0].entry.transfer_text if proof.entries else None,
            entries=[EntryProofView.of(each) for each in proof.entries],
            segments=segments,
            seals=seals,
            is_complete=room.has_all and ProofResult.UNCHECKED not in results,
        )
