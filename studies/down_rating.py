"""Code that somebody found flawless is rated again, with a critic's findings beside it and without: how much is rated down, and rightly?

The findings are real: rows of ``evidence_bugs.py``, each a function with a bug and without, and what running found in either. The people are
simulated (:class:`custodes.feedback.teams.Person`): they see a bug, believe a right finding, believe a wrong one, and are wrong by themselves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from custodes.critic.review.evidence import SHOWN_FROM
from custodes.feedback.teams import Person
from custodes.files import save_json
from custodes.stats import paired_difference, rate
from custodes.types import InputError

PEOPLE = {
    "by default": Person(),
    "believes half of what is right": Person(keeps=0.5),
    "believes everything": Person(keeps=1.0, removes=0.0),
    "looks no longer": Person(attention=0.0),
}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="rows.jsonl of evidence_bugs.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bugs", type=float, default=0.3, help="share of the code with a bug, before the first rating")
    parser.add_argument("--sees", type=float, default=Person().sees, help="share of bugs that a person sees alone")
    parser.add_argument("--copies", type=int, default=20, help="first ratings of each function")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    rows = [json.loads(line) for line in given.rows.read_text().splitlines()]
    told = {
        name: rated_again(rows, replace(person, sees=given.sees), given.bugs, given.copies, given.seed)
        for name, person in PEOPLE.items()
    }
    given.out.mkdir(parents=True, exist_ok=True)
    save_json(given.out / "down_rating.json", told)
    print(json.dumps(told, indent=1))


def rated_again(rows: Sequence[dict[str, Any]], person: Person, bugs: float, copies: int, seed: int) -> dict[str, Any]:
    """Shares that are rated down alone and with help, among what a first person found flawless; intervals are over functions."""
    rng = np.random.default_rng(seed)
    named = [name for name in dict.fromkeys(row["name"] for row in rows) for _ in range(copies)]
    found = {row["name"]: {side: any(f[1] >= SHOWN_FROM and f[0] != "wrong example" for f in row[side]) for side in ("buggy", "fixed")} for row in rows}  # fmt: skip
    n = len(named)
    bad = rng.random(n) < bugs
    shown = np.array([found[name]["buggy" if b else "fixed"] for name, b in zip(named, bad, strict=True)])
    first = _alone(person, bad, rng)
    flawless = ~first
    if not flawless.any():
        raise InputError("nobody found anything flawless: give more functions, or fewer bugs.")
    alone = _alone(person, bad, rng)
    keeps = np.where(bad, person.keeps, 1 - person.removes)
    looks = rng.random(n) < person.attention
    helped = (alone & looks) | (shown & (rng.random(n) < keeps))
    who = [name for name, kept in zip(named, flawless, strict=True) if kept]
    down = {"alone": alone[flawless], "helped": helped[flawless]}
    return {
        "flawless": int(flawless.sum()),
        "with a bug": rate(bad[flawless], who).to_dict(),
        "rated down": {arm: rate(values, who).to_dict() for arm, values in down.items()},
        "more with help": paired_difference(down["helped"].astype(float), down["alone"].astype(float), who).to_dict(),
        "rightly": {
            arm: rate(bad[flawless][values], [w for w, v in zip(who, values, strict=True) if v]).to_dict()
            for arm, values in down.items()
            if values.any()
        },
    }


def _alone(person: Person, bad: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whether a person finds fault without help: with the bug that they see, or with something that is right."""
    return (bad & (rng.random(len(bad)) < person.sees)) | (rng.random(len(bad)) >= np.exp(-person.own_false))


if __name__ == "__main__":
    main()
