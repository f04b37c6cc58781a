"""Several policies mixed into one, or into a row of them: what ``custodes policy soup`` does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.lm.loading import load
from custodes.lm.precision import DtypeName
from custodes.lm.soup import soup
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class PolicySoup:
    """Mix policies of one base model by their weights: rewarded soups."""

    policies: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="DIR")]]
    """Folders of runs, of adapters or of whole models; all of one base model."""
    weights: str = ""
    """One weight each, 0.3,0.7; or 0:1:5 for five soups of two policies, the weight of the second from 0 to 1. Without: the mean."""
    out: Output
    """New folder for the soup; of several soups, a folder for their folders."""
    dtype: DtypeName = "auto"
    """Precision in which whole models are written."""


@dataclass(frozen=True)
class Soups:
    """The folders that were written, and the weights of each."""

    folders: tuple[Path, ...]
    weights: tuple[tuple[float, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        rows = zip(self.folders, self.weights, strict=True)
        return {"soups": [{"folder": str(folder), "weights": list(weights)} for folder, weights in rows]}


@command()
def policy_soup(config: PolicySoup) -> Soups:
    """Mix policies of one base model into one, or into a row of them.

    Raises InputError for policies that do not belong together and for a path that is taken.
    """
    if len(config.policies) < 2:
        raise InputError(f"a soup is made of several policies, and {len(config.policies)} is given; name two or more.")
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise InputError(f"{config.out} exists; choose another --out.")
    rows = _read_weights(config.weights, len(config.policies))
    models = [load(policy, dtype=config.dtype) for policy in config.policies]
    folders = [config.out / f"weight-{row[-1]:g}" for row in rows] if len(rows) > 1 else [config.out]
    for folder, row in zip(folders, rows, strict=True):
        soup(models, row).save(folder)
    return Soups(tuple(folders), tuple(rows))


@in_words(policy_soup)
def _show(config: PolicySoup, done: Soups) -> None:
    for folder, weights in zip(done.folders, done.weights, strict=True):
        parts = " + ".join(f"{weight:g} {policy}" for weight, policy in zip(weights, config.policies, strict=True))
        print(f"{folder}: {parts}")


def _read_weights(text: str, policies: int) -> list[tuple[float, ...]]:
    """One row of weights for each soup."""
    if not text:
        return [(1 / policies,) * policies]
    try:
        rows: list[tuple[float, ...]] = [] if ":" in text else [tuple(map(float, text.split(",")))]
        if ":" in text:
            low, high, count = text.split(":")
            rows += [(1 - w, w) for w in np.linspace(float(low), float(high), int(count)).tolist()]
    except ValueError:
        rows = []
    if not rows or not all(math.isfinite(weight) for row in rows for weight in row):
        raise InputError(f"--weights {text!r}: write one number a policy, 0.3,0.7, or a row of soups, 0:1:5.")
    if len(rows[0]) != policies:
        raise InputError(
            f"--weights {text} are for {len(rows[0])} policies, and {policies} are given; give one for each."
        )
    if any(abs(sum(row) - 1) > 1e-6 for row in rows):
        raise InputError(f"--weights {text} sum to {sum(rows[0]):g}; weights of a soup sum to 1.")
    if len({f"{row[-1]:g}" for row in rows}) < len(rows):
        raise InputError(f"--weights {text} name the same soup twice; choose other ends or fewer soups.")
    return rows
