"""Who gets which item next: a pure rule over what is open, so that it can be tested and replayed.

The store finds out what is open for a person and claims what the rule chose, in one transaction; here nothing is
remembered and nothing waits. All randomness is a function of (seed, person, how many items they have had), so a
restarted server goes on as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from custodes.feedback.project import Assignment, Project, Quota, Stopping

Purpose = Literal["normal", "gold", "repeat"]
COMPLETE = "every item has its overlap"
"""Why a project ends that has no other rule; more items open it again."""


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An item that a person may get: not seen by them, not at its overlap, their tags cover its tags."""

    id: str
    done: int = 0
    """Annotators who have judged it."""
    leased: int = 0
    """Annotators who have it before them."""
    information: float = 0.0
    """Nats that another answer is expected to bring; used under active selection."""


@dataclass(frozen=True, slots=True)
class Assignee:
    """What the rule needs to know of an annotator."""

    id: str
    given: int = 0
    """Items they have had, gold and repeated ones included."""
    gold: int = 0
    repeats: int = 0
    judged: Sequence[str] = ()
    """Items that can be shown to them again: judged, normal, long enough ago and not yet repeated."""
    profile: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    item: str
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class AnnotationProgress:
    """How far a project is."""

    judgments: int = 0
    """Normal ones: neither gold nor repeated."""
    wanted: int = 0
    """Normal judgments that give every item its overlap."""
    hours: float = 0.0
    uncertainty: float | None = None
    groups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Per quota field and group, the normal judgments of its members."""


def choose(
    rules: Assignment, person: Assignee, open_items: Sequence[OpenItem], gold_items: Sequence[str], seed: int = 0
) -> Choice | None:
    """The next item for ``person``; None when there is nothing for them.

    Gold and repeated items come at random, so that nobody can count them out, at ``gold_share`` and ``repeat_share``
    of what the person is given. Among open items those come first that somebody has begun and nobody has before them
    now, so that items are finished one after the other; under active selection, the most informative.
    """
    rng = draw_items(seed, person.id, person.given)
    if rules.most_per_annotator is not None and person.given >= rules.most_per_annotator:
        return None
    turn = rng.random()
    if gold_items and (turn < rules.gold_share or not (open_items or person.judged)):
        return Choice(str(rng.choice(sorted(gold_items))), "gold")
    if person.judged and rules.gold_share <= turn < rules.gold_share + rules.repeat_share:
        return Choice(str(rng.choice(sorted(person.judged))), "repeat")
    if not open_items:
        return None
    if rules.selection == "active":
        # a lease is an answer on its way: half of what the item can teach is taken
        worth = [item.information * 0.5**item.leased for item in open_items]
        best = int(np.argmax(np.asarray(worth) + 1e-9 * rng.random(len(worth))))
        return Choice(open_items[best].id, "normal")
    drawn = lambda id: hashlib.sha256(f"{seed}\0{id}".encode()).digest()  # noqa: E731
    begun = min(open_items, key=lambda item: (item.leased, -item.done, drawn(item.id)))
    return Choice(begun.id, "normal")


def shown_order(seed: int, person: str, item: str, turn: int, answers: int) -> tuple[int, ...]:
    """In which order the answers are shown to this person this time; recorded with the judgment."""
    return tuple(draw_items(seed, f"{person}\0{item}", turn).permutation(answers).tolist())


def over_quota(quotas: Sequence[Quota], profile: Mapping[str, str], progress: AnnotationProgress) -> str | None:
    """The first quota that leaves no more judgments for people like this, as "field: group"; None when there is room.

    A group that a quota does not name has no share. Groups are filled up to their share of the wanted judgments.
    """
    for quota in quotas:
        group = str(profile.get(quota.field, ""))
        room = math.ceil(quota.shares.get(group, 0.0) * progress.wanted)
        if progress.groups.get(quota.field, {}).get(group, 0) >= room:
            return f"{quota.field}: {group or 'not given'}"
    return None


def finished(project: Project, progress: AnnotationProgress) -> str | None:
    """Why the project ends now; None while it goes on."""
    rule: Stopping = project.stopping
    if rule.judgments is not None and progress.judgments >= rule.judgments:
        return f"{progress.judgments:,} judgments were given"
    if rule.hours is not None and progress.hours >= rule.hours:
        return f"annotators have worked {progress.hours:.1f} hours"
    if rule.uncertainty is not None and progress.uncertainty is not None and progress.uncertainty <= rule.uncertainty:
        return f"the fitted preferences are wrong with probability {progress.uncertainty:.3f} on average"
    if progress.wanted and progress.judgments >= progress.wanted:
        return COMPLETE
    return None


def draw_items(seed: int, person: str, turn: int) -> np.random.Generator:
    """A generator that depends on nothing but these."""
    digest = hashlib.sha256(f"{seed}\0{person}\0{turn}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype=np.uint64)))
