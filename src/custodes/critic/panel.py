"""Policies that write critiques, side by side on the same code: measures, paired tests, Elo, agreement, the frontier.

Everything here follows from critiques that the rules have rated (:mod:`custodes.critic.rating`). Simulated raters add how
far raters with the noise that they state agree, and simulated people (:mod:`custodes.feedback.teams`) are policies too.
A simulated person sees a bug, keeps right comments, removes wrong ones and makes some up, each with a stated
probability. Simulated people know the bugs and are always called simulated.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from custodes.critic.families import clusters
from custodes.critic.policies import Measured, ReviewQuestion, bug_finding, compared_in_pairs, measure_critiques
from custodes.critic.rating import AXES, Rated, SimulatedRater, critique_of, rate_critique
from custodes.feedback.agreement import agreement_on_ratings
from custodes.feedback.critique import Critique, Finding, write_critique
from custodes.feedback.elo import elo, frontier
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.teams import Person
from custodes.stats import mean_interval
from custodes.types import InputError

LOWER_IS_BETTER = ("nitpick", "hallucination")
COMPARED = ("cbi", "located", "comprehensiveness", "hallucinations", "nitpicks", "conciseness", "overall")
"""Measures whose differences are tested."""
MADE_UP = "This looks wrong to me and will fail."
"""A comment that describes no bug."""


def compare(
    asked: Sequence[ReviewQuestion],
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
    measured = {name: measure_critiques(asked, rows) for name, rows in policies.items()}
    drawn = {name: {"tokens": mean_interval(counts).to_dict()} for name, counts in (tokens or {}).items()}
    return {
        "n": len(asked),
        "clean": sum(not q.bugs for q in asked),
        "policies": {name: m.to_dict() | drawn.get(name, {}) for name, m in measured.items()},
        "paired": compared_in_pairs(measured, COMPARED),
        "elo": _elo_ratings(asked, policies),
        "frontier": _pareto(measured),
        "agreement": _agreement(asked, policies, raters),
    }


def _elo_ratings(asked: Sequence[ReviewQuestion], policies: Mapping[str, Sequence[Rated]]) -> dict[str, dict[str, Any]]:
    """Scale -> policy -> Elo with its interval over problems; scales on which nothing differs are even."""
    if len(policies) < 2:
        return {}
    names, problems = [name for name in policies for _ in asked], [*range(len(asked))] * len(policies)
    functions: dict[Hashable, Hashable] = dict(enumerate(clusters([q.function for q in asked])))
    found = {}
    for axis in AXES:
        values = np.array([r.scales()[axis] for rows in policies.values() for r in rows])
        if axis == "cbi":  # bugs cannot be included where there is none
            values[[not r.bugs for rows in policies.values() for r in rows]] = np.nan
        if not np.isnan(values).all():
            better = axis not in LOWER_IS_BETTER
            fitted = elo(problems, names, values, higher_is_better=better, clusters=functions)
            found[axis] = {name: fitted.of(name).to_dict() for name in fitted.policies}
    return found


def _pareto(measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Every policy as a point: bugs included against hallucinations and nitpicks in a critique; who is beaten by none."""
    cost = np.array([np.mean(m.values["hallucinations"] + m.values["nitpicks"]) for m in measured.values()])
    gain = np.array([m.of("cbi").estimate for m in measured.values()])
    known, best = ~np.isnan(gain), np.zeros(len(cost), bool)
    best[known] = frontier(cost[known], gain[known])
    points = zip(measured, cost.tolist(), [None if np.isnan(g) else float(g) for g in gain], best.tolist(), strict=True)
    return [dict(zip(("policy", "false_or_petty", "cbi", "on_frontier"), point, strict=True)) for point in points]


def _agreement(
    asked: Sequence[ReviewQuestion], policies: Mapping[str, Sequence[Rated]], raters: Sequence[SimulatedRater]
) -> dict[str, Any]:
    """Of simulated raters, on every scale; empty without raters."""
    given: list[Rating] = []
    for rater in raters:
        for name, rows in policies.items():
            for i, (q, r) in enumerate(zip(asked, rows, strict=True)):
                given += rater.ratings(q.task.id, f"{name}-{i}", write_critique(critique_of(r)), r)
    return {axis: agreement_on_ratings(given, axis).alpha.to_dict() for axis in AXES} if given else {}


# ---------------------------------------------------------------- simulated people


def alone(person: Person, asked: Sequence[ReviewQuestion], seed: int = 0) -> list[Rated]:
    """What a simulated person writes of each question from nothing."""
    own = (_own(person, q, np.random.default_rng([seed, i]), 1.0) for i, q in enumerate(asked))
    return [rate_critique(Critique(findings), q.code, q.bugs) for findings, q in zip(own, asked, strict=True)]


def team(person: Person, asked: Sequence[ReviewQuestion], critiques: Sequence[Rated], seed: int = 0) -> list[Rated]:
    """What a simulated person makes of a critic's critique of each question.

    Findings that point out a bug are kept with probability ``keeps``, others with 1 - ``removes``. What the person sees by
    ``attention`` is added; alone it would have been seen too, since the luck is that of :func:`alone` with the same seed.
    """
    found = []
    for i, (q, critique) in enumerate(zip(asked, critiques, strict=True)):
        own = _own(person, q, np.random.default_rng([seed, i]), person.attention)
        draw = np.random.default_rng([seed, i, 1])
        chances = [person.keeps if f.kind == "bug" else 1 - person.removes for f in critique.findings]
        kept = [f for f, chance in zip(critique.findings, chances, strict=True) if draw.random() < chance]
        added = rate_critique(Critique(own), q.code, q.bugs)
        found.append(Rated.of([*kept, *added.findings], len(q.bugs)))
    return found


def _own(person: Person, q: ReviewQuestion, draw: np.random.Generator, attention: float) -> tuple[Finding, ...]:
    """The person's own findings; those seen with less attention are among those seen with more."""
    findings = []
    for bug in q.bugs:
        sees, looks = draw.random() < person.sees, draw.random() < attention
        if sees and looks:
            findings.append(bug_finding(q.code, bug))
    right = {line for bug in q.bugs for line in bug.lines}
    others = [text for n, text in enumerate(q.code.split("\n"), 1) if text.strip() and n not in right]
    wrong = min(int(draw.poisson(person.own_false)), len(others))
    chosen = [others[int(k)] for k in draw.permutation(len(others))[:wrong]]
    return (*findings, *(Finding(line, MADE_UP) for line in chosen if draw.random() < attention))
