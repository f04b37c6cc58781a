"""How far those who gave labels agree: alpha over all of them, kappa and AC1 of those who share most tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_matrix, triu

from custodes.feedback.agreement import InterAnnotatorAgreement, PairAgreement, agreement_of_counts, pair_agreement
from custodes.feedback.labels.table import LabelTable

TASKS = 5_000
"""Tasks that an agreement is taken over at most, evenly chosen: more would narrow no interval that matters."""


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement in a table of labels."""

    everybody: InterAnnotatorAgreement
    pairs: list[PairAgreement]
    """Of the pairs of annotators with most tasks in common, most first."""
    all_pairs: int
    """How many pairs have a task in common."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said with it, one sentence each."""
        return tuple(note for note in (self.everybody.note,) if note)


def agreement_in(table: LabelTable, pairs: int = 20) -> LabelAgreement:
    """Nominal alpha over the tasks that several labelled, and the agreement of the ``pairs`` that share most tasks."""
    shared = _some(np.flatnonzero(np.diff(table.start) > 1))
    counts = table.votes[shared].astype(np.int64)
    if counts.shape[1] < 2:
        counts = np.pad(counts, ((0, 0), (0, 1)))
    labels = csr_matrix(
        (table.label + 1, (table.task, table.annotator)), shape=(len(table.tasks), len(table.annotators))
    ).tocsc()
    given = labels.sign().astype(np.int64)
    together = coo_array(triu(given.T @ given, 1))
    most = np.lexsort((together.col, together.row, -together.data))[:pairs]
    found = []
    for one, other in zip(together.row[most], together.col[most], strict=True):
        both = labels[:, [one, other]]
        answers = both[np.flatnonzero(np.diff(both.tocsr().indptr) == 2)].toarray().astype(np.int64)
        names = (str(table.annotators[one]), str(table.annotators[other]))
        found.append(pair_agreement(*names, answers[_some(np.arange(len(answers)))] - 1, len(table.classes)))
    return LabelAgreement(agreement_of_counts(counts, "nominal"), found, together.nnz)


def _some(places: NDArray[np.intp]) -> NDArray[np.intp]:
    """All of them, or ``TASKS`` at equal distances."""
    if len(places) <= TASKS:
        return places
    return places[np.linspace(0, len(places) - 1, TASKS).astype(np.intp)]
