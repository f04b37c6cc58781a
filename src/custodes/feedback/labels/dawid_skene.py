"""Dawid and Skene (1979): every annotator has a table of how often they say l where the truth is c.

Expectation-maximisation from the vote shares. Each annotator's table is drawn towards the crowd's, as if the annotator
had given ``PRIOR`` more answers per class the way the crowd does: somebody with three answers is not believed to be
perfect, and the same three answers cost the rest nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from custodes.feedback.labels.rounds import Errors, Round, posterior
from custodes.feedback.labels.table import LabelTable

PRIOR = 4.0
"""Answers per class that every annotator is taken to have given the way the crowd does."""


def dawid_skene(table: LabelTable) -> Iterator[Round]:
    """One round of expectation-maximisation after the other.

    Parameters: "confusion" (K, C, C), P(annotator k says l | the truth is c) at [k, c, l]; "prevalence" (C,).
    Raises InputError where the annotators' tables do not fit in memory.
    """
    T, C, errors = len(table.tasks), len(table.classes), Errors(table)
    truth = table.shares
    while True:
        said = errors.expected(truth)
        crowd = said.sum(axis=0) + 1 / C
        said += PRIOR * crowd / crowd.sum(axis=0)
        said /= said.sum(axis=1, keepdims=True)
        rest = truth.sum(axis=0)
        prevalence = (np.append(T - rest.sum(), rest) + 1) / (T + C)
        log_odds = errors.log_odds(np.log(said))
        log_odds += np.log(prevalence[1:] / prevalence[0])
        truth = posterior(log_odds)
        yield Round(truth, {"confusion": said.transpose(0, 2, 1), "prevalence": prevalence})
