"""The quality desk's numbers, from the ledger: agreement, reliability, gold, alarms, each with its interval and count."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import func, select

from custodes.feedback import (
    AnnotatorModel,
    agreement,
    agreement_by_group,
    agreement_on_labels,
    agreement_on_ratings,
    fit_annotators,
    repeat_consistency,
)
from custodes.feedback.elo import elo
from custodes.feedback.items import Item, gold_result
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.labels import aggregate, labels_from_judgments
from custodes.feedback.poisoning import watch_annotators
from custodes.registry import rater
from custodes.stats import Interval, mean_interval, normal_quantile, rate
from custodes.types import InputError, Judgment
from custodes.web.database import Database
from custodes.web.effort import accuracy_by_budget, coverage_of, effort_of
from custodes.web.export import Content, read_project
from custodes.web.flags import flags_of
from custodes.web.habits import habits_of
from custodes.web.projects import open_project, quarantined
from custodes.web.schema import assignments
from custodes.web.second_looks import final, second_looks, teams_of

"""Of every interval of agreement: enough for a page that is computed again after every few judgments."""
"""Standard errors to either side of a 95 % interval."""


def quality_of(database: Database, name: str) -> dict[str, Any]:
    """Everything that the desk shows of a project. Raises MissingError for an unknown one.

    Annotators in quarantine are named and counted, and left out of everything else.
    """
    content = read_project(database, name, with_gold=True, with_quarantined=True, with_alone=True)
    every, out = content.judgments, content.quarantined
    used = [j for j in every if j.annotator not in out]
    judgments = final(used)
    with database.reading() as connection:
        project, run, closed = open_project(connection, name)
        effort, coverage = effort_of(connection, project), coverage_of(connection, project)
    found: dict[str, Any] = {
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
        "gold": _gold(content.items_by_task, judgments),
        "accuracy_by_budget": accuracy_by_budget({t: i for t, i in content.items_by_task.items() if i.gold}, judgments),
        "agreement_by_axis": _by_axis(judgments),
        "labels": _labels(judgments),
        "standings": _standings(content, judgments),
        "assisted": second_looks(used, content.items_by_task),
        "teams": teams_of(rater.find("known_bugs")(content.tasks.values(), content.episodes.values(), judgments)),
    }
    if any(j.comparisons() for j in judgments):
        found |= _comparisons(content, judgments, found["people"])
    return found


def mark_of(database: Database, name: str) -> str:
    """Changes whenever the desk's numbers may: what is handed in, who is in quarantine, whether the project is open."""
    with database.reading() as connection:
        _, _, closed = open_project(connection, name)
        done = select(func.count(), func.max(assignments.c.ended)).where(
            assignments.c.project == name, assignments.c.state == "done"
        )
        count, last = connection.execute(done).one()
        left = (assignments.c.project == name, assignments.c.state == "skipped")
        skipped = connection.scalar(select(func.count()).where(*left))
        return f"{count} {last} {skipped} {sorted(quarantined(connection, name))} {closed}"


def _people(database: Database, run: str, content: Content, judgments: Sequence[Judgment]) -> dict[str, dict[str, Any]]:
    by_person: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        by_person[judgment.annotator].append(judgment)
    names = {account.id: account.name for account in database.accounts.all()}
    people: dict[str, dict[str, Any]] = {
        person: {
            "name": names.get(person, person),
            "judgments": len(own),
            "median_seconds": float(np.median(seconds))
            if (seconds := [j.seconds for j in own if j.seconds is not None])
            else None,
            "gold": _gold(content.items_by_task, own),
            "quarantined": False,
        }
        for person, own in sorted(by_person.items())
    }
    reasons = {d.subject: d.why for d in database.ledger.decisions(run) if d.what == "quarantine"}
    for person in sorted(content.quarantined):
        count = sum(j.annotator == person for j in content.judgments)
        about = {"name": names.get(person, person), "judgments": count, "quarantined": True}
        people[person] = about | {"why": reasons.get(person, "")}
    return people


