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
from custodes.web.schema import assignments, work_items

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
    by_person: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_person[row.account].append(row.seconds or 0.0)
    mean = mean_interval(seconds, [row.account for row in rows])
    pay = None if project.pay_per_hour is None else project.pay_per_hour / HOUR
    hours = float(seconds.sum()) / HOUR
    cost = None if pay is None else Interval(mean.estimate * pay, mean.low * pay, mean.high * pay, mean.n)
    fastest, usual, slowest = (HOUR / s if s > 0 else float("inf") for s in (mean.low, mean.estimate, mean.high))
    return {
        "items": len(rows),
        "by_purpose": dict(Counter(row.purpose for row in rows)),
        "people": len(by_person),
        "hours": hours,
        "seconds": mean.to_dict() | {"median": float(np.median(seconds)) if len(rows) else None},
        "per_hour": Interval(usual, slowest, fastest, mean.n).to_dict(),
        "currency": project.currency,
        "cost": cost and cost.to_dict(),
        "cost_in_all": None if pay is None else hours * HOUR * pay,
        "of_each": {
            name: {"items": len(own), "hours": sum(own) / HOUR, "seconds": mean_interval(own).to_dict()}
            for name, own in sorted(by_person.items())
        },
        "rhythm": _rhythm([row.ended for row in rows if row.ended is not None]),
    }


def coverage_of(connection: Connection, project: Project) -> dict[str, Any]:
    """How many items and prompts have been judged, and by how many people; also by tag. Gold items are left out."""
    here = (work_items.c.project == project.name, work_items.c.gold == "")
    done = dict(connection.execute(select(work_items.c.id, work_items.c.done).where(*here)).tuples().all())
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

    For an item with m judgments of which c are right, the expectation over all ways to draw k of them is exact; an even
    draw is half right. Only items with enough judgments for every k that is listed count, so that all k rest on the same
    items. k goes as far as half of the items reach. Wilson's interval is on the safe side here: an expectation varies
    less between items than a single draw.
    """
    results: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for judgment in judgments:
        item = gold.get(judgment.task)
        right = gold_result(item, judgment) if item is not None else None
        if right is not None:
            about = getattr(judgment, "axis", "") or getattr(judgment, "name", "")  # gold knows one answer to each
            results[judgment.task, f"{judgment.kind} {about}"].append(right)
    sizes = sorted(map(len, results.values()), reverse=True)
    if not sizes:
        return []
    most = sizes[(len(sizes) - 1) // 2]
    enough = [right for right in results.values() if len(right) >= most]
    return [
        {"judgments": k} | rate([_majority(sum(right), len(right), k) for right in enough]).to_dict()
        for k in range(1, most + 1)
    ]


def _majority(right: int, judged: int, drawn: int) -> float:
    """Probability that the majority of ``drawn`` judgments of ``judged``, of which ``right`` are right, is right."""
    of_drawn = scipy.stats.hypergeom(judged, right, drawn)
    even = float(of_drawn.pmf(drawn / 2)) if drawn % 2 == 0 else 0.0
    return float(of_drawn.sf(drawn // 2)) + even / 2


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
