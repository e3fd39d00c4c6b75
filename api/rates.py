"""How many requests a key may send, and how many bad logins an address.

What was used stands in memory that all processes of an API share, so that a limit is one for all of
them. Processes on other machines count for themselves.
"""

import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import Final

from domain.access import Principal, RateLimit
from domain.errors import RateLimited, TooManyFailedLogins
from domain.limits import REQUESTS_BURST_DEFAULT, REQUESTS_PER_SECOND_DEFAULT

RATE_SLOTS: Final = 1 << 16
"""Callers that are told apart at a time: those who have sent something in the last seconds."""

RATE_MEMORY_BYTES: Final = RATE_SLOTS * 16
PROBES_MAXIMUM: Final = 8
"""Places where a caller may stand. Where all are taken by others, it is let through."""

ROUNDING: Final = 1e-3
"""Of a request: what times lose, as floating-point numbers of seconds since the machine's start."""

KNOWN_LOGINS_MAXIMUM: Final = 10_000
"""Keys and tokens that a process remembers to have been good."""

DEFAULT_RATE: Final = RateLimit(REQUESTS_PER_SECOND_DEFAULT, REQUESTS_BURST_DEFAULT)
MINUTE_SECONDS: Final = 60.0
_MASK: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one request.

    Parameters
    ----------
    left
        How many more could follow at once.
    wait_seconds
        Until the next one could be sent; 0 where it could be at once.
    """

    is_allowed: bool
    left: int
    wait_seconds: float


class RateTable:
    """Counts against rate limits: the generic cell rate algorithm, one time for each caller.

    The time is when all that a caller has sent would be made up for at its rate. Further ahead than
    its burst it may not be.

    Parameters
    ----------
    memory
        ``RATE_MEMORY_BYTES`` of zeros, perhaps shared with other processes.

    Notes
    -----
    Nothing is locked: each number is written as a whole, and where two processes count one caller
    in the same microsecond, one request may go uncounted.
    """

    def __init__(self, memory: mmap.mmap, clock: Callable[[], float] = time.monotonic) -> None:
        numbers = memoryview(memory)
        self._callers = numbers[: RATE_SLOTS * 8].cast("Q")
        self._times = numbers[RATE_SLOTS * 8 :].cast("d")
        self._clock = clock

    def take(self, caller: int, per_second: float, burst: int, *, count: int = 1) -> Taken:
        """Count a request, unless it is one too many; with a count of 0, only look.

        Parameters
        ----------
        caller
            64 bits that tell one from another, and are not 0.
        """
        now = self._clock()
        slot = self._slot(caller, now)
        if slot is None:
            return Taken(is_allowed=True, left=burst - 1, wait_seconds=0.0)
        ahead = max(self._times[slot] - now, 0.0)
        room = burst - ahead * per_second
        if room < 1 - ROUNDING:
            return Taken(is_allowed=False, left=0, wait_seconds=(1 - room) / per_second)
        if count:
            self._times[slot] = now + ahead + count / per_second
        return Taken(is_allowed=True, left=int(room + ROUNDING) - count, wait_seconds=0.0)

    def _slot(self, caller: int, now: float) -> int | None:
        free: int | None = None
        for probe in range(PROBES_MAXIMUM):
            slot = (caller + probe) % RATE_SLOTS
            if self._callers[slot] == caller:
                return slot
            if free is None and self._times[slot] <= now:
                free = slot  # whoever stood here has made up for all
        if free is not None:
            self._callers[free] = caller
            self._times[free] = 0.0
        return free


class RateLimits:
    """Holds requests against the limits of their keys, and logins against those of their address.

    Parameters
    ----------
    failed_logins_per_minute
        Of one address.

    Notes
    -----
    An address over its limit is refused without a look at what it sends, but for keys and tokens
    that were good in this process before: who shares it with somebody who guesses goes on.
    """

    def __init__(self, table: RateTable, *, failed_logins_per_minute: int) -> None:
        self._table = table
        self._failures = failed_logins_per_minute
        self._known: dict[int, None] = {}

    def admit_login(self, address: str | None, secret: str) -> None:
        """Refuse an address that has failed too often.

        Raises
        ------
        TooManyFailedLogins
            It has, and what it sends was never good here.
        """
        if hash(secret) in self._known:
            return
        taken = self._count(address, 0)
        if not taken.is_allowed:
            raise TooManyFailedLogins(
                "This address has sent too many keys or tokens that are not good.",
                retry_after_seconds=taken.wait_seconds,
            )

    def login_failed(self, address: str | None, secret: str) -> None:
        """Count a login that failed."""
        self._known.pop(hash(secret), None)
        self._count(address, 1)

    def login_passed(self, secret: str) -> None:
        """Remember what was good; the oldest of what is remembered goes."""
        if (place := hash(secret)) in self._known:
            return
        self._known[place] = None
        if len(self._known) > KNOWN_LOGINS_MAXIMUM:
            del self._known[next(iter(self._known))]

    def admit_request(self, principal: Principal) -> tuple[RateLimit, Taken]:
        """Count a request against its key's limit."""
        rate = principal.rate or DEFAULT_RATE
        caller = principal.api_key_id.int & _MASK
        return rate, self._table.take(caller or 1, rate.per_second, rate.burst)

    def _count(self, address: str | None, count: int) -> Taken:
        caller = int.from_bytes(blake2b(str(address).encode(), digest_size=8).digest(), "little")
        per_second = self._failures / MINUTE_SECONDS
        return self._table.take(caller or 1, per_second, self._failures, count=count)


def rate_headers(rate: RateLimit, taken: Taken) -> list[tuple[bytes, bytes]]:
    """Tell a client how much it may send, in the headers of the IETF's draft on rate limits."""
    window = ceil(rate.burst / rate.per_second)
    return [
        (b"ratelimit-policy", b'"key";q=%d;w=%d' % (rate.burst, window)),
        (b"ratelimit", b'"key";r=%d;t=%d' % (taken.left, ceil(taken.wait_seconds))),
    ]


def refuse_over_limit(rate: RateLimit, taken: Taken) -> None:
    """Refuse a request that is one too many.

    Raises
    ------
    RateLimited
        It is.
    """
    if not taken.is_allowed:
        raise RateLimited(
            f"This key may send {rate.per_second} requests a second, {rate.burst} at once.",
            retry_after_seconds=taken.wait_seconds,
        )
