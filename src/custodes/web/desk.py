"""The quality desk's numbers, from the ledger: agreement, reliability, gold, alarms, each with its interval and count."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import func, select

from custodes.feedback.agreement import (
    agreement,
    agreement_by_group,
    agreement_on_labels,
    agreement_on_ratings,
    repeat_consistency,
)
from custodes.feedback.annotator_model import AnnotatorModel, fit_annotators
from custodes.feedback.elo import elo
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.labels import aggregate, labels_from_judgments
from custodes.feedback.poisoning import watch_annotators
from custodes.registry import rater
from custodes.stats import Interval, mean_interval, normal_quantile, rate
from custodes.types import InputError, Judgment
from custodes.web.database import ServerDatabase
from custodes.web.effort import accuracy_by_budget, coverage_of, effort_of
from custodes.web.export import ProjectContent, by_annotator, gold_results, read_project
from custodes.web.flags import flags_of
from custodes.web.habits import habits_of
from custodes.web.projects import open_project, quarantined
from custodes.web.schema import assignments
from custodes.web.second_looks import by_chance, final, second_looks, teams_of


def quality_of(database: ServerDatabase, name: str) -> dict[str, Any]:
    """Everything that the desk shows of a project. Raises MissingError for an unknown one.

    Annotators in quarantine are named and counted, and left out of everything else.
    """
    content = read_project(database, name, with_gold=True, with_quarantined=True, with_alone=True)
    used = [j for j in content.judgments if j.annotator not in content.quarantined]
    judgments = final(used)
    gold_items = {task: item for task, item in content.items_by_task.items() if item.gold}
    with database.reading() as connection:
        project, run, closed = open_project(connection, name)
        effort, coverage = effort_of(connection, project), coverage_of(connection, project)
    numbers: dict[str, Any] = {
        "project": name,
        "title": project.title,
        "closed": closed,
        "judgments": dict(Counter(type(j).__name__.lower() for j in judgments)),
        "effort": effort,
        "coverage": coverage,
        "people": _people(database, run, content, judgments),
        "names": {account.id: account.name for account in database.accounts.all()},
        "habits": habits_of(content, judgments),
        "flags": flags_of(database, name),
        "gold": _gold(content, judgments),
        "accuracy_by_budget": accuracy_by_budget(gold_items, judgments),
        "agreement_by_axis": _by_axis(judgments),
        "labels": _labels(judgments),
        "standings": _standings(content, judgments),
        "assisted": second_looks(used, content.items_by_task),
        "helped": by_chance(used, content.items_by_task),
        "teams": teams_of(rater.find("known_bugs")(content.tasks.values(), content.episodes.values(), judgments)),
    }
    if any(j.comparisons() for j in judgments):
        numbers |= _comparisons(content, judgments, numbers["people"])
    return numbers


def mark_of(database: ServerDatabase, name: str) -> str:
    """Changes whenever the desk's numbers may: what is handed in, who is in quarantine, whether the project is open."""
    with database.reading() as connection:
        _, _, closed = open_project(connection, name)
        states = select(assignments.c.state, func.count(), func.max(assignments.c.ended))
        here = (assignments.c.project == name, assignments.c.state.in_(("done", "skipped")))
        rows = connection.execute(states.where(*here).group_by(assignments.c.state).order_by(assignments.c.state)).all()
        return f"{rows} {sorted(quarantined(connection, name))} {closed}"


def _people(
    database: ServerDatabase, run: str, content: ProjectContent, judgments: Sequence[Judgment]
) -> dict[str, dict[str, Any]]:
    names = {account.id: account.name for account in database.accounts.all()}
    people: dict[str, dict[str, Any]] = {}
    for person, own in sorted(by_annotator(judgments).items()):
        seconds = [j.seconds for j in own if j.seconds is not None]
        people[person] = {
            "name": names.get(person, person),
            "judgments": len(own),
            "median_seconds": float(np.median(seconds)) if seconds else None,
            "gold": _gold(content, own),
            "quarantined": False,
        }
    reasons = {d.subject: d.why for d in database.ledger.decisions(run) if d.what == "quarantine"}
    for person in sorted(content.quarantined):
        count = sum(j.annotator == person for j in content.judgments)
        about = {"name": names.get(person, person), "judgments": count, "quarantined": True}
        people[person] = about | {"why": reasons.get(person, "")}
    return people


