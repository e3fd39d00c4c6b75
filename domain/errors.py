"""Errors of the domain: one base class, a stable code for each, typed fields.

Only ``api.problems`` knows which HTTP status a code has, and only ``activities`` know which may be
retried. A code, once published, keeps its meaning.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


class DomainError(Exception):
    """Base of all errors that this service raises on purpose."""

    code: ClassVar[str] = "internal_error"

    @property
    def message(self) -> str:
        """What is wrong and what would be right, in one or two sentences."""
        return str(self)


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of a request that is not as it should be."""

    field: str
    code: str
    message: str


class ValidationFailed(DomainError):
    """The request is understood but not valid; nothing was recorded."""

    code = "validation_failed"

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in self.problems))


class NotFound(DomainError):
    """Base of what does not exist, or belongs to another tenant: callers cannot tell which."""


class UserNotFound(NotFound):
    """No such user in this tenant."""

    code = "user_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No user {reference!r}.")


class AccountNotFound(NotFound):
    """No such account in this tenant."""

    code = "account_not_found"

    def __init__(self, reference: str, *, field: str | None = None) -> None:
        self.field = field
        where = f" (named as {field})" if field else ""
        super().__init__(
            f"No account {reference!r}{where}. An account is named by its UUID, "
            "its account number, or ext:<external_id>."
        )


class TransferNotFound(NotFound):
    """No such transfer in this tenant."""

    code = "transfer_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No transfer {reference!r}.")


class ApprovalRuleNotFound(NotFound):
    """No such approval rule in this tenant."""

    code = "approval_rule_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No approval rule {reference!r}.")


class StandingOrderNotFound(NotFound):
    """No such standing order in this tenant."""

    code = "standing_order_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No standing order {reference!r}.")


class StandingOrderOver(DomainError):
    """A standing order that has ended was to be paused, resumed or cancelled."""

    code = "standing_order_over"

    def __init__(self, *, status: str) -> None:
        super().__init__(f"The standing order is {status}, for ever; create another one.")


class NotScheduled(DomainError):
    """A run was started for a time at which its standing order has none."""

    code = "not_scheduled"

    def __init__(self, order: str, time: str) -> None:
        super().__init__(f"Standing order {order} has no run at {time}.")


class ScheduleRefused(DomainError):
    """Temporal does not take a schedule."""

    code = "schedule_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Temporal does not take this schedule: {reason}.")


class BatchNotFound(NotFound):
    """No such batch in this tenant."""

    code = "batch_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No batch {reference!r}.")


class TenantNotFound(NotFound):
    """No such tenant, or not one that the caller may look at."""

    code = "tenant_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No tenant {reference!r}.")


class ApiKeyNotFound(NotFound):
    """No such API key."""

    code = "api_key_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No API key {reference!r}.")


class SameAccount(DomainError):
    """Source and destination are one account."""

    code = "same_account"

    def __init__(self) -> None:
        super().__init__("Source and destination are the same account; name two different ones.")


class CurrencyMismatch(DomainError):
    """Amounts or accounts of two currencies meet."""

    code = "currency_mismatch"

    def __init__(self, *, expected: str, actual: str, field: str | None = None) -> None:
        self.expected = expected
        self.actual = actual
        subject = f"The {field} account holds" if field else "The other side is in"
        super().__init__(f"{subject} {actual}, and the transfer is in {expected}.")


class IdempotencyKeyReused(DomainError):
    """The key was used before, for another request."""

    code = "idempotency_key_reused"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key {key!r} was used before with another request. "
            "Repeat that request unchanged, or take a new key for this one."
        )


class TransferRefusal(DomainError):
    """Base of the reasons for which a recorded transfer fails."""


class InsufficientFunds(TransferRefusal):
    """The source has less available than the transfer needs."""

    code = "insufficient_funds"

    def __init__(self, *, available_minor: int, amount_minor: int, currency: str) -> None:
        super().__init__(
            f"The source account has {available_minor} {currency} (minor units) available, "
            f"and the transfer needs {amount_minor}."
        )


class AccountFrozen(TransferRefusal):
    """An account of the transfer is frozen."""

    code = "account_frozen"

    def __init__(self, reference: str) -> None:
        super().__init__(f"Account {reference} is frozen; unfreeze it first.")


class AccountClosed(TransferRefusal):
    """An account is closed, for ever."""

    code = "account_closed"

    def __init__(self, reference: str) -> None:
        super().__init__(f"Account {reference} is closed; a closed account stays closed.")


