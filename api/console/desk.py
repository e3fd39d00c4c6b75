"""What the console works with beside the API's own services."""

from dataclasses import dataclass

from services.console_sessions import ConsoleSessionService
from services.overview import OverviewService
from services.transfer_details import TransferDetailService


@dataclass(frozen=True, slots=True)
class ConsoleDesk:
    """The services that only the console's pages use."""

    sessions: ConsoleSessionService
    overview: OverviewService
    details: TransferDetailService