def _comparisons(content: ProjectContent, judgments: Sequence[Judgment], people: dict[str, Any]) -> dict[str, Any]:
    model = fit_annotators(judgments, content.episodes.values())
    gold = {task for task, item in content.items_by_task.items() if item.gold}
    watched = watch_annotators(model, judgments, content.tasks.values(), gold)
    for name in model.annotators:
        e = model.of(name)
        for what in ("reliability", "position", "length"):
            estimate, se = getattr(e, what), getattr(e, f"{what}_se")
            people[name][what] = {"se": se} | _normal(estimate, se, e.judgments)
        people[name]["reliability"] |= {"low": e.reliability_low, "high": e.reliability_high}
    for evaluation in watched.evaluations("watch"):
        people[evaluation.subject]["alarm"] = evaluation.metrics
    agreed, fitted = agreement(judgments), set(model.annotators)
    with_profile = [a for a in content.annotators if a.id in fitted]
    groups = {
        field: {group: of.alpha.to_dict() for group, of in agreement_by_group(judgments, with_profile, field).items()}
        for field in sorted({field for person in with_profile for field in person.profile})
    }
    return {
        "agreement": {"alpha": agreed.alpha.to_dict(), "pairs": agreed.items},
        "agreement_by_group": groups,
        "repeats": repeat_consistency(judgments).overall.to_dict(),
        "effects": _effects(model),
        "notes": model.notes,
        "clusters": [
            {"people": list(c.annotators), "meaning": c.meaning, "z": c.z, "shared": c.shared, "p": c.p}
            for c in watched.clusters
        ],
        "alarm_level": watched.level,
    }


def _effects(model: AnnotatorModel) -> dict[str, Any]:
    """What everybody together does, in log-odds: position, the mean weighted by precision; length, bias or quality."""
    weight, n = 1 / np.maximum(np.square(model.position_se), 1e-12), len(model.judgments)
    mean, se = float(np.sum(weight * model.position) / np.sum(weight)), float(np.sum(weight) ** -0.5)
    effects = {"position": _normal(mean, se, n)}
    if (shared := model.shared_length) is not None:
        effects["length"] = _normal(shared.estimate, shared.se, n)
    return effects


def _by_axis(judgments: Sequence[Judgment]) -> list[dict[str, Any]]:
    """Agreement on every axis that was compared, ranked or rated, and on every label."""
    compared = sorted({j.axis for j in judgments if isinstance(j, Comparison | Ranking)})
    rated = sorted({j.axis for j in judgments if isinstance(j, Rating)})
    labelled = sorted({j.name for j in judgments if isinstance(j, Label)})
    measured = [("comparison", axis, agreement(judgments, axis=axis)) for axis in compared]
    measured += [("rating", axis, agreement_on_ratings(judgments, axis)) for axis in rated]
    measured += [("label", label, agreement_on_labels(judgments, label)) for label in labelled]
    return [
        {"kind": kind, "axis": axis, "alpha": of.alpha.to_dict(), "items": of.items, "judgments": of.judgments}
        for kind, axis, of in measured
    ]


def _labels(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Per label, reliability by Dawid and Skene."""
    by_label = {}
    for name in sorted({j.name for j in judgments if isinstance(j, Label)}):
        result = aggregate(labels_from_judgments(judgments, name))
        people = zip(result.table.annotators, result.reliability, strict=True)
        by_label[name] = {person: interval.to_dict() for person, interval in people}
    return by_label


def _standings(content: ProjectContent, judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Where answers of several models were rated: each model's mean on every axis (clustered by task), and Elo overall."""
    rated = [(j, content.episodes[j.episodes[0]].policy) for j in judgments if isinstance(j, Rating)]
    policies = sorted({policy for _, policy in rated})
    if len(policies) < 2:
        return {}
    means: dict[str, dict[str, Any]] = {axis: {} for axis in sorted({j.axis for j, _ in rated})}
    scales = {j.axis: [j.lowest, j.highest] for j, _ in rated}
    for axis, by_policy in means.items():
        for policy in policies:
            own = [j for j, whose in rated if j.axis == axis and whose == policy]
            by_policy[policy] = mean_interval([j.value for j in own], [j.task for j in own]).to_dict()
    overall: dict[tuple[str, str], list[float]] = defaultdict(list)  # raters of one task are no problems of their own
    for j, policy in rated:
        if j.axis == "overall":
            overall[j.task, policy].append(j.value)
    scores = [float(np.mean(values)) for values in overall.values()]
    try:
        ranked = elo([task for task, _ in overall], [policy for _, policy in overall], scores)
    except InputError:  # nobody rated two models on one task
        return {"means": means, "scales": scales}
    return {"means": means, "scales": scales, "elo": {name: ranked.of(name).to_dict() for name in ranked.policies}}


def _gold(content: ProjectContent, judgments: Sequence[Judgment]) -> dict[str, Any]:
    results = gold_results(content.items_by_task, judgments)  # several people meet one task
    return rate([right for _, right in results], [task for task, _ in results]).to_dict()


def _normal(estimate: float, se: float, n: int) -> dict[str, Any]:
    half = normal_quantile(0.95) * se
    return Interval(estimate, estimate - half, estimate + half, n).to_dict()
