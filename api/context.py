"""What the routes work with: made once a process by the composition root."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends, Request

from api.batch_intake import BatchIntake
from api.console.desk import ConsoleDesk
from api.evidence.desk import EvidenceDesk
from api.operator_desk import OperatorDesk
from api.payload_desk import CodecSessions, PayloadDesk
from api.rates import RateLimits
from api.standing_order_desk import StandingOrderDesk
from api.statements.desk import StatementDesk
from api.transfer_intake import TransferIntake
from api.transfer_operations import TransferOperations
from services.access import AccessService
from services.accounts import AccountService
from services.approval_rules import ApprovalRuleService
from services.audit import AuditService
from services.authentication import AuthenticationService
from services.balances import BalanceService
from services.batches import BatchService
from services.figures import FigureService
from services.ledger import LedgerService
from services.ledger_proofs import LedgerProofService
from services.ledger_seals import SealService
from services.limits import LimitService
from services.stuck import StuckService
from services.transactions import TransactionService
from workflows.gateway import TransferGateway


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the process can serve; each problem says what is missing."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Whether what the process needs is there.

    Parameters
    ----------
    pollers
        Workers that poll for work; ``None`` where Temporal does not answer.
    """

    is_database_there: bool
    pollers: int | None


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The services of a process.

    Parameters
    ----------
    checkpoint_key
        Signs the checkpoints that the API gives, where the service has a key.
    readiness
        Looks at the servers that the process needs.
    workflow_url
        Gives the address of a workflow's page in Temporal's UI, where there is one.
    codec_sessions
        Of people who log in for the codec endpoint; ``None`` where payloads are not encrypted.
    temporal_ui_url
        Base URL of Temporal's UI; ``None`` where there is none.
    """

    authentication: AuthenticationService
    rates: RateLimits
    access: AccessService
    audit: AuditService
    accounts: AccountService
    balances: BalanceService
    ledger: LedgerService
    statements: StatementDesk
    transactions: TransactionService
    intake: TransferIntake
    operations: TransferOperations
    approval_rules: ApprovalRuleService
    limits: LimitService
    gateway: TransferGateway
    standing_orders: StandingOrderDesk
    figures: FigureService
    batches: BatchService
    batch_intake: BatchIntake
    console: ConsoleDesk
    stuck: StuckService
    evidence: EvidenceDesk
    operator_desk: OperatorDesk
    seals: SealService
    proofs: LedgerProofService
    checkpoint_key: Ed25519PrivateKey | None
    readiness: Callable[[], Awaitable[Readiness]]
    dependencies: Callable[[], Awaitable[Dependencies]]
    workflow_url: Callable[[str, str], str | None]
    payloads: PayloadDesk
    codec_sessions: CodecSessions | None
    temporal_ui_url: str | None


async def api_context(request: Request) -> ApiContext:
    """Give the process's context to a route."""
    return cast("ApiContext", request.app.state.context)


Context = Annotated[ApiContext, Depends(api_context)]
