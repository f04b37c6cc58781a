"""crowd-kit's Bradley-Terry with annotator skill and bias (no ties), a workload "N nbt" a turn."""

import numpy as np
import pandas as pd
from annotator_work import simulate
from crowdkit.aggregation import NoisyBradleyTerry
from protocol import serve

works: dict[int, pd.DataFrame] = {}


def fit(workload: str) -> float:
    comparisons = int(workload.split()[0])
    if comparisons not in works:
        data = simulate(comparisons)
        label = np.where(data["first_wins"], data["first"], data["second"])
        columns = {"worker": data["annotator"], "left": data["first"], "right": data["second"], "label": label}
        works[comparisons] = pd.DataFrame(columns)
    NoisyBradleyTerry(n_iter=100).fit_predict(works[comparisons])
    return comparisons


serve(fit)
