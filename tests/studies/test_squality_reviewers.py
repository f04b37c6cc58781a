"""The study of SQuALITY's reviewers, on made-up reviews in its form."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from test_policy_studies import studied


def test_a_writer_who_is_rated_and_ranked_higher_is_better(tmp_path: Path) -> None:
    def reviews(number: int, writer: str, place: int) -> list[dict[str, object]]:
        value = (90, 60 + number, 20)[place]
        of_axes = {f"{axis}-rating": value for axis in ("overall", "correctness", "selection")}
        of_axes |= {f"{axis}-rank": place + 1 for axis in ("overall", "correctness", "selection")}
        return [{"worker_id": who, **of_axes} for who in ("a", "b", "c")]

    questions = {
        str(n): {w: {"reviews": reviews(n, w, i)} for i, w in enumerate(("human", "bart-dpr", "bart"))}
        for n in range(6)
    }
    with gzip.open(tmp_path / "data.jsonl.gz", "wt") as file:
        file.write(json.dumps({"passage-id": "p", "questions": questions}) + "\n")
    studied("squality_reviewers.py", "--data", tmp_path / "data.jsonl.gz", "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "squality_reviewers.json").read_text())["overall"]
    assert found["questions"] == 6
    assert found["counts"] == {"rating": 54, "ranking": 18}
    assert found["human above bart"]["low"] > found["bart-dpr above bart"]["high"] > 0
    assert found["alpha of ratings"]["estimate"] > 0.9