class BalanceOutOfRange(TransferRefusal):
    """A balance would need more digits than the ledger keeps."""

    code = "balance_out_of_range"

    def __init__(self) -> None:
        super().__init__("The resulting balance would have more than 38 digits.")


class LimitExceeded(TransferRefusal):
    """The source account's limits do not allow the transfer."""

    code = "limit_exceeded"

    def __init__(
        self, *, period: str, limit_minor: int, used_minor: int, amount_minor: int
    ) -> None:
        spent = f", of which {used_minor} are used" if period != "transfer" else ""
        super().__init__(
            f"The source account may send {limit_minor} (minor units) per {period}{spent}, "
            f"and the transfer needs {amount_minor}."
        )


class ApprovalRequired(TransferRefusal):
    """The transfer needs an approval, and was asked for in a way that does not wait for one."""

    code = "approval_required"

    def __init__(self, *, amount_minor: int, currency: str) -> None:
        super().__init__(
            f"{amount_minor} {currency} (minor units) need an approval by the rules in force; send "
            "the transfer by itself, and it waits for one."
        )


class ReversalExceedsTransfer(TransferRefusal):
    """More would be reversed than has moved."""

    code = "reversal_exceeds_transfer"

    def __init__(self, *, moved_minor: int, reversed_minor: int, amount_minor: int) -> None:
        super().__init__(
            f"Of the transfer's {moved_minor} (minor units), {reversed_minor} are reversed or "
            f"about to be; {amount_minor} more cannot be."
        )


class TransferCancelled(TransferRefusal):
    """The transfer, or its workflow, was cancelled before the money was posted."""

    code = "cancelled"

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "The transfer was cancelled before it was posted.")


class HoldExpired(TransferRefusal):
    """The hold ended before it was captured."""

    code = "expired"

    def __init__(self) -> None:
        super().__init__("The hold expired before it was captured.")


class ApprovalExpired(TransferRefusal):
    """Nobody approved the transfer in time."""

    code = "approval_expired"

    def __init__(self) -> None:
        super().__init__("The transfer was not approved within its deadline.")


class ApprovalRejected(TransferRefusal):
    """An approver rejected the transfer."""

    code = "rejected"

    def __init__(self, note: str | None = None) -> None:
        super().__init__(note or "The transfer was rejected.")


class WorkflowTerminated(TransferRefusal):
    """The transfer's workflow ended, by force or by loss, before the money was posted."""

    code = "workflow_terminated"

    def __init__(self, status: str) -> None:
        super().__init__(f"The transfer's workflow ended ({status}) before it was posted.")


class ResolvedByOperator(TransferRefusal):
    """An operator ended the transfer before it was posted."""

    code = "resolved_by_operator"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class OperationConflict(DomainError):
    """Base of the reasons for which a transfer cannot be operated on as it stands."""


class AlreadyPosted(OperationConflict):
    """The money has moved, at least in part."""

    code = "already_posted"

    def __init__(self) -> None:
        super().__init__(
            "The transfer has posted: what has moved can be reversed, and what is still held of a "
            "partly captured hold is released by a capture with final true."
        )


class AlreadyFailed(OperationConflict):
    """The transfer has failed before."""

    code = "already_failed"

    def __init__(self, failure_code: str) -> None:
        super().__init__(f"The transfer has failed before ({failure_code}) and holds nothing.")


class NotHeld(OperationConflict):
    """There is no hold that waits for its capture."""

    code = "not_held"

    def __init__(self, stage: str) -> None:
        super().__init__(
            f"Only a transfer with manual capture in stage RESERVED can be captured or extended; "
            f"this one is in stage {stage}."
        )


class HoldAlreadyExpired(OperationConflict):
    """The hold's time is over."""

    code = "expired"

    def __init__(self) -> None:
        super().__init__("The hold has expired.")


class TooManyCaptures(OperationConflict):
    """The hold was captured as often as one can be."""

    code = "too_many_captures"

    def __init__(self, maximum: int) -> None:
        super().__init__(
            f"A hold can be captured {maximum} times; the last one must be sent with final true."
        )


class NotAwaitingApproval(OperationConflict):
    """The transfer does not wait for an approval."""

    code = "not_awaiting_approval"

    def __init__(self, stage: str) -> None:
        super().__init__(f"The transfer is in stage {stage} and does not wait for an approval.")


