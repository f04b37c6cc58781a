"""What arXiv 2407.00215 found of critics, looked for in a comparison of policies: does it hold here, or not?

Each is decided by a paired 95 % interval over the same functions. "not decided" is an honest end: the interval holds 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["does not hold", "not decided", "holds"]
ORDER: Sequence[Verdict] = ("does not hold", "not decided", "holds")
Change = tuple[float, float, float]
"""A difference and its interval; an unbounded one where there is none."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding of the paper and what became of it."""

    finding: str
    verdict: Verdict
    measured: str

    def to_dict(self) -> dict[str, str]:
        """Plain JSON."""
        return asdict(self)


def paper_findings(
    compared: Mapping[str, Any],
    *,
    warm_start: str,
    rl: str,
    sampled: Sequence[str],
    searched: Sequence[str],
    matched: Sequence[str],
    models: Sequence[str],
    teams: Sequence[str],
    best_of: Sequence[str] = (),
) -> list[Found]:
    """Those of the paper's findings that a comparison (:func:`custodes.critic.panel.compare`) can decide.

    ``sampled`` are the policies that write without a search, ``searched`` those of a search without a modifier, ``matched``
    those of a search whose modifier was fitted to as many highlights as a sampled critique has, ``models`` all that are no
    people and no teams, ``best_of`` those that choose the best of as many plain samples as a search has candidates, at any
    modifier: where they were run, a search is compared with them and not with ``sampled``, which draw a single one. Names
    that the comparison lacks are left out, and so is a finding without any.
    """
    have = compared["policies"]
    found = []
    if warm_start in have and rl in have:
        for measure in ("hallucinations", "nitpicks"):
            change = _minus(compared, rl, warm_start, measure)
            found.append(
                Found(
                    f"RL cuts {measure}",
                    _verdict(change, -1),
                    f"{rl} - {warm_start}: {_told(change)} {measure} a critique",
                )
            )
    alike = [_matched(compared, one, warm_start) for one in matched if one in have and warm_start in have]
    found += sorted(alike, key=lambda f: ORDER.index(f.verdict))[-1:]
    plain = [name for name in best_of if name in have]
    reaches = (
        "FSBS reaches what the best of as many plain samples does not"
        if plain
        else "FSBS reaches what one plain sample does not"
    )
    for title, ones, rivals in (
        (reaches, searched, plain or sampled),
        ("a person with a critic is beyond every critic alone", teams, models),
    ):
        tried = [_beyond(compared, one, [r for r in rivals if r in have]) for one in ones if one in have]
        best = max((t for t in tried if t is not None), key=lambda t: ORDER.index(t.verdict), default=None)
        if best is not None:
            found.append(Found(title, best.verdict, best.measured))
    return found


def _matched(compared: Mapping[str, Any], one: str, other: str) -> Found:
    """Whether a policy includes more bugs than another and hallucinates no more often."""
    bugs, false = (_minus(compared, one, other, measure) for measure in ("cbi", "hallucinations"))
    verdict = _verdict(bugs, 1)
    if verdict == "holds" and false[0] > 0:
        verdict = "does not hold" if false[1] > 0 else "not decided"
    told = f"{one} - {other}: {_told(bugs)} bugs included, {_told(false)} hallucinations a critique"
    return Found(
        "FSBS with as many findings includes more bugs than the warm start and hallucinates no more", verdict, told
    )


def _beyond(compared: Mapping[str, Any], one: str, rivals: Sequence[str]) -> Found | None:
    """Whether a policy includes more bugs than every rival that says no more that is false or petty; where all of them
    say more, than the one that includes the most."""
    points = {p["policy"]: p for p in compared["frontier"] if p["cbi"] is not None}
    known = [r for r in rivals if r in points and r != one]
    if one not in points or not known:
        return None
    cost = points[one]["false_or_petty"]
    rival = max([r for r in known if points[r]["false_or_petty"] <= cost] or known, key=lambda r: points[r]["cbi"])
    change = _minus(compared, one, rival, "cbi")
    beside = f"at {cost:.2f} against {points[rival]['false_or_petty']:.2f} false or petty findings a critique"
    drawn = [compared["policies"][name].get("tokens") for name in (one, rival)]
    if all(drawn):
        beside += ", {:,.0f} against {:,.0f} tokens drawn".format(*(d["estimate"] for d in drawn))
    return Found("", _verdict(change, 1), f"{one} - {rival}: {_told(change)} bugs included, {beside}")


def _minus(compared: Mapping[str, Any], one: str, other: str, measure: str) -> Change:
    """The paired difference of two policies and its interval, whichever of the two came first."""
    pairs = compared["paired"]
    forward = f"{one} - {other}" in pairs
    of = pairs[f"{one} - {other}" if forward else f"{other} - {one}"][measure]
    if of["low"] is None:  # a single function
        return (of["estimate"] if forward else -of["estimate"]), -math.inf, math.inf
    return (of["estimate"], of["low"], of["high"]) if forward else (-of["estimate"], -of["high"], -of["low"])


def _verdict(change: Change, sign: int) -> Verdict:
    """Whether a change is of the sign, of the other, or neither for sure."""
    _, low, high = change
    low, high = (low, high) if sign > 0 else (-high, -low)
    return "holds" if low > 0 else "does not hold" if high < 0 else "not decided"


def _told(change: Change) -> str:
    return "{:+.2f} [{:.2f}, {:.2f}]".format(*(x + 0.0 for x in change)).replace("-", "−")  # -0.0 is 0
