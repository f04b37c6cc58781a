"""Labels beside known truths: how often a method's labels are right, and each annotator's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from custodes.feedback.labels.aggregate import Aggregated
from custodes.feedback.labels.files import same_class
from custodes.feedback.truths import Realised, realised
from custodes.stats import Interval, wilson


@dataclass(frozen=True)
class KnownLabels:
    """What came of labels where the truth is known."""

    labels: Realised
    vote: Interval
    """How often the plurality of the votes is right on the same tasks; of equals the first class counts."""
    annotators: Mapping[str, Interval]
    """How often each annotator's own label is right; n is how many of them are known."""
    notes: tuple[str, ...]


def beside_truths(found: Aggregated, truths: Mapping[str, str]) -> KnownLabels:
    """Sets what ``found`` states beside ``truths``, task -> class. Raises InputError where none of the tasks was labelled."""
    table = found.table
    place = {str(task): t for t, task in enumerate(table.tasks)}
    number = {same_class(str(name)): c for c, name in enumerate(table.classes)}
    truth = np.full(len(table.tasks), -1)  # -1 unknown, -2 a class that nobody said
    for task, name in truths.items():
        if task in place:
            truth[place[task]] = number.get(same_class(name), -2)
    known = np.flatnonzero(truth != -1)
    stated = found.probability[known, found.label[known]]
    notes = []
    if len(known) < len(truths):
        notes.append(f"{len(truths) - len(known):,} of {len(truths):,} known truths are of tasks that nobody labelled.")
    if unsaid := int((truth == -2).sum()):
        notes.append(f"{unsaid:,} tasks are truly of a class that nobody said.")
    return KnownLabels(
        realised(stated, found.label[known] == truth[known]),
        wilson(int((table.votes[known].argmax(axis=1) == truth[known]).sum()), len(known)),
        _of_annotators(found, truth),
        tuple(notes),
    )


def _of_annotators(found: Aggregated, truth: np.ndarray) -> dict[str, Interval]:
    table = found.table
    known = (truth[table.task] != -1).astype(float)
    right = table.by_annotator((table.label == truth[table.task]).astype(float))
    counts = zip(table.annotators, right.tolist(), table.by_annotator(known).tolist(), strict=True)
    return {str(name): wilson(int(k), int(n)) for name, k, n in counts}
