"""How often are the alarms of an optimisation right, and how far ahead of gold's fall?

    python studies/alarms.py runs/demo runs/demo-1 runs/demo-2 --out runs/alarms.json

Reads the ledgers of finished runs whose gold is known (``custodes quickstart --arms all``), an arm each; nothing is run. An arm
over-optimised where its gold turned down or stayed behind its proxy (:func:`custodes.audit.overoptimisation.overoptimisation_test`); an arm
with no sign of that did not; arms of which it cannot be told are left out. Of each alarm: how many of the arms on which it rang had
over-optimised (precision), on how many of those that had it rang (recall), and how many steps before the evaluation from which gold
fell or stayed behind. The runs of one command share their prompts, so arms are few and intervals wide.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from custodes.audit import RecordedRun
from custodes.audit.heldout import turn_of_gold
from custodes.audit.sections.alarms import alarms_of
from custodes.files import plain_json, save_json
from custodes.ledger import Ledger
from custodes.stats import clopper_pearson
from custodes.types import InputError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    parser.add_argument("--out", type=Path, default=Path("runs/alarms.json"), help="file of the result")
    chosen = parser.parse_args()
    arms = [arm for run in chosen.runs for arm in arms_of(run)]
    result = dict(plain_json({"arms": arms, "alarms": judged(arms)}))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    save_json(chosen.out, result)
    print(json.dumps(result, indent=1))


def arms_of(folder: Path) -> list[dict[str, Any]]:
    """Each arm of a run that alarms watched and whose gold is known: its verdict, since which step, and when each alarm rang."""
    with Ledger.open(folder / "ledger.db", read_only=True) as ledger:
        source = RecordedRun(ledger, ledger.runs()[-1].id)
        found = []
        for arm in source.arms:
            figures, rows = alarms_of(source, arm), source.heldout.get(arm, [])
            test = turn_of_gold(rows)
            if not figures or test is None:
                continue
            since = rows[test.since].step if test.since is not None else None
            rang = {name: a["rang"] for name, a in figures["alarms"].items() if not a["why_not"]}
            found.append({"run": str(folder), "arm": arm, "verdict": test.verdict, "since": since, "rang": rang})
    if not found:
        raise InputError(f"{folder} holds no arm that alarms watched and whose gold is known.")
    return found


def judged(arms: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each alarm its precision, recall and lead, over the arms of which it can be told whether they over-optimised."""
    told = {}
    for name in sorted({name for arm in arms for name in arm["rang"]}):
        watched = [arm for arm in arms if name in arm["rang"] and arm["verdict"] != "unclear"]
        past = [arm for arm in watched if arm["verdict"] in ("turned_down", "stays_behind")]
        rings = [arm for arm in watched if arm["rang"][name] is not None]
        right = [arm for arm in past if arm["rang"][name] is not None]
        leads = [arm["since"] - arm["rang"][name] for arm in right if arm["since"] is not None]
        told[name] = {
            "precision": clopper_pearson(len(right), len(rings)),
            "recall": clopper_pearson(len(right), len(past)),
            "rang where nothing was wrong": clopper_pearson(len(rings) - len(right), len(watched) - len(past)),
            "lead, steps": {"each": leads, "median": float(np.median(leads)) if leads else None},
        }
    return told


if __name__ == "__main__":
    main()
