"""What arXiv 2407.00215 found of critics, looked for in a comparison of policies: does it hold here, or not?

Each is decided by a paired 95 % interval over the same functions. "not decided" is an honest end: the interval holds 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

Verdict = Literal["does not hold", "not decided", "holds"]
ORDER: Sequence[Verdict] = ("does not hold", "not decided", "holds")
Change = tuple[float, float, float]
"""A difference and its interval; an unbounded one where there is none."""


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
) -> list[dict[str, str]]:
    """Those of the paper's findings that a comparison (:func:`custodes.critic.panel.compare`) can decide.

    Names that the comparison lacks are left out, and so is a finding without any.

    Args:
        sampled: the policies that write without a search.
        searched: those of a search without a modifier.
        matched: those of a search whose modifier was fitted to as many highlights as a sampled critique has.
        models: all that are no people and no teams.
        best_of: those that choose the best of as many plain samples as a search has candidates, at any modifier. Where
            they were run, a search is compared with them and not with ``sampled``, which draw a single one.
    """
    have = compared["policies"]
    found = []
    if warm_start in have and rl in have:
        for measure in ("hallucinations", "nitpicks"):
            change = _minus(compared, rl, warm_start, measure)
            measured = f"{rl} - {warm_start}: {_interval(change)} {measure} a critique"
            found.append(_found(f"RL cuts {measure}", _verdict(change, -1), measured))
    alike = [_matched(compared, one, warm_start) for one in matched if one in have and warm_start in have]
    plain = [name for name in best_of if name in have]
    rival = "the best of as many plain samples does not" if plain else "one plain sample does not"
    found += [
        *_best(
            "FSBS with as many findings includes more bugs than the warm start and hallucinates no more",
            reversed(alike),
        ),
        *_best(f"FSBS reaches what {rival}", (_beyond(compared, one, plain or sampled) for one in searched)),
        *_best("a person with a critic is beyond every critic alone", (_beyond(compared, t, models) for t in teams)),
    ]
    return found


Decided = tuple[Verdict, str]
"""A verdict, and the numbers behind it in a sentence."""


def _found(finding: str, verdict: Verdict, measured: str) -> dict[str, str]:
    return {"finding": finding, "verdict": verdict, "measured": measured}


def _best(finding: str, tried: Iterable[Decided | None]) -> list[dict[str, str]]:
    """The finding by the policy that does best; nothing where none could be tried."""
    best = max((t for t in tried if t is not None), key=lambda t: ORDER.index(t[0]), default=None)
    return [_found(finding, *best)] if best else []


def _matched(compared: Mapping[str, Any], one: str, other: str) -> Decided:
    """Whether a policy includes more bugs than another and hallucinates no more often."""
    bugs, false = (_minus(compared, one, other, measure) for measure in ("cbi", "hallucinations"))
    verdict = _verdict(bugs, 1)
    if verdict == "holds" and false[0] > 0:
        verdict = "does not hold" if false[1] > 0 else "not decided"
    return verdict, f"{one} - {other}: {_interval(bugs)} bugs included, {_interval(false)} hallucinations a critique"


def _beyond(compared: Mapping[str, Any], one: str, rivals: Sequence[str]) -> Decided | None:
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
    return _verdict(change, 1), f"{one} - {rival}: {_interval(change)} bugs included, {beside}"


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


def _interval(change: Change) -> str:
    return "{:+.2f} [{:.2f}, {:.2f}]".format(*(x + 0.0 for x in change)).replace("-", "−")  # -0.0 is 0
