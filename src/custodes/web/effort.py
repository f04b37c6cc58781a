"""What a project's judgments cost and what they reach: throughput, time, money, coverage, accuracy against budget."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy
from sqlalchemy import Connection, select

from custodes.feedback.items import Item, gold_result
from custodes.feedback.project import Project
from custodes.stats import Interval, mean_interval, rate
from custodes.types import Judgment
from custodes.web.projects import load_items
from custodes.web.schema import assignments, items

HOUR, DAY = 3600.0, 86_400.0
LONG = 3 * DAY
"""Seconds of work beyond which throughput is shown by days, not by hours."""


def effort_of(connection: Connection, project: Project) -> dict[str, Any]:
    """Items handed in, people's time, and money where the project says what an hour is paid.

    ``seconds`` is the mean per item with an interval over people (one person's items are not independent), ``rhythm``
    how many were handed in in each hour or day.
    """
    here = (assignments.c.project == project.name, assignments.c.state == "done")
    columns = (assignments.c.account, assignments.c.purpose, assignments.c.ended, assignments.c.seconds)
    rows = connection.execute(select(*columns).where(*here)).all()
    seconds = np.array([row.seconds or 0.0 for row in rows], dtype=float)
    whose: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        whose[row.account].append(row.seconds or 0.0)
    mean = mean_interval(seconds, [row.account for row in rows])
    paid = None if project.pay_per_hour is None else project.pay_per_hour / HOUR
    hours = float(seconds.sum()) / HOUR
    return {
        "items": len(rows),
        "by_purpose": dict(Counter(row.purpose for row in rows)),
        "people": len(whose),
        "hours": hours,
        "seconds": mean.to_dict() | {"median": float(np.median(seconds)) if len(rows) else None},
        "per_hour": _turned(mean).to_dict(),
        "currency": project.currency,
        "cost": None if paid is None else _scaled(mean, paid).to_dict(),
        "cost_in_all": None if paid is None else hours * HOUR * paid,
        "of_each": {
            name: {"items": len(own), "hours": sum(own) / HOUR, "seconds": mean_interval(own).to_dict()}
            for name, own in sorted(whose.items())
        },
        "rhythm": _rhythm([row.ended for row in rows if row.ended is not None]),
    }


def coverage_of(connection: Connection, project: Project) -> dict[str, Any]:
    """How many items and prompts have been judged, and by how many people; also by tag. Gold items are left out."""
    here = (items.c.project == project.name, items.c.gold == "")
    done = dict(connection.execute(select(items.c.id, items.c.done).where(*here)).tuples().all())
    contents = [item for item in load_items(connection, project.name) if item.id in done]
    overlap = project.assignment.overlap

    def of(some: Sequence[Item]) -> dict[str, int]:
        counts = [done[item.id] for item in some]
        return {
            "items": len(some),
            "begun": sum(count > 0 for count in counts),
            "complete": sum(count >= overlap for count in counts),
            "prompts": len({item.task.id for item in some}),
            "prompts_begun": len({item.task.id for item in some if done[item.id]}),
        }

    tags = sorted({tag for item in contents for tag in item.tags})
    return of(contents) | {
        "overlap": overlap,
        "by_judgments": {str(n): count for n, count in sorted(Counter(done.values()).items())},
        "by_tag": {tag: of([item for item in contents if tag in item.tags]) for tag in tags},
    }


def accuracy_by_budget(gold: Mapping[str, Item], judgments: Sequence[Judgment]) -> list[dict[str, Any]]:
    """Accuracy of the majority of k judgments of a gold item, for k = 1, 2, ...: what asking more people brings.

    For an item with m judgments of which c are right, the expectation over all ways to draw k of them is exact (draws
    even are half). Only items with enough judgments for every k that is listed count, so that all k rest on the same
    items; k goes as far as half of the items reach. Wilson's interval is on the safe side here: an expectation varies
    less between items than a single draw.
    """
    results: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for judgment in judgments:
        item = gold.get(judgment.task)
        right = gold_result(item, judgment) if item is not None else None
        if right is not None:
            about = getattr(judgment, "axis", "") or getattr(judgment, "name", "")  # gold knows one answer to each
            results[judgment.task, f"{judgment.kind} {about}"].append(right)
    sizes = sorted((len(given) for given in results.values()), reverse=True)
    if not sizes:
        return []
    most = sizes[(len(sizes) - 1) // 2]
    enough = [given for given in results.values() if len(given) >= most]
    return [
        {"judgments": k} | rate([_majority(sum(given), len(given), k) for given in enough]).to_dict()
        for k in range(1, most + 1)
    ]


def _majority(right: int, judged: int, drawn: int) -> float:
    """Probability that the majority of ``drawn`` judgments of ``judged``, of which ``right`` are right, is right."""
    found = scipy.stats.hypergeom(judged, right, drawn)
    half = float(found.pmf(drawn / 2)) if drawn % 2 == 0 else 0.0
    return float(found.sf(drawn // 2)) + half / 2


def _rhythm(ended: Sequence[float]) -> dict[str, Any]:
    """Items by the hour, or by the day where the work took long; hours without any are 0."""
    if not ended:
        return {"unit": "hour", "counts": []}
    unit = HOUR if max(ended) - min(ended) <= LONG else DAY
    counts = Counter(int(at // unit) for at in ended)
    span = range(min(counts), max(counts) + 1)
    return {
        "unit": "hour" if unit == HOUR else "day",
        "counts": [{"at": n * unit, "items": counts.get(n, 0)} for n in span],
    }


def _turned(mean: Interval) -> Interval:
    """Items an hour from seconds an item."""

    def per_hour(seconds: float) -> float:
        return HOUR / seconds if seconds > 0 else float("inf")

    return Interval(per_hour(mean.estimate), per_hour(mean.high), per_hour(mean.low), mean.n)


def _scaled(mean: Interval, factor: float) -> Interval:
    return Interval(mean.estimate * factor, mean.low * factor, mean.high * factor, mean.n)
