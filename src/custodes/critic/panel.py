"""Policies that write critiques, side by side on the same code: measures, paired tests, Elo, agreement, the frontier.

Everything here follows from critiques that the rules have rated (:mod:`custodes.critic.rating`); what simulated raters
add, with the noise that they state, is how far raters of that kind agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from custodes.critic.families import clusters
from custodes.critic.policies import Measured, Question, measure
from custodes.critic.rating import AXES, Rated, RatedFinding, SimulatedRater, critique_of, rating_agreement
from custodes.critic.tamper.bugs import Bug
from custodes.feedback import agreement_on_ratings
from custodes.feedback.critique import write_critique
from custodes.feedback.elo import elo, frontier
from custodes.feedback.kinds.rating import Rating
from custodes.stats import mean_interval, rate
from custodes.types import InputError

HIGHER_IS_BETTER = {axis: axis not in ("nitpick", "hallucination") for axis in AXES}
COMPARED = ("cbi", "located", "comprehensiveness", "hallucinations", "nitpicks", "conciseness", "overall")
"""Measures whose differences are tested."""


def compare(
    asked: Sequence[Question],
    policies: Mapping[str, Sequence[Rated]],
    raters: Sequence[SimulatedRater] = (),
    tokens: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Everything that a table and a chart of policies need, as plain JSON.

    ``policies`` maps a name to one rated critique of every question, in order; later ones are compared with earlier ones.
    ``tokens`` says of those that draw how many they drew for each, where that is known.
    Raises InputError where a policy has not criticised every question.
    """
    for name, rows in policies.items():
        if len(rows) != len(asked):
            raise InputError(f"policy {name!r} has {len(rows)} critiques of {len(asked)} questions; give one of each.")
    measured = {name: measure(asked, [[r] for r in rows]) for name, rows in policies.items()}
    drawn = {name: {"tokens": mean_interval(counts).to_dict()} for name, counts in (tokens or {}).items()}
    return {
        "n": len(asked),
        "clean": sum(not q.bugs for q in asked),
        "policies": {name: m.to_dict() | drawn.get(name, {}) for name, m in measured.items()},
        "paired": _paired(measured),
        "elo": _ratings(asked, policies),
        "frontier": _pareto(measured),
        "agreement": _agreement(asked, policies, raters),
    }


def _paired(measured: Mapping[str, Measured]) -> dict[str, dict[str, Any]]:
    """ "later - earlier" -> measure -> the difference with its paired interval, the test and its p."""
    found: dict[str, dict[str, Any]] = {}
    for earlier, later in combinations(measured, 2):
        against = {name: measured[later].against(measured[earlier], name) for name in COMPARED}
        found[f"{later} - {earlier}"] = against
    return found


def _ratings(asked: Sequence[Question], policies: Mapping[str, Sequence[Rated]]) -> dict[str, dict[str, Any]]:
    """Scale -> policy -> Elo with its interval over problems; scales on which nothing differs are even."""
    if len(policies) < 2:
        return {}
    names = [name for name in policies for _ in asked]
    problems = [i for _ in policies for i in range(len(asked))]
    functions = clusters([q.function for q in asked])
    found = {}
    for axis in AXES:
        values = np.array([_scale(r, axis) for rows in policies.values() for r in rows])
        if np.isnan(values).all():
            continue
        fitted = elo(
            problems, names, values, higher_is_better=HIGHER_IS_BETTER[axis], clusters=dict(enumerate(functions))
        )
        found[axis] = {name: fitted.of(name).to_dict() for name in fitted.policies}
    return found


def _pareto(measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Every policy as a point: bugs included against hallucinations and nitpicks in a critique; who is beaten by none."""
    cost = [np.mean(m.values["hallucinations"] + m.values["nitpicks"]) for m in measured.values()]
    gain = [m.of("cbi").estimate for m in measured.values()]
    known = ~np.isnan(gain)
    on = np.zeros(len(cost), bool)
    on[known] = frontier(np.array(cost)[known], np.array(gain)[known])
    return [
        {
            "policy": name,
            "false_or_petty": float(x),
            "cbi": None if np.isnan(y) else float(y),
            "on_frontier": bool(best),
        }
        for name, x, y, best in zip(measured, cost, gain, on, strict=True)
    ]


class Claim(NamedTuple):
    """A comment on the lines of a bug; whoever wrote it, it is judged once."""

    question: int
    bug: int
    comment: str

    def pair(self, asked: Sequence[Question]) -> tuple[str, Bug]:
        """The comment, and the bug that it may describe."""
        return self.comment, asked[self.question].bugs[self.bug]


def panel_claims(asked: Sequence[Question], policies: Mapping[str, Sequence[Rated]]) -> list[Claim]:
    """Every comment that stands on the lines of a bug with a description: what a judge is asked about."""
    found = [
        claim
        for rows in policies.values()
        for i, r in enumerate(rows)
        for f in r.findings
        if (claim := _claim(i, f)) and claim.pair(asked)[1].description
    ]
    return list(dict.fromkeys(found))


def judged(
    asked: Sequence[Question], policies: Mapping[str, Sequence[Rated]], said: Mapping[Claim, bool | None]
) -> dict[str, Any]:
    """A judge's verdicts on :func:`panel_claims` as plain JSON: how far the rules agree with them, and what share of the bugs each
    policy includes by them. A verdict that could not be read includes nothing."""
    functions = clusters([q.function for q in asked])
    agreed = rating_agreement(list(said.values()), [c.pair(asked) for c in said], [functions[c.question] for c in said])
    by_judge = {
        name: [
            len({f.bug for f in r.findings if (claim := _claim(i, f)) and said.get(claim)}) / r.bugs
            for i, r in enumerate(rows)
            if r.bugs
        ]
        for name, rows in policies.items()
    }
    with_bugs = {name: [functions[i] for i, r in enumerate(rows) if r.bugs] for name, rows in policies.items()}
    return agreed.to_dict() | {
        "cbi": {name: rate(shares, with_bugs[name]).to_dict() for name, shares in by_judge.items()}
    }


def _claim(question: int, f: RatedFinding) -> Claim | None:
    return None if f.bug is None else Claim(question, f.bug, f.finding.comment)


def _agreement(
    asked: Sequence[Question], policies: Mapping[str, Sequence[Rated]], raters: Sequence[SimulatedRater]
) -> dict[str, Any]:
    """Of simulated raters, on every scale; empty without raters."""
    given: list[Rating] = []
    for rater in raters:
        for name, rows in policies.items():
            for i, (q, r) in enumerate(zip(asked, rows, strict=True)):
                given += rater.ratings(q.task.id, f"{name}-{i}", write_critique(critique_of(r)), r)
    return {axis: agreement_on_ratings(given, axis).alpha.to_dict() for axis in AXES} if given else {}


def _scale(r: Rated, axis: str) -> float:
    """A critique's value on a scale; bugs cannot be included where there is none."""
    return float("nan") if axis == "cbi" and not r.bugs else r.scales()[axis]
