"""How far do SQuALITY's reviewers agree, and what do their ratings and ranks say together?

    python studies/squality_reviewers.py --data human_eval.jsonl.gz --out runs/squality

Four people judged three summaries of each of 100 questions (arXiv 2205.11465): ratings from 0 to 100 and ranks from 1 to 3, on
correctness, selection and overall. Asked: Krippendorff's alpha of the ratings; by how much a person's summary is better than
those of two models, in standard deviations of quality, fitted to ratings and ranks at once; and by how much the ranks narrow the
intervals of the ratings alone. Intervals of differences between writers are over questions.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from custodes.feedback.agreement import agreement_on_ratings
from custodes.feedback.joint import fit_judgments
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.files import save_json
from custodes.stats import mean_interval, paired_difference
from custodes.types import Judgment

AXES = ("overall", "correctness", "selection")
WRITERS = ("human", "bart-dpr", "bart")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="human_eval.jsonl.gz of SQuALITY")
    parser.add_argument("--out", type=Path, default=Path("runs/squality"))
    chosen = parser.parse_args()
    judgments = read(chosen.data)
    found = {axis: of_axis([j for j in judgments if j.axis == axis], axis) for axis in AXES}  # type: ignore[attr-defined]
    chosen.out.mkdir(parents=True, exist_ok=True)
    save_json(chosen.out / "squality_reviewers.json", found)
    print(json.dumps(found, indent=1))


def read(path: Path) -> list[Judgment]:
    """A rating for each review and axis, and a ranking for each reviewer, question and axis."""
    judgments: list[Judgment] = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        passages = [json.loads(line) for line in file]
    for passage in passages:
        for number, writers in passage["questions"].items():
            task = f"{passage['passage-id']}-{number}"
            for axis in AXES:
                ranks: dict[str, dict[str, int]] = {}
                for writer in WRITERS:
                    for review in writers[writer]["reviews"]:
                        who, item = review["worker_id"], f"{task}-{writer}"
                        shown: dict[str, Any] = {"annotator": who, "task": task, "shown": "", "axis": axis}
                        value = float(review[f"{axis}-rating"])
                        key = f"{item}-{who}-{axis}"
                        judgments.append(Rating(id=key, episodes=(item,), value=value, lowest=0, highest=100, **shown))
                        ranks.setdefault(who, {})[item] = int(review[f"{axis}-rank"])
                for who, of in ranks.items():
                    shown = {"annotator": who, "task": task, "shown": "", "axis": axis}
                    judgments.append(
                        Ranking(id=f"{task}-{who}-{axis}", episodes=tuple(of), ranks=tuple(of.values()), **shown)
                    )
    return judgments


def of_axis(judgments: list[Judgment], axis: str) -> dict[str, Any]:
    """What the judgments on one axis say."""
    both, ratings = fit_judgments(judgments, axis), fit_judgments(judgments, axis, kinds=("rating",))
    place = {item: i for i, item in enumerate(both.episodes)}
    questions = sorted(
        {item.rsplit("-", 1)[0] if not item.endswith("-bart-dpr") else item[: -len("-bart-dpr")] for item in place}
    )
    quality = {writer: [both.quality[place[f"{q}-{writer}"]] for q in questions] for writer in WRITERS}
    widths = {}
    for name, fit in (("both", both), ("ratings", ratings)):
        at = {item: i for i, item in enumerate(fit.episodes)}
        ends = [
            (at[f"{q}-{a}"], at[f"{q}-{b}"]) for q in questions for a, b in (("human", "bart"), ("human", "bart-dpr"))
        ]
        widths[name] = np.array([2 * 1.96 * fit.difference_se(a, b) for a, b in ends])
    of = [question for question in questions for _ in range(2)]  # two pairs of each question
    alpha = agreement_on_ratings(judgments, axis)
    return {
        "alpha of ratings": alpha.alpha.to_dict(),
        "reliability": dict(zip(both.annotators, both.reliability.round(3).tolist(), strict=True)),
        "human above bart": paired_difference(quality["human"], quality["bart"]).to_dict(),
        "human above bart-dpr": paired_difference(quality["human"], quality["bart-dpr"]).to_dict(),
        "bart-dpr above bart": paired_difference(quality["bart-dpr"], quality["bart"]).to_dict(),
        "width with ratings": mean_interval(widths["ratings"], of).to_dict(),
        "width with ratings and ranks": mean_interval(widths["both"], of).to_dict(),
        "change": paired_difference(widths["both"], widths["ratings"], of).to_dict(),
        "questions": len(questions),
        "counts": dict(both.counts),
        "converged": both.converged and ratings.converged,
    }


if __name__ == "__main__":
    main()
