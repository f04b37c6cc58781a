"""Who among the judges is not to be trusted: inferred reliability and bias against each judge's nature.

Nature is known for simulated annotators only, and they are always called simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from custodes.audit.schema import AnnotatorEstimate
from custodes.audit.words import number, percent
from custodes.stats import Interval, normal_quantile, rank_correlation, wilson

HONEST = frozenset({"expert", "hasty"})  # natures that try to answer truthfully; hasty ones are merely careless
BIAS = 0.5  # log-odds: a bias surely larger than this is suspect (it moves a coin toss from 50 % to 62 %)
REPEATS = 0.7  # repeating oneself surely less often than this is suspect


@dataclass(frozen=True)
class Judge:
    """One annotator: estimates with 95 % intervals, and ``evidence``, sentences that make it a suspect."""

    id: str
    kind: str
    judgments: int
    reliability: Interval
    position: Interval | None
    length: Interval | None
    repeat: Interval | None  # share of repeated pairs that got the same verdict
    nature: str | None
    true_reliability: float | None
    evidence: tuple[str, ...] = field(default=())

    @property
    def suspect(self) -> bool:
        return bool(self.evidence)


@dataclass(frozen=True)
class Detection:
    """Suspects against the truth. Counts are of simulated annotators whose nature is recorded."""

    caught: Interval  # share of the dishonest who are suspects
    wrongly: Interval  # share of the honest who are suspects


def judges(estimates: Mapping[str, AnnotatorEstimate], kinds: Mapping[str, str]) -> list[Judge]:
    """The annotators, least reliable first. ``kinds`` maps an id to human, ai, simulated or programmatic."""
    median = float(np.median([e.reliability for e in estimates.values()])) if estimates else 0.0
    found = [_judge(name, e, kinds.get(name, "not recorded"), median) for name, e in estimates.items()]
    return sorted(found, key=lambda j: j.reliability.estimate)


def truth_correlation(found: list[Judge]) -> Interval | None:
    """Spearman's rank correlation of inferred and true reliability; None with fewer than 4 known truths."""
    known = [(j.reliability.estimate, j.true_reliability) for j in found if j.true_reliability is not None]
    if len(known) < 4 or len({truth for _, truth in known}) < 2:
        return None
    inferred, truth = zip(*known, strict=True)
    return rank_correlation(np.array(inferred), np.array(truth))


def detection(found: list[Judge]) -> Detection | None:
    """None unless there are simulated annotators of both honest and dishonest nature."""
    honest = [j for j in found if j.nature in HONEST]
    dishonest = [j for j in found if j.nature is not None and j.nature not in HONEST]
    if not honest or not dishonest:
        return None
    return Detection(
        caught=wilson(sum(j.suspect for j in dishonest), len(dishonest)),
        wrongly=wilson(sum(j.suspect for j in honest), len(honest)),
    )


def _judge(name: str, e: AnnotatorEstimate, kind: str, median: float) -> Judge:
    reliability = _normal(e.reliability, e.reliability_se, e.judgments)
    if e.reliability_low is not None and e.reliability_high is not None:
        reliability = Interval(e.reliability, e.reliability_low, e.reliability_high, e.judgments)
    position = _optional(e.position, e.position_se, e.judgments)
    length = _optional(e.length, e.length_se, e.judgments)
    repeat = wilson(e.repeats_same, e.repeats) if e.repeats else None
    return Judge(
        id=name,
        kind=kind,
        judgments=e.judgments,
        reliability=reliability,
        position=position,
        length=length,
        repeat=repeat,
        nature=e.nature,
        true_reliability=e.true_reliability,
        evidence=tuple(_evidence(reliability, position, length, repeat, median) + _inversion(e)),
    )


def _evidence(
    reliability: Interval, position: Interval | None, length: Interval | None, repeat: Interval | None, median: float
) -> list[str]:
    found = []
    if reliability.high < 0:
        found.append("answers against the truth")
    elif reliability.low <= 0 and reliability.high < median:
        found.append("cannot be told from chance, and is surely below the median judge")
    if position is not None and _surely_beyond(position, BIAS):
        found.append(f"favours the answer shown {'first' if position.estimate > 0 else 'second'}")
    if length is not None and _surely_beyond(length, BIAS):
        found.append(f"favours the {'longer' if length.estimate > 0 else 'shorter'} answer more than the others do")
    if repeat is not None and repeat.high < REPEATS:
        found.append(f"repeats its own verdict in {percent(repeat.estimate)} of {repeat.n} repeats")
    return found


def _inversion(e: AnnotatorEstimate) -> list[str]:
    if e.feature is None:
        return []
    where = f"agrees with the others in {e.agreed_inside} of {e.inside} judgments where the prompt has “{e.feature}”"
    return [f"{where}, in {e.agreed_outside} of {e.outside} elsewhere (corrected p = {number(e.p_adjusted, 2)})"]


def _surely_beyond(interval: Interval, limit: float) -> bool:
    return interval.low > limit or interval.high < -limit


def _normal(estimate: float, se: float, n: int) -> Interval:
    half = normal_quantile(0.95) * se
    return Interval(estimate, estimate - half, estimate + half, n)


def _optional(estimate: float | None, se: float | None, n: int) -> Interval | None:
    return None if estimate is None or se is None else _normal(estimate, se, n)
