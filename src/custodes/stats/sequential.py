"""Has a rate fallen below a limit? Evidence that may be looked at after every observation, with a stated false-alarm rate.

The null hypothesis is that every observation is 1 with probability at least p0, given those before it. Against it stand
lower rates q. Each likelihood ratio, with q against p0, is a supermartingale under the null, since it falls with the true
rate. Their mixture is one too. So by Ville's inequality (1939) the probability that the evidence ever reaches 1 / level is at
most ``level``, however often one looks.

A fall may come late. The mixture therefore also runs over when it began: half of it at the first observation, the rest at
later blocks (as the e-detectors of arXiv 2203.03532, here with weights that sum to 1). What came before then counts for nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from custodes.types import Floats, InputError

DROPS = (0.05, 0.1, 0.2, 0.3, 0.45)
"""How far below the limit the alternatives lie."""
BLOCK = 16
"""Observations between two points at which a fall may have begun."""


def log_evidence_below(observed: ArrayLike, limit: float) -> Floats:
    """(n,) log of the evidence, nats, that the rate of 1 is below ``limit``, after each of ``observed`` (n,) of 0 and 1.

    An alarm rings where it reaches log(1 / level). Raises InputError for a limit outside 0..1 and for other values.
    """
    x = np.asarray(observed, float)
    if not 0 < limit < 1:
        raise InputError(f"the rate's limit is {limit}; it must lie between 0 and 1.")
    if x.ndim != 1 or not np.isin(x, (0.0, 1.0)).all():
        raise InputError("the observations of a rate must be a list of 0 and 1.")
    q = np.array(sorted({max(limit - drop, limit / 20) for drop in DROPS}))  # (Q,)
    right, wrong = np.log(q / limit), np.log((1 - q) / (1 - limit))
    run = np.full(len(q), math.log(0.5 / len(q)))  # of the alternatives that have begun, with their weights
    waiting = 0.5  # weight of those that have not
    evidence = np.empty(len(x))
    for n, seen in enumerate(x):
        if n and n % BLOCK == 0:
            block = n // BLOCK
            weight = 0.5 / (block * (block + 1))
            run, waiting = np.logaddexp(run, math.log(weight / len(q))), waiting - weight
        run = run + (right if seen else wrong)
        evidence[n] = np.logaddexp.reduce([*run, math.log(waiting)])
    return evidence
