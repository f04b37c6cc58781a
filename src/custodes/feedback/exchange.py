"""Between judgments and preference data: what people said becomes training pairs, and files become judgments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.feedback.collection import UNNAMED, Feedback, Origin, completion_of, judged_episode
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.rating import Rating
from custodes.types import Compared, Episode, Example, Judgment, PreferencePair, Task


def pairs_from_judgments(
    judgments: Iterable[Judgment],
    episodes: Iterable[Episode],
    annotator_model: AnnotatorModel | None = None,
    axis: str = "overall",
    origins: Mapping[str, Origin] | None = None,
    weightless: bool = False,
) -> list[PreferencePair]:
    """Training pairs for a reward from the comparisons and rankings on ``axis``.

    Without a model everybody is believed equally. There is one pair per judgment, with label 1 (a tie 0.5) or the
    probability that the judgment states, and with the weight and margin that it states.

    With a model fitted to these judgments there is one pair per two episodes. The label is the probability that ``chosen``
    is truly better, given everybody's answers, reliabilities and biases. The weight is the share of the prior variance that
    those answers resolved: a pair of which nothing is known weighs nothing, while a well-founded tie counts. See
    :func:`_believed` for what judgments state themselves.

    Pairs of two equal completions teach nothing and are left out, as are judgments of weight 0, but where ``weightless``
    asks for them. ``origins`` say where in a file a judgment stands. Raises InputError for an unknown episode.
    """
    known = {episode.id: episode for episode in episodes}
    if annotator_model is not None:
        pairs = _believed(judgments, known, annotator_model)
    else:
        pairs = [
            _pair(known, row, (origins or {}).get(judgment.id, Origin()))
            for judgment in judgments
            for row in judgment.comparisons(axis, weightless)
        ]
    return [pair for pair in pairs if pair.chosen != pair.rejected]


def _believed(
    judgments: Iterable[Judgment], known: Mapping[str, Episode], model: AnnotatorModel
) -> list[PreferencePair]:
    """One pair per two episodes, labelled by the annotator model and by what the judgments state themselves.

    A stated probability p is read as the answer itself with probability |2p - 1| and as a coin's otherwise, so the
    model's label moves towards 1/2 by that factor. Where nobody is named there is nobody to believe: p stands.
    """
    compared = [row for judgment in judgments for row in judgment.comparisons(axis=None)]
    wanted = {(row.judgment, row.first, row.second): row for row in compared}
    data, names = model.comparisons, model.episodes
    told: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}  # weight, label, margin, resolved
    for n, judgment_id in enumerate(model.judgments):
        first, second = names[data.first[n]], names[data.second[n]]
        if (judgment_id, first, second) not in wanted:
            continue
        row, label = wanted[judgment_id, first, second], float(model.better[n])
        if row.probability is not None:
            sure = abs(2 * row.probability - 1)
            label = row.probability if row.annotator == UNNAMED else 0.5 + (label - 0.5) * sure
        if (second, first) in told:
            first, second, label = second, first, 1 - label
        told.setdefault((first, second), []).append((row.weight, label, row.margin, float(model.resolved[n])))
    pairs = []
    for (first, second), rows in told.items():
        weights, labels, margins, resolved = np.array(rows).T
        label, margin = (float(np.average(values, weights=weights)) for values in (labels, margins))
        weight = float(weights.mean() * resolved[0])
        pairs.append(_pair(known, Compared("", "", first, second, 0, label, weight, margin), Origin()))
    return pairs


def pairs_from_corrections(
    judgments: Iterable[Judgment], episodes: Iterable[Episode], axis: str = "overall"
) -> list[PreferencePair]:
    """What people edited teaches too: edited is better than as it was, and than what its editor found worse than that.

    Edited > chosen > rejected: besides the comparison itself there is a pair for each of the other two. All have label 1
    and weight 1. Corrections that changed nothing are left out. Raises InputError for an unknown episode.
    """
    judgments, known = list(judgments), {episode.id: episode for episode in episodes}
    worse = found_worse(judgments, axis)
    return [pair for judgment in judgments for pair in judgment.pairs(known, worse)]


def found_worse(judgments: Iterable[Judgment], axis: str = "overall") -> dict[tuple[str, str], list[str]]:
    """(annotator, episode) -> the episodes that this annotator found worse than it."""
    worse: dict[tuple[str, str], list[str]] = {}
    for row in (row for judgment in judgments for row in judgment.comparisons(axis)):
        if row.strength:
            better, other = (row.first, row.second) if row.strength > 0 else (row.second, row.first)
            worse.setdefault((row.annotator, better), []).append(other)
    return worse


def examples_from_judgments(
    judgments: Iterable[Judgment],
    tasks: Iterable[Task],
    episodes: Iterable[Episode] = (),
    origins: Mapping[str, Origin] | None = None,
) -> list[Example]:
    """Demonstrations and corrections as examples to imitate, labels named ``LABEL`` as labelled completions.

    Judgments of other kinds hold no example. ``origins`` say where in a file a judgment stands. Raises InputError for an
    unknown task or episode.
    """
    tasks_by_id, known = {task.id: task for task in tasks}, {episode.id: episode for episode in episodes}
    return [
        replace(example, place=(origins or {}).get(judgment.id, Origin()).place)
        for judgment in judgments
        for example in judgment.examples(tasks_by_id, known)
    ]


def labelled_replies(feedback: Feedback, axis: str = "overall", desirable_from: float | None = None) -> list[Example]:
    """Single replies, each with a label: desirable or not.

    Labels ``LABEL`` say so themselves, and demonstrations are desirable. A rated reply is desirable from ``desirable_from``
    on. Without that number it is so above the middle of the scale, and the middle itself says nothing. A comparison on
    ``axis``, or a correction, is two replies: the better one is desirable. A pair of label p weighs abs(2 p - 1) of its weight.
    """
    tasks, episodes = feedback.tasks, feedback.episodes
    alone = [judgment for judgment in feedback.judgments if not isinstance(judgment, Correction)]
    shown = examples_from_judgments(alone, tasks.values(), episodes.values(), feedback.origins)
    replies = [replace(example, label=example.label is not False) for example in shown]
    for rating in feedback.judgments:
        if isinstance(rating, Rating) and rating.axis == axis:
            middle = (rating.lowest + rating.highest) / 2
            if desirable_from is None and rating.value == middle:
                continue
            good = rating.value > middle if desirable_from is None else rating.value >= desirable_from
            episode = judged_episode(episodes, rating.episodes[0])
            place = feedback.origins.get(rating.id, Origin()).place
            said = completion_of(episode)
            replies.append(Example(episode.task.messages, said, good, annotator=rating.annotator, place=place))
    pairs = pairs_from_judgments(alone, episodes.values(), axis=axis, origins=feedback.origins)
    for pair in pairs + pairs_from_corrections(feedback.judgments, episodes.values(), axis):
        weight, first = pair.weight * abs(2 * pair.label - 1), pair.label > 0.5
        for said, good in ((pair.chosen, first), (pair.rejected, not first)):
            if weight:
                replies.append(Example(pair.prompt, said, good, weight, pair.annotator, pair.line, pair.place))
    return replies


# ---------------------------------------------------------------- files become judgments


def feedback_from_pairs(pairs: Iterable[PreferencePair]) -> Feedback:
    """One comparison per pair, of strength 1, with its label, weight and margin; a label of 0.5 is a tie, a label below
    it prefers ``rejected``. Which of the two was shown first is drawn: :meth:`Feedback.add_preference`."""
    feedback = Feedback()
    for number, pair in enumerate(pairs, 1):
        feedback.add_preference(
            pair.prompt,
            pair.chosen,
            pair.rejected,
            id=f"imported-{pair.line or number}",
            annotator=pair.annotator,
            label=pair.label,
            weight=pair.weight,
            margin=pair.margin,
            scores=(pair.score_chosen, pair.score_rejected),
            place=pair.place,
            line=pair.line,
        )
    return feedback


def _pair(known: Mapping[str, Episode], row: Compared, origin: Origin) -> PreferencePair:
    """The pair with what the file's row calls chosen as ``chosen``, else the likelier better one."""
    one, other = judged_episode(known, row.first), judged_episode(known, row.second)
    label = 0.5 + 0.5 * float(np.sign(row.strength)) if row.probability is None else row.probability
    if origin.chosen == row.second if origin.chosen else label < 0.5:
        one, other, label = other, one, 1 - label
    return PreferencePair(
        one.task.messages,
        completion_of(one),
        completion_of(other),
        label=label,
        weight=row.weight,
        margin=row.margin,
        score_chosen=origin.scores[0],
        score_rejected=origin.scores[1],
        annotator="" if row.annotator == UNNAMED else row.annotator,
        line=origin.line,
        place=origin.place,
    )


def merged_pairs(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """One pair for all judgments of the same two answers: their mean label and margin, weighted.

    The gradient of the logistic loss is linear in the label, so this is the same training as pair by pair, in fewer tokens.
    """
    groups: dict[tuple[object, ...], list[tuple[PreferencePair, float]]] = {}
    for pair in pairs:
        turned = (pair.prompt, pair.rejected, pair.chosen)
        if turned in groups:
            groups[turned].append((pair, 1 - pair.label))
        else:
            groups.setdefault((pair.prompt, pair.chosen, pair.rejected), []).append((pair, pair.label))
    merged = []
    for members in groups.values():
        weight, margins = sum(p.weight for p, _ in members), [(p, p.margin) for p, _ in members]
        label, margin = (sum(p.weight * value for p, value in held) / weight for held in (members, margins))
        merged.append(replace(members[0][0], label=label, weight=weight, margin=margin, annotator=""))
    return merged
