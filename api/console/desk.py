"""What the console works with beside the API's own services."""

from dataclasses import dataclass

from api.console.issuer_login import IssuerLogin
from services.console_sessions import ConsoleSessionService
from services.overview import OverviewService
from services.transfer_details import TransferDetailService
from workflows.history import HistoryReader


@dataclass(frozen=True, slots=True)
class ConsoleDesk:
    """The services that only the console's pages use.

    Parameters
    ----------
    issuer_login
        Where people log in at an OpenID Connect issuer; ``None`` without one.
    """

    sessions: ConsoleSessionService
    overview: OverviewService
    details: TransferDetailService
    history: HistoryReader
    issuer_login: IssuerLogin | None
