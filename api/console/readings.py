"""What the overview's charts read from samples, and in which words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.console.charts import BarChart, Reading, Unknown, sampled_chart
from api.console.formats import decimal, duration
from persistence.overview import HeldMoney
from persistence.samples import Sampled
from services.overview import Overview, SampledStep


@dataclass(frozen=True, slots=True)
class HeldChart:
    """What is held of a currency, now and over time.

    Parameters
    ----------
    chart
        ``None`` where nothing was sampled.
    """

    now: HeldMoney
    chart: BarChart | None


def in_flight(sampled: Sampled) -> Reading:
    """Read a tenant's transfers under way."""
    return Reading(sampled.in_flight, 0, f"at most {sampled.in_flight:,} in flight")


def stuck(sampled: Sampled) -> Reading | Unknown:
    """Read what was stuck of the tenant, and on top of it of all others."""
    if sampled.stuck is None or sampled.own_stuck is None:
        return "Temporal did not tell what was stuck"
    least = "" if sampled.is_stuck_whole else "at least "
    own = min(sampled.own_stuck, sampled.stuck)
    words = f"{least}{sampled.stuck:,} stuck, {own:,} of this tenant"
    return Reading(own, sampled.stuck - own, words)


def proved(sampled: Sampled) -> Reading | Unknown:
    """Read how long ago the invariants were last proved: on top where one was violated."""
    age = sampled.proof_age_seconds
    told = "not all proved yet" if age is None else f"last proved {duration(age)} before"
    if sampled.violations:
        off = "violation" if sampled.violations == 1 else "violations"
        return Reading(0, age or 1, f"{sampled.violations:,} {off}, {told}")
    return told if age is None else Reading(age or 1, 0, told)


def held_charts(overview: Overview) -> Sequence[HeldChart]:
    """Draw what was held of each currency of which there was anything in the period, or is now."""
    now = {held.currency: held for held in overview.held}
    sampled = {
        currency
        for step in overview.sampled
        if step.sampled is not None
        for currency in step.sampled.held_minor
    }
    return [
        HeldChart(now.get(currency) or HeldMoney(currency, 0, 0), _held(overview.sampled, currency))
        for currency in sorted(now.keys() | sampled)
    ]


def _held(steps: Sequence[SampledStep], currency: str) -> BarChart | None:
    return sampled_chart(steps, held_of(currency))


def held_of(currency: str) -> Callable[[Sampled], Reading]:
    """Give what reads how much was held of a currency."""

    def read(sampled: Sampled) -> Reading:
        held_minor = sampled.held_minor.get(currency, 0)
        return Reading(held_minor, 0, f"at most {decimal(held_minor, currency)} {currency} held")

    return read