class AlreadyApproved(OperationConflict):
    """The same key has approved the transfer before."""

    code = "already_approved"

    def __init__(self) -> None:
        super().__init__("This API key has approved the transfer before; another one is needed.")


class FingerprintMismatch(OperationConflict):
    """The approver saw another request than the one that waits."""

    code = "fingerprint_mismatch"

    def __init__(self) -> None:
        super().__init__(
            "The fingerprint is not that of the waiting transfer; read it again and decide on that."
        )


class ActionNotPossible(OperationConflict):
    """An operator's action that does not fit the transfer as it stands."""

    code = "action_not_possible"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class NotReversible(OperationConflict):
    """There is nothing to reverse."""

    code = "not_reversible"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The transfer cannot be reversed: {reason}.")


class CaptureExceedsHold(DomainError):
    """More would be captured than is still held."""

    code = "capture_exceeds_hold"

    def __init__(self, *, left_minor: int, amount_minor: int) -> None:
        super().__init__(
            f"The hold has {left_minor} (minor units) left, and the capture asks for "
            f"{amount_minor}."
        )


class ExpiryNotLater(DomainError):
    """An extension does not extend."""

    code = "expiry_not_later"

    def __init__(self, present: str) -> None:
        super().__init__(f"expires_at must be later than the hold's present end, {present}.")


class MakerCannotApprove(DomainError):
    """The key that made the transfer was to decide on it."""

    code = "maker_cannot_approve"

    def __init__(self) -> None:
        super().__init__(
            "A transfer is approved or rejected with another API key than the one that made it."
        )


class ApprovalRuleTaken(DomainError):
    """Another rule is in force for the same currency and threshold."""

    code = "approval_rule_taken"

    def __init__(self) -> None:
        super().__init__(
            "Another approval rule is in force for this currency and threshold; retire it first."
        )


class TransferUnfinished(DomainError):
    """The key of a row stands for a transfer that is still PROCESSING."""

    code = "transfer_processing"

    def __init__(self, key: str) -> None:
        super().__init__(f"The transfer of key {key!r} is still PROCESSING; look again later.")


class BatchFailure(DomainError):
    """Base of the reasons for which a recorded batch fails."""


class BatchRejected(BatchFailure):
    """A row of an atomic batch would fail, so that nothing of it was posted."""

    code = "batch_rejected"

    def __init__(self, rows: int) -> None:
        super().__init__(f"Nothing was posted: {rows} rows of the atomic batch would have failed.")


class BatchCancelled(BatchFailure):
    """A batch was cancelled before all of it was posted."""

    code = "batch_cancelled"

    def __init__(self) -> None:
        super().__init__("The batch was cancelled; what was posted before stays posted.")


class BatchWorkflowTerminated(BatchFailure):
    """A batch's workflow ended, by force or by loss, before all of it was posted."""

    code = "batch_workflow_terminated"

    def __init__(self, status: str) -> None:
        super().__init__(
            f"The batch's workflow ended ({status}); what was posted before stays posted."
        )


class BatchFinished(DomainError):
    """A batch that has come to its end was to be cancelled."""

    code = "batch_finished"

    def __init__(self) -> None:
        super().__init__("Every row of the batch has its outcome; there is nothing to cancel.")


class ExternalIdTaken(DomainError):
    """Another object of this tenant has the external id."""

    code = "external_id_taken"

    def __init__(self, external_id: str | None = None) -> None:
        named = f" {external_id!r}" if external_id else ""
        super().__init__(f"The external_id{named} belongs to another object of this tenant.")


class AccountAlreadyClosed(DomainError):
    """A closed account was to be changed."""

    code = "account_closed"

    def __init__(self) -> None:
        super().__init__("The account is closed; a closed account stays closed.")


class AccountNotEmpty(DomainError):
    """An account with a balance or open holds was to be closed."""

    code = "account_not_empty"

    def __init__(self, *, posted_minor: int, held_minor: int) -> None:
        super().__init__(
            f"To be closed, an account needs a zero balance and no holds; this one has "
            f"posted {posted_minor} and held {held_minor} (minor units)."
        )


class OverdraftLimitInUse(DomainError):
    """The new overdraft limit is lower than what the account already uses."""

    code = "overdraft_limit_in_use"

    def __init__(self, *, minimum_minor: int) -> None:
        super().__init__(
            f"The account already uses its overdraft; the limit can be {minimum_minor} "
            "(minor units) at the lowest."
        )


