"""The ledger's proofs and seals as Prometheus metrics."""

import time
from typing import Final

import structlog
from prometheus_client import Gauge

from domain.errors import DatabaseUnavailable
from services.ledger_proofs import LedgerProofService, LedgerStatus

FRESH_SECONDS: Final = 5.0
"""A process asks the database no more often, however often it is scraped."""

# Of several processes, each sets what the one database says: the last that did is right.
_VIOLATIONS: Final = Gauge(
    "transfers_ledger_violations",
    "Known violations of an invariant.",
    ["invariant", "name"],
    multiprocess_mode="mostrecent",
)
_PROVED: Final = Gauge(
    "transfers_ledger_proved_timestamp_seconds",
    "When the whole ledger was last gone through for an invariant; 0 before the first time.",
    ["invariant", "name"],
    multiprocess_mode="mostrecent",
)
_SEALS: Final = Gauge(
    "transfers_ledger_seals", "Seals over the ledger.", multiprocess_mode="mostrecent"
)
_SEALED: Final = Gauge(
    "transfers_ledger_sealed_entries", "Entries that seals cover.", multiprocess_mode="mostrecent"
)
_UNSEALED: Final = Gauge(
    "transfers_ledger_unsealed_entries",
    "Entries that the last look left unsealed.",
    multiprocess_mode="mostrecent",
)
_ALL_SEALED: Final = Gauge(
    "transfers_ledger_all_sealed_timestamp_seconds",
    "When the last look left nothing unsealed; 0 before the first time.",
    multiprocess_mode="mostrecent",
)


class LedgerMetrics:
    """Brings the gauges up to date when they are read."""

    def __init__(self) -> None:
        self._read_at: float | None = None

    async def refresh(self, proofs: LedgerProofService) -> None:
        """Read what is known, unless that was done a moment ago.

        Notes
        -----
        Without the database the figures stay what they were: their times tell that they are old.
        """
        now = time.monotonic()
        if self._read_at is not None and now - self._read_at < FRESH_SECONDS:
            return
        self._read_at = now
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
