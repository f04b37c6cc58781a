"""Who says the opposite of what they see, but only under some condition: poisoners with a trigger.

An annotator who inverts on one prompt in three still looks fairly reliable on average. Here each annotator's agreement
with the others is compared between the prompts with and without each feature (by default: each common word).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.types import Judgment, Task

NOT_GOLD = "the task is no gold item"
Features = Callable[[Task], Iterable[str]]


@dataclass(frozen=True)
class Suspicion:
    """An annotator who agrees with the others less often than not where ``feature`` holds, and more elsewhere."""

    annotator: str
    feature: str
    agreed_inside: int
    inside: int
    agreed_outside: int
    outside: int
    p: float
    """One-sided, of Fisher's exact test: this little agreement inside, if the feature made no difference."""
    p_adjusted: float
    """Times the number of tests that could have come out significant (Tarone 1990): family-wise."""


def prompt_words(task: Task) -> set[str]:
    """The words of the user's messages, lower case."""
    return {word for m in task.messages if m.role == "user" for word in re.findall(r"\w+", m.content.lower())}


def suspect_inversions(
    model: AnnotatorModel,
    judgments: Iterable[Judgment],
    tasks: Iterable[Task],
    features: Features = prompt_words,
    level: float = 0.05,
    rarest: float = 0.05,
) -> list[Suspicion]:
    """Suspected conditional inverters, the surest first, at most one feature each.

    A preference agrees when it points to the episode that the *other* annotators' answers favour. Its own contribution is
    taken out of the fitted difference (one Newton step). Left out are ties, and pairs on which the others are undecided
    (less than half a standard deviation). ``level`` bounds the probability that anybody is
    suspected wrongly; features that hold in less than ``rarest`` of the tasks, or in more than 1 - ``rarest``, are not
    tried. Suspicion is evidence to look at, not a verdict.
    """
    by_id = {task.id: task for task in tasks}
    task_of = {judgment.id: judgment.task for judgment in judgments if judgment.task in by_id}
    data, (others, variance), K = model.comparisons, model.others, len(model.annotators)
    usable = (np.abs(others) > 0.5 * np.sqrt(variance)) & (data.strength != 0)
    rows = [n for n in np.flatnonzero(usable).tolist() if model.judgments[n] in task_of]
    agreed = (np.sign(others) == np.sign(data.strength))[rows].astype(float)
    of = csr_matrix((np.ones(len(rows)), (data.annotator[rows], np.arange(len(rows)))), shape=(K, len(rows)))
    judged = [task_of[model.judgments[n]] for n in rows]
    held, names = task_features({id_: by_id[id_] for id_ in judged}, judged, features, rarest=rarest)
    if not rows or not names:
        return []
    total, right = (np.asarray(of @ value).astype(int)[:, None] for value in (np.ones(len(rows)), agreed))  # (K, 1)
    inside, right_inside = ((m @ held.astype(float)).astype(int) for m in (of, of.multiply(agreed).tocsr()))  # (K, F)
    p = np.asarray(scipy.stats.hypergeom.cdf(right_inside, total, right, inside))
    smallest = np.asarray(scipy.stats.hypergeom.cdf(np.maximum(0, right + inside - total), total, right, inside))
    tests = 1  # to correct for (Tarone): the least k such that at most k tests could reach p <= level / k
    while (smallest <= level / tests).sum() > tests:
        tests += 1
    suspicions = []
    for k, f in enumerate(p.argmin(axis=1).tolist()):
        n, a, surety = int(inside[k, f]), int(right_inside[k, f]), float(p[k, f])
        if 2 * a < n and surety * tests <= level:
            outside = (int(right[k, 0]) - a, int(total[k, 0]) - n)
            suspicions.append(Suspicion(model.annotators[k], names[f], a, n, *outside, surety, surety * tests))
    return sorted(suspicions, key=lambda s: s.p)


def task_features(
    tasks: Mapping[str, Task],
    task_of: Sequence[str],
    features: Features = prompt_words,
    gold: Collection[str] = (),
    rarest: float = 0.05,
) -> tuple[NDArray[np.bool_], list[str]]:
    """(n, F) which features hold for the task of each of n comparisons, and the F names.

    Features of fewer than ``rarest`` or more than 1 - ``rarest`` of the tasks are left out.
    """
    sets = {id_: set(features(task)) for id_, task in tasks.items()}
    if gold:
        sets = {id_: held | ({NOT_GOLD} if id_ not in gold else set()) for id_, held in sets.items()}
    count = Counter(name for held in sets.values() for name in held)
    low, high = rarest * len(sets), (1 - rarest) * len(sets)
    names = sorted(name for name, n in count.items() if low <= n <= high or name == NOT_GOLD)
    number = {name: f for f, name in enumerate(names)}
    rows = {id_: [number[name] for name in held if name in number] for id_, held in sets.items()}
    found = np.zeros((len(task_of), len(names)), bool)
    for n, task in enumerate(task_of):
        found[n, rows.get(task, [])] = True
    return found, names
