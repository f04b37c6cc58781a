"""crowd-kit's aggregation of labels, a workload "N METHOD" a turn; "accuracy N METHOD" answers the accuracy as amount."""

import numpy as np
import pandas as pd
from crowdkit.aggregation import GLAD, MACE, DawidSkene, MajorityVote
from label_work import simulate
from protocol import serve

METHODS = {
    "majority": MajorityVote,
    "dawid-skene": lambda: DawidSkene(n_iter=100),
    "mace": lambda: MACE(n_restarts=1, n_iter=30),
    "glad": lambda: GLAD(n_iter=100),
}
works: dict[int, tuple[pd.DataFrame, np.ndarray]] = {}


def aggregate(workload: str) -> float:
    *asked, size, method = workload.split()
    judgments = int(size)
    if judgments not in works:
        data = simulate(judgments)
        columns = {"task": data["task"], "worker": data["annotator"], "label": data["label"]}
        works[judgments] = pd.DataFrame(columns), data["truth"]
    frame, truth = works[judgments]
    labels = METHODS[method]().fit_predict(frame)
    if not asked:
        return judgments
    labels = labels.sort_index()
    return float((labels.to_numpy() == truth[labels.index.to_numpy()]).mean())


serve(aggregate)
