"""The ledger's proofs and seals as Prometheus metrics."""

from typing import Final

import structlog

from api.gauges import Pace, gauge
from domain.errors import DatabaseUnavailable
from services.ledger_proofs import LedgerProofService, LedgerStatus

_VIOLATIONS: Final = gauge(
    "transfers_ledger_violations", "Known violations of an invariant.", "invariant", "name"
)
_PROVED: Final = gauge(
    "transfers_ledger_proved_timestamp_seconds",
    "When the whole ledger was last gone through for an invariant; 0 before the first time.",
    "invariant",
    "name",
)
_SEALS: Final = gauge("transfers_ledger_seals", "Seals over the ledger.")
_SEALED: Final = gauge("transfers_ledger_sealed_entries", "Entries that seals cover.")
_UNSEALED: Final = gauge(
    "transfers_ledger_unsealed_entries", "Entries that the last look left unsealed."
)
_ALL_SEALED: Final = gauge(
    "transfers_ledger_all_sealed_timestamp_seconds",
    "When the last look left nothing unsealed; 0 before the first time.",
)


class LedgerMetrics:
    """Brings the gauges up to date when they are read."""

    def __init__(self) -> None:
        self._pace = Pace()

    async def refresh(self, proofs: LedgerProofService) -> None:
        """Read what is known, unless that was done a moment ago.

        Notes
        -----
        Without the database the figures stay what they were: their times tell that they are old.
        """
        if not self._pace.is_due():
            return
        try:
            _set(await proofs.status())
        except DatabaseUnavailable:
            structlog.get_logger("metrics").warning("ledger_metrics_not_refreshed")


def _set(status: LedgerStatus) -> None:
    for invariant in status.invariants:
        labels = (str(invariant.invariant), invariant.name)
        _VIOLATIONS.labels(*labels).set(len(invariant.violations))
        proved_at = invariant.proved_at
        _PROVED.labels(*labels).set(proved_at.timestamp() if proved_at else 0)
    sealing = status.sealing
    _SEALS.set(sealing.newest.content.number if sealing.newest else 0)
    _SEALED.set(sealing.newest.content.position if sealing.newest else 0)
    _UNSEALED.set(sealing.unsealed_entries or 0)
    _ALL_SEALED.set(sealing.all_sealed_at.timestamp() if sealing.all_sealed_at else 0)