def _comparisons(content: Content, judgments: Sequence[Judgment], people: dict[str, Any]) -> dict[str, Any]:
    model = fit_annotators(judgments, content.episodes.values())
    gold = {task for task, item in content.items_by_task.items() if item.gold}
    watched = watch_annotators(model, judgments, content.tasks.values(), gold)
    for name in model.annotators:
        e = model.of(name)
        for what in ("reliability", "position", "length"):
            estimate, se = getattr(e, what), getattr(e, f"{what}_se")
            people[name][what] = {"se": se} | _normal(estimate, se, e.judgments).to_dict()
        people[name]["reliability"] |= {"low": e.reliability_low, "high": e.reliability_high}
    for evaluation in watched.evaluations("watch"):
        people[evaluation.subject]["alarm"] = evaluation.metrics
    shared, repeated = agreement(judgments), repeat_consistency(judgments)
    people_with_profile = [a for a in content.annotators if a.id in set(model.annotators)]
    groups = {
        field: {
            group: of.alpha.to_dict() for group, of in agreement_by_group(judgments, people_with_profile, field).items()
        }
        for field in sorted({field for person in people_with_profile for field in person.profile})
    }
    return {
        "agreement": {"alpha": shared.alpha.to_dict(), "pairs": shared.items},
        "agreement_by_group": groups,
        "repeats": repeated.overall.to_dict(),
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
    weight = 1 / np.maximum(np.square(model.position_se), 1e-12)
    mean, se = float(np.sum(weight * model.position) / np.sum(weight)), float(np.sum(weight) ** -0.5)
    effects = {"position": _normal(mean, se, len(model.judgments)).to_dict()}
    if (shared := model.shared_length) is not None:
        effects["length"] = _normal(shared.estimate, shared.se, len(model.judgments)).to_dict()
    return effects


def _by_axis(judgments: Sequence[Judgment]) -> list[dict[str, Any]]:
    """Agreement on every axis that was compared, ranked or rated, and on every label."""
    compared = sorted({j.axis for j in judgments if isinstance(j, Comparison | Ranking)})
    rated = sorted({j.axis for j in judgments if isinstance(j, Rating)})
    labelled = sorted({j.name for j in judgments if isinstance(j, Label)})
    found = [("comparison", axis, agreement(judgments, axis=axis)) for axis in compared]
    found += [("rating", axis, agreement_on_ratings(judgments, axis)) for axis in rated]
    found += [("label", label, agreement_on_labels(judgments, label)) for label in labelled]
    return [
        {"kind": kind, "axis": axis, "alpha": of.alpha.to_dict(), "items": of.items, "judgments": of.judgments}
        for kind, axis, of in found
    ]


def _labels(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Per label, reliability by Dawid and Skene."""
    found = {}
    for name in sorted({j.name for j in judgments if isinstance(j, Label)}):
        result = aggregate(labels_from_judgments(judgments, name))
        people = zip(result.table.annotators, result.reliability, strict=True)
        found[name] = {person: interval.to_dict() for person, interval in people}
    return found


def _standings(content: Content, judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Where answers of several models were rated: each model's mean on every axis (clustered by task), and Elo overall."""
    rated = [j for j in judgments if isinstance(j, Rating)]
    policy = {j.id: content.episodes[j.episodes[0]].policy for j in rated}
    if len(set(policy.values())) < 2:
        return {}
    means: dict[str, dict[str, Any]] = {}
    for axis in sorted({j.axis for j in rated}):
        means[axis] = {}
        for name in sorted(set(policy.values())):
            own = [j for j in rated if j.axis == axis and policy[j.id] == name]
            means[axis][name] = mean_interval([j.value for j in own], [j.task for j in own]).to_dict()
    together: dict[tuple[str, str], list[float]] = defaultdict(list)  # raters of one task are no problems of their own
    for j in rated:
        if j.axis == "overall":
            together[j.task, policy[j.id]].append(j.value)
    try:
        ranked = elo(
            [task for task, _ in together],
            [name for _, name in together],
            [float(np.mean(values)) for values in together.values()],
        )
    except InputError:  # nobody rated two models on one task
        return {"means": means}
    return {"means": means, "elo": {name: ranked.of(name).to_dict() for name in ranked.policies}}


def _gold(items_by_task: Mapping[str, Item], judgments: Iterable[Judgment]) -> dict[str, Any]:
    results = [(j.task, gold_result(items_by_task[j.task], j)) for j in judgments if j.task in items_by_task]
    known = [(task, result) for task, result in results if result is not None]  # several people meet one task
    return rate([result for _, result in known], [task for task, _ in known]).to_dict()


def _normal(estimate: float, se: float, n: int) -> Interval:
    half = normal_quantile(0.95) * se
    return Interval(estimate, estimate - half, estimate + half, n)
