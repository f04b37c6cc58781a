"""How often is a value right that samples of a model agree on?

    python studies/model_votes.py --model MODEL --out runs/model-votes

A model proposes tests of documented functions of installed packages, as ``custodes critique --model`` asks for them, and each value that
it expects is held to what the function gives in the sandbox. The functions are taken to be right: where they are not, the table is too
strict. Told by how many samples expect the value and how many name the call, for packages apart; and how often a review would be wrong
at other numbers of votes. Run again with the same ``--out``, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evidence_bugs import documented, told

from custodes.critic.choice import CriticChoice
from custodes.critic.loading import open_proposer
from custodes.critic.review.again import run_tests
from custodes.critic.review.proposals import ExpectedValue, ProposalOptions
from custodes.critic.review.surroundings import place_files
from custodes.files import plain_json, save_json
from custodes.stats import rate

EVERYTHING = {"votes": 1, "agreement": 0.01}
TEST = """from {module} import {name}


def test_it():
    got = {call}
    if hasattr(got, "__next__"):
        got = list(got)
    assert got == {want}
"""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", required=True, help="a folder, a .gguf file, endpoint:URL#NAME")
    parser.add_argument("--packages", nargs="*", default=["toolz", "boltons", "more_itertools", "networkx"])
    parser.add_argument("--functions", type=int, default=50, help="of each package")
    parser.add_argument("--proposals", type=int, default=6, help="samples")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    proposer = open_proposer(CriticChoice(model=given.model), ProposalOptions(proposals=given.proposals, **EVERYTHING))
    assert proposer is not None
    kept, rows = given.out / "values.json", dict[str, list[dict[str, Any]]]()
    if kept.exists():
        rows = json.loads(kept.read_text())
    for package in given.packages:
        if package in rows:
            continue
        drawn = list(documented(package, ">>>"))
        random.Random(given.seed).shuffle(drawn)
        wanted: dict[str, set[str]] = {}
        for file, name, *_ in drawn[: given.functions]:
            wanted.setdefault(file, set()).add(name)
        texts = {file: Path(file).read_text() for file in wanted}
        expected = proposer.propose(texts, wanted, given.out / "cache", told)
        rows[package] = held_to(texts, expected)
        given.out.mkdir(parents=True, exist_ok=True)
        save_json(kept, rows)
    result = {"values": {p: table(own) for p, own in rows.items()}, "all": table([r for o in rows.values() for r in o])}
    save_json(given.out / "model_votes.json", plain_json(result))
    print(json.dumps(plain_json(result), indent=1))


def held_to(texts: dict[str, str], expected: dict[tuple[str, str], list[ExpectedValue]]) -> list[dict[str, Any]]:
    """Every expected value with whether the function gives it; what could not be called at all is left out."""
    modules = {place.file: place.inside["name"] for place in place_files(texts)[0]}
    asked = [(file, name, value) for (file, name), values in expected.items() for value in values]
    tests: dict[str, list[str]] = {}
    for file, name, value in asked:
        test = TEST.format(module=modules[file], name=name, call=value.source, want=value.want)
        tests.setdefault(file, []).append(test)
    came = {file: iter(outcomes) for file, outcomes in run_tests(texts, tests).items()}
    rows = []
    for file, name, value in asked:
        outcome = next(came[file])
        if not outcome.startswith("not loaded"):
            rows.append(
                {
                    "function": f"{file}::{name}",
                    "votes": value.votes,
                    "of": value.of,
                    "right": not outcome,
                    "came": outcome[:80],
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By votes: how many values are right, clustered by function. By thresholds: functions with a value that is wrong."""
    functions = sorted({row["function"] for row in rows})
    found: dict[str, Any] = {"functions": len(functions), "values": len(rows)}
    found |= {"right of": {}, "by votes": {}, "by agreement": {}}
    for votes in sorted({row["votes"] for row in rows}):
        own = [row for row in rows if row["votes"] == votes]
        found["right of"][votes] = [sum(r["right"] for r in own), len(own)]
        found["by votes"][votes] = rate(np.array([r["right"] for r in own], float), [r["function"] for r in own])
    for votes in (2, 3, 4, 5, 6):
        for share in (0.5, 0.7, 0.9):
            own = [row for row in rows if row["votes"] >= votes and row["votes"] >= share * row["of"]]
            wrong = {row["function"] for row in own if not row["right"]}
            found["by agreement"][f"{votes} votes, {share:g}"] = {
                "values": len(own),
                "functions with a value": len({row["function"] for row in own}),
                "functions with a wrong one": rate([float(f in wrong) for f in functions], functions),
            }
    return found


if __name__ == "__main__":
    main()
