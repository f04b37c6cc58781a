"""How many bugs running finds, and how often it is wrong: a folder of buggy files beside a folder of right ones.

Files are paired by their names. A bug is caught where a finding with evidence is shown in the buggy file, and a finding in the right
file is a false alarm, except "the example is wrong". Run again with the same ``--out``, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from custodes.critic.choice import CriticChoice
from custodes.critic.loading import open_proposer
from custodes.critic.review.evidence import SHOWN_FROM
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.proposals import ProposalOptions, Proposer
from custodes.critic.review.running import RunOptions
from custodes.files import save_json
from custodes.stats import Interval, rate

EVERYTHING = ReviewOptions(strictness=99)
STEPS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.94)
"""Confidences from which a finding is shown: the frontier."""
NO_ALARM = "wrong example"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buggy", type=Path, required=True, help="a folder of files, each with a bug")
    parser.add_argument("--fixed", type=Path, required=True, help="a folder of files of the same names, without")
    parser.add_argument("--out", type=Path, required=True, help="where rows.jsonl and summary.json are kept")
    parser.add_argument(
        "--model", default="", help="a model that proposes results: a folder, a .gguf file, endpoint:URL#NAME"
    )
    parser.add_argument("--votes", type=int, default=3)
    parser.add_argument("--agreement", type=float, default=0.7)
    parser.add_argument("--inputs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--together", type=int, default=8, help="pairs of one call of the model")
    parser.add_argument("--first", type=int, default=0, help="only the first so many pairs")
    given = parser.parse_args(words)
    names = sorted({p.name for p in given.buggy.glob("*.py")} & {p.name for p in given.fixed.glob("*.py")})
    names = names[: given.first or None]
    if not names:
        parser.error(f"{given.buggy} and {given.fixed} have no .py files of the same name.")
    options = ProposalOptions(votes=given.votes, agreement=given.agreement)
    proposer = open_proposer(CriticChoice(model=given.model), options)
    given.out.mkdir(parents=True, exist_ok=True)
    rows = measured(names, given, proposer)
    result = summarised(rows)
    save_json(given.out / "summary.json", result)
    print(in_words(result))


def measured(names: list[str], given: argparse.Namespace, proposer: Proposer | None) -> list[dict[str, Any]]:
    """A row for each pair; rows that are there already are kept."""
    file = given.out / "rows.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {row["name"] for row in rows}
    left = [name for name in names if name not in done]
    run = RunOptions(inputs=given.inputs, seconds=given.seconds)
    for at in range(0, len(left), given.together):
        part = left[at : at + given.together]
        paths = [str(folder / name) for name in part for folder in (given.buggy, given.fixed)]
        began = time.monotonic()
        result = review(paths, None, EVERYTHING, given.out / "cache", run=run, proposer=proposer)
        seconds = (time.monotonic() - began) / len(part)
        for name in part:
            row = {"name": name, "seconds": seconds}
            for side in ("buggy", "fixed"):
                path = str(getattr(given, side) / name)
                found = [f for f in result.findings if f.file == path]
                row[side] = [[f.kind, f.confidence, f.evidence.by if f.evidence else "", f.message] for f in found]  # type: ignore[assignment]
                row[f"{side}_ran"] = any(r.ran for r in result.runs if r.file == path)
            rows.append(row)
            with file.open("a") as handle:
                handle.write(json.dumps(row) + "\n")
        print(f"{at + len(part)} of {len(left)} pairs, {seconds:.1f} s a pair", flush=True)
    return [row for row in rows if row["name"] in set(names)]


def summarised(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates with 95 % intervals, at the default and along the frontier, and what the findings rest on."""
    alarms = {side: [[f for f in row[side] if f[0] != NO_ALARM] for row in rows] for side in ("buggy", "fixed")}
    shown = {side: [any(f[1] >= SHOWN_FROM for f in found) for found in alarms[side]] for side in alarms}
    kinds = {
        side: Counter(f[0] for row in rows for f in row[side] if f[1] >= SHOWN_FROM or f[0] == NO_ALARM)
        for side in alarms
    }
    best = [max(found, key=lambda f: f[1]) for found in alarms["buggy"] if found]
    return {
        "pairs": len(rows),
        "run": sum(row["buggy_ran"] for row in rows),
        "caught": _rate(shown["buggy"]),
        "false_alarms": _rate(shown["fixed"]),
        "by_the_model_alone": {side: _by_the_model_alone(alarms[side]) for side in alarms},
        "wrong_examples": sum(any(f[0] == NO_ALARM for f in row["fixed"]) for row in rows),
        "kinds": {side: dict(counts) for side, counts in kinds.items()},
        "first_finding": dict(Counter(f[0] for f in best if f[1] >= SHOWN_FROM)),
        "frontier": [
            {"from": step, "caught": _rate([any(f[1] >= step for f in found) for found in alarms["buggy"]]),
             "false_alarms": _rate([any(f[1] >= step for f in found) for found in alarms["fixed"]])}
            for step in STEPS
        ],
        "calibration": calibration(rows),
        "seconds_a_pair": sum(row["seconds"] for row in rows) / len(rows),
    }  # fmt: skip


def calibration(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Kind and stated confidence of findings, and how many were right: in the buggy file, and not in the right one as well.

    Half of the files have a bug, which is far more than in code that people review.
    """
    outcomes: dict[tuple[str, float], list[bool]] = {}
    for row in rows:
        wrong = {(f[0], f[3]) for f in row["fixed"]}
        for kind, confidence, _, message in row["buggy"]:
            outcomes.setdefault((kind, round(confidence, 2)), []).append((kind, message) not in wrong)
        for kind, confidence, *_ in row["fixed"]:
            outcomes.setdefault((kind, round(confidence, 2)), []).append(False)
    ordered = sorted(outcomes.items(), key=lambda item: (item[0][0], -item[0][1]))
    return [{"kind": kind, "stated": stated, **_rate(hits)} for (kind, stated), hits in ordered if kind != NO_ALARM]


def _by_the_model_alone(found: list[list[Any]]) -> int:
    """Rows in which what is shown rests on nothing but what a model expects."""
    shown = [[f for f in row if f[1] >= SHOWN_FROM] for row in found]
    return sum(bool(row) and all(f[2].startswith("the model ") for f in row) for row in shown)


def _rate(hits: list[bool]) -> dict[str, Any]:
    interval: Interval = rate([float(h) for h in hits])
    return {"count": sum(hits), "of": len(hits), "rate": interval.estimate, "low": interval.low, "high": interval.high}


def in_words(result: dict[str, Any]) -> str:
    """The summary as lines of text."""

    def told(row: dict[str, Any]) -> str:
        return f"{row['count']} of {row['of']}, {row['rate']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"

    lines = [
        f"pairs {result['pairs']}, of which run {result['run']}; {result['seconds_a_pair']:.1f} s a pair",
        f"caught {told(result['caught'])}",
        f"false alarms {told(result['false_alarms'])}; examples said to be wrong in {result['wrong_examples']} right files",
        f"by the model alone: caught {result['by_the_model_alone']['buggy']}, false alarms {result['by_the_model_alone']['fixed']}",
        f"kinds shown: buggy {result['kinds']['buggy']}, right {result['kinds']['fixed']}",
        "shown from   caught   false alarms",
    ]
    lines += [f"{r['from']:.2f}   {told(r['caught'])}   {told(r['false_alarms'])}" for r in result["frontier"]]
    lines += ["kind   stated   right"]
    lines += [f"{r['kind']}   {r['stated']:.2f}   {told(r)}" for r in result["calibration"]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
