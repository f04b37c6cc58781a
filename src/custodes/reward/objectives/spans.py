"""What is wrong where: for each sentence and category of error, whether a marked passage touches it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from custodes.feedback.kinds.span import SpanMark
from custodes.ranges import ranged
from custodes.registry import objective
from custodes.reward.model import RewardModel
from custodes.reward.objective import Floats, Lesson, Material
from custodes.reward.objectives.labels import Logistic
from custodes.stats import Interval, auc
from custodes.types import InputError

_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[^\s](?=\s*\n)|[^\s](?=\s*\Z)")


def _sentence_ends(text: str) -> list[int]:
    """(sentences,) where each sentence or line of a text ends, in characters."""
    return sorted({found.end() for found in _END.finditer(text)}) or [max(1, len(text))]


@objective
@dataclass(kw_only=True)
@ranged
class Spans(Logistic):
    """Marked passages. The output "spans/CATEGORY" is the probability that a sentence holds an error of that category.

    An answer in which somebody marked something is taken to be marked as a whole: its other sentences hold no such error.
    """

    judgment = SpanMark
    source = "arXiv 2306.01693, section 3"

    @staticmethod
    def ends(text: str) -> list[int]:
        return _sentence_ends(text)

    @staticmethod
    def token_reward(probability: Floats) -> Floats:
        """Minus the probability of an error, as a span's last token receives it."""
        return -probability

    def marks(self, material: Material) -> list[str]:
        return [f"spans/{mark.category}" for mark in material.judgments(SpanMark)]

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        of_answer: dict[tuple[str, str], list[SpanMark]] = defaultdict(list)
        for mark in material.judgments(SpanMark):
            length = len(material.episode(mark).completion)
            if mark.end > length:
                raise InputError(
                    f"{material.where(mark)}: a span ends at character {mark.end:,} of an answer of {length:,}; "
                    "the mark is of another text."
                )
            if material.teaches(mark, f"spans/{mark.category}") is not None:
                of_answer[mark.annotator, mark.episodes[0]].append(mark)
        taught = []
        for own in of_answer.values():
            text = material.episode(own[0]).completion
            sequence, places = material.placed(own[0], self.ends)
            ends = self.ends(text)
            for begin, end, place in zip([0, *ends], ends, places, strict=False):
                for output, name in enumerate(material.outputs):
                    if not name.startswith("spans/"):
                        continue
                    wrong = any(f"spans/{m.category}" == name and m.start < end and m.end > begin for m in own)
                    weight = np.eye(len(material.outputs))[output]
                    prompt, where = material.episode(own[0]).task.messages, material.where(own[0])
                    taught.append(Lesson(prompt, ((sequence, place),), (float(wrong),), weight, where))
        return self.begin(taught, len(material.outputs), members)

    def measures(self, model: RewardModel, material: Material) -> dict[str, Interval]:
        """Of each category, how much likelier an error is made of a sentence that was marked than of one that was not (area under the curve)."""
        measured = {}
        of_answer: dict[str, list[SpanMark]] = defaultdict(list)
        for mark in material.judgments(SpanMark):
            of_answer[mark.episodes[0]].append(mark)
        episodes = [material.episode(own[0]) for own in of_answer.values()]
        for name in (name for name in model.marks if name.startswith("spans/")):
            wrong: list[bool] = []
            stated: list[float] = []
            answers: list[str] = []
            chances = model.mark_probabilities([episode.messages for episode in episodes], name) if episodes else []
            for episode, own, chance in zip(episodes, of_answer.values(), chances, strict=True):
                ends = self.ends(episode.completion)
                for begin, end, p in zip([0, *ends], ends, chance.tolist(), strict=False):
                    wrong.append(any(f"spans/{m.category}" == name and m.start < end and m.end > begin for m in own))
                    stated.append(p)
                    answers.append(episode.id)
            if any(wrong) and not all(wrong):
                name = name.removeprefix("spans/")
                measured[f"tells sentences with {name} from others"] = auc(stated, wrong, answers)
        return measured
