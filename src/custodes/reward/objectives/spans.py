"""What is wrong where: for each sentence and category of error, whether a marked passage touches it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.span import SpanMark
from custodes.ranges import ranged
from custodes.registry import objective
from custodes.reward.model import RewardModel
from custodes.reward.objective import Floats, Lesson, Material
from custodes.reward.objectives.labels import Logistic
from custodes.stats import Interval, auc
from custodes.types import InputError

_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[^\s](?=\s*\n)|[^\s](?=\s*\Z)")


CORRECTED = "corrected"


def _changed(text: str, edited: str) -> list[tuple[int, int]]:
    """(start, end) of the words of a text that an edit replaced or took out; where it only put something in, of the word before."""
    words = list(re.finditer(r"\S+", text))
    matcher = SequenceMatcher(None, [word[0] for word in words], edited.split(), autojunk=False)
    spans = []
    for what, first, end, _, _ in matcher.get_opcodes():
        if what != "equal" and words:
            first, end = (first, end) if end > first else (max(first - 1, 0), max(first, 1))
            spans.append((words[first].start(), words[end - 1].end()))
    return spans


def _sentence_ends(text: str) -> list[int]:
    """(sentences,) where each sentence or line of a text ends, in characters."""
    return sorted({found.end() for found in _END.finditer(text)}) or [max(1, len(text))]


@objective
@dataclass(kw_only=True)
@ranged
class Spans(Logistic):
    """Marked passages. The output "spans/CATEGORY" is the probability that a sentence holds an error of that category.

    An answer in which somebody marked something is taken to be marked as a whole: its other sentences hold no such error.
    With ``corrections``, what somebody edited counts as marked, with the category "corrected".
    """

    judgment = SpanMark
    source = "arXiv 2306.01693, section 3"

    corrections: bool = False
    """Take the passages that corrections changed as marks too."""

    @staticmethod
    def ends(text: str) -> list[int]:
        return _sentence_ends(text)

    @staticmethod
    def token_reward(probability: Floats) -> Floats:
        """Minus the probability of an error, as a span's last token receives it."""
        return -probability

    def marks(self, material: Material) -> list[str]:
        return [f"spans/{mark.category}" for mark in self.all_marks(material)]

    def all_marks(self, material: Material) -> list[SpanMark]:
        """The marks that people made, and those that corrections amount to."""
        own = material.judgments(SpanMark)
        for correction in material.judgments(Correction) if self.corrections else ():
            about: dict[str, Any] = {
                "annotator": correction.annotator,
                "task": correction.task,
                "episodes": correction.episodes,
            }
            for n, (start, end) in enumerate(_changed(material.episode(correction).completion, correction.text)):
                own.append(SpanMark(id=f"{correction.id}/{n}", start=start, end=end, category=CORRECTED, **about))
        return own

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        of_answer: dict[tuple[str, str], list[SpanMark]] = defaultdict(list)
        own_ids = {mark.id for mark in material.judgments(SpanMark)}
        for mark in self.all_marks(material):
            length = len(material.episode(mark).completion)
            if mark.end > length:
                raise InputError(
                    f"{material.where(mark)}: a span ends at character {mark.end:,} of an answer of {length:,}; "
                    "the mark is of another text."
                )
            name, judged = f"spans/{mark.category}", mark.id in own_ids
            if material.teaches(mark, name) is not None if judged else name in material.outputs:
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
        return self.begin(taught, material, members)

    def measures(self, model: RewardModel, material: Material) -> dict[str, Interval]:
        """Of each category, how much likelier an error is made of a sentence that was marked than of one that was not (area under the curve)."""
        measured = {}
        for name in (name for name in model.marks if name.startswith("spans/")):
            wrong, stated, answers = [], [], []
            marked = self.marked(material, name)
            conversations = [material.feedback.episodes[id].messages for id in marked]
            for (id, own), chances in zip(marked.items(), model.mark_probabilities(conversations, name), strict=True):
                wrong += [bool(one) for one in own]
                stated += chances.tolist()
                answers += [id] * len(own)
            if any(wrong) and not all(wrong):
                name = name.removeprefix("spans/")
                measured[f"tells sentences with {name} from others"] = auc(stated, wrong, answers)
        return measured

    def marked(self, material: Material, mark: str) -> dict[str, list[bool | None]]:
        """Of each answer, whether each sentence was marked so."""
        of_answer: dict[str, list[SpanMark]] = defaultdict(list)
        for one in self.all_marks(material):
            of_answer[one.episodes[0]].append(one)
        marked: dict[str, list[bool | None]] = {}
        for id, own in of_answer.items():
            ends = self.ends(material.feedback.episodes[id].completion)
            own = [one for one in own if f"spans/{one.category}" == mark]
            marked[id] = [
                any(one.start < end and one.end > begin for one in own)
                for begin, end in zip([0, *ends], ends, strict=False)
            ]
        return marked
