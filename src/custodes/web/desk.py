"""The quality desk's numbers, from the ledger: agreement, reliability, gold, alarms, each with its interval and count."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from custodes.feedback import agreement, agreement_by_group, fit_annotators, repeat_consistency
from custodes.feedback.annotator_model import comparisons_in
from custodes.feedback.items import gold_result
from custodes.feedback.labels import aggregate, labels_from_judgments
from custodes.feedback.poisoning import watch_annotators
from custodes.stats import wilson
from custodes.types import Annotator, Judgment, Label
from custodes.web.database import Database
from custodes.web.export import read_project


def quality_of(database: Database, name: str) -> dict[str, Any]:
    """Everything that the desk shows of a project. Raises MissingError for an unknown one."""
    content = read_project(database, name, with_gold=True)
    judgments = content.judgments
    by_person: dict[str, list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        by_person[judgment.annotator].append(judgment)
    found: dict[str, Any] = {
        "project": name,
        "judgments": dict(Counter(type(j).__name__.lower() for j in judgments)),
        "people": {
            person: {
                "judgments": len(own),
                "median_seconds": _median([j.seconds for j in own if j.seconds is not None]),
                "gold": _gold(content.items_by_task, own),
                "quarantined": person in content.quarantined,
            }
            for person, own in sorted(by_person.items())
        },
        "labels": _labels(judgments),
    }
    if any(comparisons_in(j) for j in judgments):
        found |= _comparisons(content, found["people"])
    return found


def _comparisons(content: Any, people: dict[str, Any]) -> dict[str, Any]:
    judgments = content.judgments
    model = fit_annotators(judgments, content.episodes.values())
    gold = {task for task, item in content.items_by_task.items() if item.gold}
    watched = watch_annotators(model, judgments, content.tasks.values(), gold)
    for name in model.annotators:
        e = model.of(name)
        people[name] |= {
            "reliability": {"estimate": e.reliability, "se": e.reliability_se},
            "position": {"estimate": e.position, "se": e.position_se},
            "length": {"estimate": e.length, "se": e.length_se},
        }
    for evaluation in watched.evaluations("watch"):
        people[evaluation.subject]["alarm"] = evaluation.metrics
    shared, repeated = agreement(judgments), repeat_consistency(judgments)
    groups = {
        field: {
            group: of.alpha.to_dict() for group, of in agreement_by_group(judgments, content.annotators, field).items()
        }
        for field in _fields(content.annotators)
    }
    return {
        "agreement": {"alpha": shared.alpha.to_dict(), "pairs": shared.items},
        "agreement_by_group": groups,
        "repeats": repeated.overall.to_dict(),
        "clusters": [list(cluster.annotators) for cluster in watched.clusters],
        "alarm_level": watched.level,
    }


def _labels(judgments: list[Judgment]) -> dict[str, Any]:
    """Per label, reliability by Dawid and Skene."""
    found = {}
    for name in sorted({j.name for j in judgments if isinstance(j, Label)}):
        result = aggregate(labels_from_judgments(judgments, name))
        people = zip(result.table.annotators, result.reliability, strict=True)
        found[name] = {person: interval.to_dict() for person, interval in people}
    return found


def _gold(items_by_task: dict[str, Any], judgments: list[Judgment]) -> dict[str, Any]:
    results = [gold_result(items_by_task[j.task], j) for j in judgments if j.task in items_by_task]
    known = [result for result in results if result is not None]
    return wilson(sum(known), len(known)).to_dict()


def _fields(annotators: list[Annotator]) -> list[str]:
    return sorted({field for annotator in annotators for field in annotator.profile})


def _median(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
