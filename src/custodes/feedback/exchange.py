"""Between judgments and preference data: what people said becomes training pairs, and files become judgments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from custodes.feedback.annotator_model import AnnotatorModel, comparisons_in
from custodes.feedback.formats import Example, Messages, PreferencePair
from custodes.types import (
    Annotator,
    Comparison,
    Correction,
    Demonstration,
    Episode,
    InputError,
    Judgment,
    Label,
    Message,
    Task,
)

LABEL = "acceptable"
"""Name of the label that a true/false ``label`` column becomes; its values are "yes" and "no"."""


def pairs_from_judgments(
    judgments: Iterable[Judgment],
    episodes: Iterable[Episode],
    annotator_model: AnnotatorModel | None = None,
    axis: str = "overall",
) -> list[PreferencePair]:
    """Training pairs for a reward from the comparisons and rankings on ``axis``.

    Without a model everybody is believed equally: one pair per judgment, label 1 (a tie 0.5), weight 1. With a model
    fitted to these judgments: one pair per two episodes; the label is the probability that ``chosen`` is truly better
    given everybody's answers, reliabilities and biases, the weight the share of the prior variance that those
    answers resolved, so that a pair of which nothing is known weighs nothing while a well-founded tie counts.
    Two episodes with the same completion teach no preference and are left out. Raises InputError for an unknown episode.
    """
    known = {episode.id: episode for episode in episodes}
    pairs: dict[object, PreferencePair] = {}
    if annotator_model is None:
        for n, row in enumerate(row for judgment in judgments for row in comparisons_in(judgment, axis)):
            label = 0.5 + 0.5 * float(np.sign(row.strength))
            pairs[n] = _pair(known, row.first, row.second, label, 1.0, row.annotator)
    else:
        wanted = {judgment.id for judgment in judgments}
        data, names = annotator_model.comparisons, annotator_model.episodes
        for n, judgment_id in enumerate(annotator_model.judgments):
            first, second = names[data.first[n]], names[data.second[n]]
            if judgment_id in wanted and (second, first) not in pairs and (first, second) not in pairs:
                label, weight = float(annotator_model.better[n]), float(annotator_model.resolved[n])
                pairs[first, second] = _pair(known, first, second, label, weight, "")
    return [pair for pair in pairs.values() if pair.chosen != pair.rejected]


def pairs_from_corrections(
    judgments: Iterable[Judgment], episodes: Iterable[Episode], axis: str = "overall"
) -> list[PreferencePair]:
    """What people edited teaches too: edited is better than as it was, and than what its editor found worse than that.

    Edited > chosen > rejected: besides the comparison itself there is a pair for each of the other two. All have label 1
    and weight 1. Corrections that changed nothing are left out. Raises InputError for an unknown episode.
    """
    judgments, known = list(judgments), {episode.id: episode for episode in episodes}
    worse: dict[tuple[str, str], list[str]] = {}
    for row in (row for judgment in judgments for row in comparisons_in(judgment, axis)):
        if row.strength:
            better, other = (row.first, row.second) if row.strength > 0 else (row.second, row.first)
            worse.setdefault((row.annotator, better), []).append(other)
    pairs = []
    for judgment in judgments:
        if not isinstance(judgment, Correction):
            continue
        original = _find(known, judgment.episodes[0])
        if judgment.text == original.completion:
            continue
        edited = (*_completion(original)[:-1], Message("assistant", judgment.text))
        below = worse.get((judgment.annotator, original.id), [])
        for one in (original, *(_find(known, id_) for id_ in below)):
            pairs.append(PreferencePair(original.task.messages, edited, _completion(one), annotator=judgment.annotator))
    return pairs


def examples_from_judgments(
    judgments: Iterable[Judgment], tasks: Iterable[Task], episodes: Iterable[Episode] = ()
) -> list[Example]:
    """Demonstrations and corrections as examples to imitate, labels named ``LABEL`` as labelled completions.

    Judgments of other kinds hold no example. Raises InputError for an unknown task or episode.
    """
    tasks_by_id, known = {task.id: task for task in tasks}, {episode.id: episode for episode in episodes}
    examples = []
    for judgment in judgments:
        if isinstance(judgment, Demonstration | Correction):
            if judgment.task not in tasks_by_id:
                raise InputError(f"judgment {judgment.id} is on task {judgment.task}, which is not among the tasks.")
            answer = (Message("assistant", judgment.text),)
            examples.append(Example(tasks_by_id[judgment.task].messages, answer, annotator=judgment.annotator))
        elif isinstance(judgment, Label) and judgment.name == LABEL:
            episode = _find(known, judgment.episodes[0])
            examples.append(
                Example(
                    episode.task.messages,
                    _completion(episode),
                    label=judgment.value == "yes",
                    annotator=judgment.annotator,
                )
            )
    return examples


# ---------------------------------------------------------------- files become judgments


@dataclass
class Feedback:
    """What a file holds, as the nouns: ready for the annotator model and the ledger."""

    tasks: dict[str, Task] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)
    judgments: list[Judgment] = field(default_factory=list)
    annotators: dict[str, Annotator] = field(default_factory=dict)

    def _task(self, prompt: Messages) -> Task:
        id_ = f"task-{_hash(prompt)}"
        return self.tasks.setdefault(id_, Task(id_, prompt))

    def _episode(self, task: Task, completion: Messages) -> Episode:
        messages = task.messages + completion
        id_ = f"episode-{_hash(messages)}-{len(task.messages)}"
        nothing = np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)
        return self.episodes.setdefault(id_, Episode(id_, task, messages, *nothing, "stop", "imported"))

    def _annotator(self, name: str) -> str:
        name = name or "unknown"
        self.annotators.setdefault(name, Annotator(name, "human", {"imported": True}))
        return name


def feedback_from_pairs(pairs: Iterable[PreferencePair]) -> Feedback:
    """One comparison per pair, of strength 1; a label of 0.5 is a tie, a label below it prefers ``rejected``.

    The order in which the two were shown is not in such files. It is drawn by a hash of the two, so that "chosen" does
    not look like "shown first"; ``shown`` stays empty, and a position bias fitted to such data means nothing.
    """
    feedback = Feedback()
    for number, pair in enumerate(pairs, 1):
        task = feedback._task(pair.prompt)
        chosen, rejected = (feedback._episode(task, completion).id for completion in (pair.chosen, pair.rejected))
        strength = int(np.sign(pair.label - 0.5))
        turned = int(hashlib.sha256("".join(sorted((chosen, rejected))).encode()).hexdigest(), 16) % 2
        in_order = (chosen, rejected) if (chosen < rejected) != bool(turned) else (rejected, chosen)
        feedback.judgments.append(
            Comparison(
                id=f"imported-{pair.line or number}",
                annotator=feedback._annotator(pair.annotator),
                task=task.id,
                episodes=in_order,
                verdict="prefer" if strength else "tie",
                strength=strength if in_order[0] == chosen else -strength,
            )
        )
    return feedback


def feedback_from_examples(examples: Iterable[Example]) -> Feedback:
    """A demonstration per unlabelled example, and a label named ``LABEL`` per labelled one.

    A demonstration is one text: of an example of several turns, the last answer is taken and the turns before it
    belong to the task.
    """
    feedback = Feedback()
    for number, example in enumerate(examples, 1):
        id_, annotator = f"imported-{example.line or number}", feedback._annotator(example.annotator)
        judgment: Judgment
        if example.label is None:
            task = feedback._task(example.prompt + example.completion[:-1])
            text = example.completion[-1].content
            judgment = Demonstration(id=id_, annotator=annotator, task=task.id, episodes=(), text=text)
        else:
            task = feedback._task(example.prompt)
            shown = (feedback._episode(task, example.completion).id,)
            value = "yes" if example.label else "no"
            judgment = Label(id=id_, annotator=annotator, task=task.id, episodes=shown, name=LABEL, value=value)
        feedback.judgments.append(judgment)
    return feedback


def _pair(
    known: Mapping[str, Episode], first: str, second: str, label: float, weight: float, annotator: str
) -> PreferencePair:
    """The pair with the likelier better one as ``chosen``; ``label`` is the probability for the first."""
    one, other = _find(known, first), _find(known, second)
    if label < 0.5:
        one, other, label = other, one, 1 - label
    return PreferencePair(
        one.task.messages, _completion(one), _completion(other), label=label, weight=weight, annotator=annotator
    )


def _find(known: Mapping[str, Episode], id_: str) -> Episode:
    if id_ not in known:
        raise InputError(f"judged episode {id_} is not among the {len(known):,} episodes given.")
    return known[id_]


def _completion(episode: Episode) -> Messages:
    return episode.messages[len(episode.task.messages) :]


def _hash(messages: Messages) -> str:
    digest = hashlib.sha256()
    for message in messages:
        digest.update(f"{message.role}\0{len(message.content)}\0{message.content}\0".encode())
    return digest.hexdigest()[:24]
