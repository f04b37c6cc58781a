"""From a file of judgments to courses: which outputs a reward gets, and what each kind of judgment teaches it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from custodes import registry
from custodes.feedback.collection import Feedback
from custodes.reward.model import OVERALL, RewardModel
from custodes.reward.objective import Course, Material, RewardObjective
from custodes.reward.objectives.corrections import Corrections
from custodes.reward.objectives.pairs import Pairs
from custodes.reward.reading import Reader
from custodes.stats import Interval
from custodes.types import InputError, PreferencePair

NO_OBJECTIVE = {"demonstration": "it is compared with nothing; give --against MODEL"}
"""Why judgments of a kind that no objective has do not teach."""


@dataclass(frozen=True, slots=True)
class Taught:
    """How many judgments of each kind a reward learned from, and how many it did not and why."""

    used: dict[str, int]
    unused: tuple[tuple[str, str, int], ...]
    """(kind, why, how many)."""

    def to_dict(self) -> dict[str, Any]:
        unused = [{"kind": kind, "why": why, "judgments": count} for kind, why, count in self.unused]
        return {"used": self.used, "unused": unused}

    def __str__(self) -> str:
        used = ", ".join(f"{count:,} {kind.replace('_', ' ')}s" for kind, count in self.used.items()) or "nothing"
        left = [f"Not used: {count:,} {kind.replace('_', ' ')}s: {why}." for kind, why, count in self.unused]
        return "\n".join([f"Learned from {used}.", *left])


def open_objectives(words: Sequence[str]) -> list[RewardObjective]:
    """The objectives that are named, each as NAME or NAME,OPTION=VALUE,...; all built-in ones where none is.

    Raises InputError for a name or an option that there is not, and for a value that is none.
    """
    opened = []
    for word in words or sorted(registry.objective.names(), key=lambda name: (name not in FIRST, name)):
        name, *given = word.split(",")
        plugin = registry.objective.find(name)
        options: dict[str, Any] = {}
        for one in given:
            option, _, value = one.partition("=")
            kinds: dict[str, Any] = {f.name: type(f.default) for f in fields(plugin)}
            if option not in kinds:
                raise InputError(registry.objective.lacks(name, option))
            truths = {"true": True, "false": False}
            try:
                options[option] = truths[value.lower()] if kinds[option] is bool else kinds[option](value)
            except (ValueError, KeyError):
                raise InputError(
                    f"objective {name}, option {option}: {value!r} is no {kinds[option].__name__}."
                ) from None
        opened.append(registry.objective.make(name, **options))
    return opened


SHOWN = 4
"""Answers whose marked passages stand in a report, for each mark."""

FIRST = ("pairs",)
"""Objectives whose lessons come before those of others."""


def with_outputs(
    feedback: Feedback, reader: Reader, objectives: Sequence[RewardObjective], asked: str, axis: str
) -> Material:
    """The judgments with the outputs that a reward gets from them.

    ``asked`` names outputs, separated by commas. Where it is "", the one axis is ``axis``, or all where nothing is about that one; and
    every mark that was made is an output. Raises InputError for an output that no judgment is about.
    """
    every = Material(feedback, reader)
    axes, marks = (
        Counter(name for one in objectives for name in getattr(one, what)(every)) for what in ("axes", "marks")
    )
    if not axes and not marks:
        held = ", ".join(f"{count:,} {kind}s" for kind, count in Counter(j.kind for j in feedback.judgments).items())
        hint = (
            " Demonstrations teach where they are compared with a policy's samples: --against MODEL."
            if "demonstration" in held
            else ""
        )
        raise InputError(f"nothing here teaches a reward: {held or 'no judgment'}.{hint}")
    names = [name.strip() for name in asked.split(",") if name.strip()]
    for name in names:
        if name not in axes and name not in marks:
            raise InputError(f"no judgment is about {name!r}; there are judgments about {', '.join([*axes, *marks])}.")
    if len(set(names)) < len(names):
        raise InputError(f"--axes {asked} names an output twice; name each once.")
    if names:
        chosen = [n for n in names if n in axes], [n for n in names if n in marks]
    else:
        chosen = [axis] if axis in axes else list(axes), list(marks)
    return replace(every, axes=tuple(chosen[0]), marks=tuple(chosen[1]))


def courses_of(material: Material, objectives: Sequence[RewardObjective], members: int) -> tuple[list[Course], Taught]:
    """The lessons of every objective that has some, and the account of all judgments. Raises InputError where there is no lesson."""
    courses = [Course(one, one.lessons(material, members)) for one in objectives]
    kinds = {one.judgment.kind for one in objectives}
    for judgment in material.feedback.judgments:
        if judgment.kind not in kinds:
            material.passes(judgment, NO_OBJECTIVE.get(judgment.kind, "a reward learns nothing from this kind"))
    unused = sorted((kind, why, count) for (kind, why), count in material.unused.items())
    taught = Taught(dict(material.used), tuple(unused))
    courses = [course for course in courses if course.lessons]
    if not courses:
        raise InputError(f"no judgment teaches a reward. {' '.join(str(taught).splitlines()[1:])}")
    return courses, taught


def measures_of(model: RewardModel, material: Material, objectives: Sequence[RewardObjective]) -> dict[str, Interval]:
    """How well the reward says what these judgments say, by objective; they are not to be those that it learned from."""
    return {name: found for one in objectives for name, found in one.measures(model, material).items()}


def marked_texts(model: RewardModel, material: Material, objectives: Sequence[RewardObjective]) -> list[dict[str, Any]]:
    """Some answers, passage by passage: what people marked, and how probable the reward finds it that the passage is wrong."""
    shown = []
    for mark in model.marks:
        one = next((one for one in objectives if registry.objective.name_of(type(one)) == mark.partition("/")[0]), None)
        marked = {} if one is None else one.marked(material, mark)
        for id, wrong in list(marked.items())[:SHOWN]:
            episode, objective = material.feedback.episodes[id], one
            assert objective is not None
            ends = objective.ends(episode.completion)
            (right,) = model.mark_probabilities([episode.messages], mark)
            chances = -objective.token_reward(right)
            texts = [episode.completion[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
            rows = zip(texts, chances.tolist(), wrong, strict=True)
            passages = [{"text": text, "wrong": round(p, 3), "marked": was} for text, p, was in rows]
            shown.append({"mark": mark, "passages": passages})
    return shown


def value_pairs(material: Material, axis: str = "") -> list[PreferencePair]:
    """The comparisons and corrections that say how probable a reward's value makes it that one answer is better.

    They are those on ``axis``; without: those on the axis that the value is about, or on any where it is about several.
    """
    axis = axis or (OVERALL if OVERALL in material.axes else material.axes[0] if len(material.axes) == 1 else "")
    made = [*Pairs().made(material), *Corrections().made(material)]
    return [
        pair for judgment, on, own in made if on == axis or not axis or judgment.kind == "correction" for pair in own
    ]
