"""The proof of one transfer's entries, made when somebody asks for its evidence."""

from collections.abc import Sequence

from domain.chain_proofs import (
    ChainProof,
    CoveredEntry,
    EntryProof,
    ProofResult,
    SealLink,
    prove_entries,
)
from domain.ids import TenantId, TransferId
from domain.ledger_seals import SealSegment
from domain.limits import EVIDENCE_PROVED_ENTRIES_MAXIMUM, EVIDENCE_ROWS_MAXIMUM
from persistence.chain_proofs import ChainProofRepository


async def prove_transfer(
    reader: ChainProofRepository, tenant_id: TenantId, transfer_id: TransferId
) -> ChainProof:
    """Prove that a transfer's entries are those that were sealed.

    Notes
    -----
    Every digest is made here again, outside of the database, from the entry up to its seal, and the
    seal is held against its neighbours. That the whole chain is right is for ``transfers verify``
    and for a checkpoint to prove. Of very many entries the first are proved.
    """
    entries = await reader.covered(tenant_id, transfer_id, limit=EVIDENCE_ROWS_MAXIMUM)
    first = entries[:EVIDENCE_PROVED_ENTRIES_MAXIMUM]
    segments = await _segments(reader, first)
    proof = prove_entries(first, segments, await _links(reader, first))
    rest = [EntryProof(entry, ProofResult.UNCHECKED) for entry in entries[len(first) :]]
    return ChainProof([*proof.entries, *rest], proof.segments, proof.seals)


async def _segments(
    reader: ChainProofRepository, entries: Sequence[CoveredEntry]
) -> list[SealSegment]:
    places = {
        (entry.account_id, entry.first_sequence)
        for entry in entries
        if entry.first_sequence is not None
    }
    found = [await reader.segment(account_id, first) for account_id, first in sorted(places)]
    return [segment for segment in found if segment is not None]


async def _links(reader: ChainProofRepository, entries: Sequence[CoveredEntry]) -> list[SealLink]:
    numbers = sorted({each.seal_number for each in entries if each.seal_number is not None})
    seals = await reader.seals(
        {near for number in numbers for near in range(number - 1, number + 2)}
    )
    links = []
    for number in numbers:
        seal = seals.get(number)
        if seal is not None:
            stored = await reader.digests(number)
            links.append(
                SealLink(
                    seal=seal,
                    previous=seals.get(number - 1),
                    following=seals.get(number + 1),
                    segment_digests=stored.digests,
                    entries=stored.entries,
                )
            )
    return links