class SystemAccountProtected(DomainError):
    """A settlement account cannot be changed by callers."""

    code = "system_account_protected"

    def __init__(self) -> None:
        super().__init__("Settlement accounts are kept by the service and cannot be changed.")


class AccountNumberTaken(DomainError):
    """A newly drawn account number already exists; draw another."""

    code = "account_number_taken"


class IllegalTransition(DomainError):
    """A transfer was asked to go to a stage that its present one does not lead to."""

    code = "illegal_transition"

    def __init__(self, *, current: str, target: str) -> None:
        super().__init__(f"A transfer in stage {current} cannot go to {target}.")


class LedgerRuleViolated(DomainError):
    """The database refused a change that would break the ledger."""

    code = "ledger_rule_violated"

    def __init__(self, rule: str) -> None:
        self.rule = rule
        super().__init__(f"The ledger's rule {rule} refuses this change.")


class StatementTooLong(DomainError):
    """A statement would have more entries, or take more time, than one can."""

    code = "statement_too_long"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason} Ask for shorter periods: the closing balance of one is the opening balance "
            "of the next."
        )


class Unauthenticated(DomainError):
    """No API key was sent, or one that is not valid."""

    code = "unauthenticated"


class SessionEnded(Unauthenticated):
    """A session of the console was ended, or its time is over."""

    code = "session_ended"

    def __init__(self) -> None:
        super().__init__("Your session has ended. Log in again.")


class ScopeMissing(DomainError):
    """The API key may not do this."""

    code = "scope_missing"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This API key lacks the scope {scope}.")


class ScopeNotHeld(DomainError):
    """A key would be given what the one that makes it lacks itself."""

    code = "scope_not_held"

    def __init__(self, scopes: Iterable[str]) -> None:
        super().__init__(f"This API key cannot give what it lacks itself: {', '.join(scopes)}.")


class RateNotHeld(DomainError):
    """A key would be given a higher rate limit than the one that makes it has."""

    code = "rate_not_held"

    def __init__(self, per_second: int, burst: int) -> None:
        super().__init__(
            f"This API key can give at most its own rate limit: {per_second} requests a second, "
            f"{burst} at once."
        )


class ApiKeyOver(DomainError):
    """An API key that is revoked or expired, or has no secret, cannot be rotated."""

    code = "api_key_over"

    def __init__(self, why: str) -> None:
        super().__init__(f"The API key {why}, and cannot be rotated.")


class TooManyRequests(DomainError):
    """Base of what is refused for its rate alone: the same request is fine a little later."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class RateLimited(TooManyRequests):
    """A key sends more requests than it may."""

    code = "rate_limited"


class TooManyFailedLogins(TooManyRequests):
    """An address has sent too many keys and tokens that are not good."""

    code = "too_many_failed_logins"


class ServiceUnavailable(DomainError):
    """Base of what passes by itself: the same request, sent again later, gets its outcome."""

    retry_after: ClassVar[timedelta] = timedelta(seconds=1)


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL cannot be reached, or ended the work before it was done."""

    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The database cannot be reached just now; send the same request again.")


class TemporalUnavailable(ServiceUnavailable):
    """Temporal cannot be reached."""

    code = "temporal_unavailable"

    def __init__(self) -> None:
        super().__init__("Temporal cannot be reached just now; send the same request again.")


class IssuerUnavailable(ServiceUnavailable):
    """The keys that tokens are signed with cannot be had; API keys are still taken."""

    code = "issuer_unavailable"

    def __init__(self) -> None:
        super().__init__("The issuer of tokens does not answer; send the same request again.")


class PayloadNotReadable(DomainError):
    """A payload cannot be decrypted: it was altered, or its key is not here."""

    code = "payload_not_readable"


class PayloadsUnavailable(ServiceUnavailable):
    """What Temporal has of a transfer is encrypted with a key that this process does not have."""

    code = "payloads_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "What Temporal has of it cannot be decrypted just now; send the same request again."
        )


class Overloaded(ServiceUnavailable):
    """More requests are in flight than the process takes in; nothing was done for this one."""

    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("Too much is asked for just now; send the same request again in a moment.")


class NothingSealed(NotFound):
    """There is no seal yet that a checkpoint could be about."""

    code = "nothing_sealed"

    def __init__(self) -> None:
        super().__init__("Nothing is sealed yet: a seal is made within seconds of a posting.")
