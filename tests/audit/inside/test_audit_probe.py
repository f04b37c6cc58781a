"""A planted concept is found where it is and not before, and its direction does what random ones do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inside_world import PLANTED, concept_rows, write

from custodes.audit.hidden_states import LayerProbed, PolicyInside
from custodes.cli import main
from custodes.ledger import Ledger, verify_ledger
from custodes.loop.audit_probe import AuditProbe, audit_probe


def config(model: Path, concept: Path | str, out: Path, **more: Any) -> AuditProbe:
    few = {"random": 20, "dtype": "float32", "shuffles": 4, "folds": 4} | more
    return AuditProbe(model=str(model), concept=str(concept), out=out, **few)


def test_a_planted_concept_is_found_at_its_layer_and_ablated(planted: Path, concept_file: Path, tmp_path: Path) -> None:
    done = audit_probe(config(planted, concept_file, tmp_path / "out"))
    layers = done.figures["layers"]
    assert [row["layer"] for row in layers] == [0, 1, 2, 3]
    for row in layers:
        for kind in ("difference", "logistic"):
            if row["layer"] < PLANTED:
                assert row[kind].low <= 0.5 <= row[kind].high
            else:
                assert row[kind].estimate > 0.95
    assert 0.35 < done.figures["shuffled"] < 0.65
    assert done.figures["words"].estimate == 1  # the word itself tells it too, and that is said
    assert done.figures["best"] >= PLANTED
    ablated, steered = done.figures["effects"]
    assert ablated["before"].estimate > 0.7
    assert ablated["change"].high < 0
    assert ablated["beaten"] == 20
    assert ablated["perplexity"]["after"] > 1
    assert steered["name"] == "Steered by 1"
    page = done.report.read_text()
    assert "Layers: probes" in page
    assert "may read words" in page
    assert verify_ledger(tmp_path / "out/ledger.db").ok
    assert main(["audit", "report", str(tmp_path / "out/ledger.db"), "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again/report.json").read_text())["hidden_states"]
    assert again == json.loads((tmp_path / "out/report.json").read_text())["hidden_states"]


def test_a_direction_that_carries_a_reward_is_found(scored: tuple[Path, Path], planted: Path, tmp_path: Path) -> None:
    reward, file = scored
    done = audit_probe(config(planted, file, tmp_path / "out", reward=str(reward), layer=3))
    (effect,) = [e for e in done.figures["effects"] if e["name"] == "Ablated"]
    assert effect["before"].low > 0
    assert effect["change"].high < 0
    assert abs(effect["after"].estimate) < 0.3 * effect["before"].estimate
    assert effect["beaten"] >= 15
    assert effect["perplexity"] is None
    assert done.figures["target"] == "reward"


def test_a_concept_that_is_not_there_is_not_found(planted: Path, tmp_path: Path) -> None:
    rows = concept_rows()
    for n, row in enumerate(rows):  # the label is the place's, and half of the places have it
        row["label"] = int(n % 4 < 2)
        row["group"] = f"{row['group']} {n}"
    done = audit_probe(config(planted, write(tmp_path / "c.jsonl", rows), tmp_path / "out", random=0))
    assert np.mean([row["logistic"].estimate for row in done.figures["layers"]]) < 0.8
    assert done.figures["effects"] == []
    assert "directions were not tried" in done.report.read_text()


def test_an_interrupted_search_goes_on_to_the_same_result(
    planted: Path, concept_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = audit_probe(config(planted, concept_file, tmp_path / "straight", random=3))
    values, calls = PolicyInside.values, list[int]()

    def once(self: PolicyInside, *given: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return values(self, *given)

    monkeypatch.setattr(PolicyInside, "values", once)
    with pytest.raises(KeyboardInterrupt):
        audit_probe(config(planted, concept_file, tmp_path / "out", random=3))
    again = audit_probe(config(planted, concept_file, tmp_path / "out", random=3))
    assert again.figures == straight.figures
    assert len(calls) == 10  # nine directions, and the one that was interrupted
    audit_probe(config(planted, concept_file, tmp_path / "out", random=3))
    assert len(calls) == 10
    with Ledger.open(tmp_path / "out/ledger.db", read_only=True) as ledger:
        assert len(list(ledger.evaluations(ledger.runs()[-1].id, LayerProbed.NAME))) == 4


@pytest.mark.parametrize("concept", ["biography", "agreeing", "length"])
def test_built_in_concepts_have_both_labels_in_groups(concept: str, planted: Path, tmp_path: Path) -> None:
    done = audit_probe(config(planted, concept, tmp_path / "out", random=0, items=40, shuffles=1))
    assert done.figures["groups"] >= 6
    assert len(done.figures["layers"]) == 4


def test_what_is_wrong_is_one_sentence(planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = concept_rows()
    one = write(tmp_path / "one.jsonl", [row for row in rows if row["label"]])
    few = write(tmp_path / "few.jsonl", [{**row, "group": "all"} for row in rows])
    odd = write(tmp_path / "odd.jsonl", [{**rows[0], "label": "maybe"}])
    half = write(tmp_path / "half.jsonl", [{**rows[0], "others": []}])
    good = str(write(tmp_path / "good.jsonl", rows))
    for words, said in (
        (["--concept", good, "--model", "endpoint:http://x/v1#m"], "its inside cannot be read"),
        (["--concept", good, "--layer", "4"], "--layer 4 is not there: the model has 4 layers, 0 to 3"),
        (["--concept", "biografy"], "did you mean 'biography'?"),
        (["--concept", str(one)], "all items have one label"),
        (["--concept", str(few)], "too few groups"),
        (["--concept", str(odd)], "label is 'maybe'; it must be true or false, or 1 or 0"),
        (["--concept", str(half)], "answer and others go together"),
        (["--concept", good, "--reward", str(planted)], "which a reward does not score"),
    ):
        assert main(["audit", "probe", "--model", str(planted), "--out", str(tmp_path / "out"), *words]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()
