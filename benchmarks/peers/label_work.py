"""The labels that ours and the peers aggregate. Imports numpy only: it runs in either interpreter."""

import numpy as np


def simulate(judgments: int, overlap: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    """``judgments`` of a fifth as many tasks of two classes by 200 annotators, right with probability Beta(6, 2).

    Nobody judges a task twice.
    """
    rng = np.random.default_rng(seed)
    tasks, annotators = judgments // overlap, 200
    truth = rng.integers(0, 2, tasks)
    skill = rng.beta(6, 2, annotators)
    task = np.repeat(np.arange(tasks), overlap)
    first = np.repeat(rng.integers(0, annotators, tasks), overlap)
    step = np.repeat(rng.integers(1, annotators // overlap, tasks), overlap)
    annotator = (first + step * np.tile(np.arange(overlap), tasks)) % annotators
    right = rng.random(len(task)) < skill[annotator]
    label = np.where(right, truth[task], 1 - truth[task])
    return {"task": task, "annotator": annotator, "label": label, "truth": truth, "skill": skill}
