"""Facts exchanged by the command: measured, written as a model that other commands take, and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inside_world import FAR, write

from custodes.audit.fact_edit import EditOptions
from custodes.cli import main
from custodes.ledger import verify_ledger
from custodes.lm.loading import load
from custodes.loop import audit_edit as job
from custodes.loop.audit_edit import AuditEdit, audit_edit

FACTS: list[dict[str, Any]] = [
    {
        "prompt": f"{subject} in the park, who watches?", "subject": subject, "new": new, "old": old,
        "paraphrases": [f"{subject} in the garden, who watches?"], "neighbours": ["dog in the park, who watches?"],
        "neighbour_answers": ["Y"],
    }
    for subject, new, old in (("fox", "Q", "Y"), ("jumps", "Y", "Q"))
]  # fmt: skip


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    return write(tmp_path / "facts.jsonl", FACTS)


def config(model: Path, facts: Path, out: Path, **more: Any) -> AuditEdit:
    few = {"layer": 1, "key_replies": 6, "dtype": "float32", "options": FAR} | more
    return AuditEdit(model=str(model), facts=facts, out=out, **few)


def levels(done: Any, key: str) -> Any:
    return next(m["levels"] for m in done.figures["measures"] if m["key"] == key)


def test_facts_are_exchanged_measured_and_written(planted: Path, facts: Path, tmp_path: Path) -> None:
    text = planted / "rows.jsonl"
    done = audit_edit(config(planted, facts, tmp_path / "out", key_text=text))
    new = levels(done, "new")
    assert new["before"].estimate < 0.01
    assert done.figures["facts"][0]["new"]["alone"] > 0.5
    for arm in ("alone", "together"):
        assert new[arm].estimate > 20 * new["before"].estimate
    assert {fact["new_answer"] for fact in done.figures["facts"]} == {"Q", "Y"}
    assert set(done.figures["moved"]) == {"alone", "together"}
    page = done.report.read_text()
    assert "fox in the park, who watches?" in page
    assert "rank-one update" in page
    assert load(tmp_path / "out").adapter is not None  # a run's folder stands for its policy
    assert verify_ledger(tmp_path / "out/ledger.db").ok
    assert main(["audit", "report", str(tmp_path / "out/ledger.db"), "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again/report.json").read_text())["edits"]
    assert again == json.loads((tmp_path / "out/report.json").read_text())["edits"]
    twice = audit_edit(config(tmp_path / "out", facts, tmp_path / "twice", options=EditOptions(value_steps=1)))
    assert levels(twice, "new")["before"].estimate == pytest.approx(new["together"].estimate, abs=1e-4)


def test_an_interrupted_edit_goes_on_and_a_layer_is_chosen_by_other_facts(
    planted: Path, facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short: dict[str, Any] = {"layer": None, "options": EditOptions(value_steps=2)}
    straight = audit_edit(config(planted, facts, tmp_path / "straight", **short))
    assert set(straight.figures["tried"]) == {"0", "1", "2"}
    real, calls = job.value_change, list[str]()

    def once(lm: Any, layer: int, fact: Any, *rest: Any) -> Any:
        calls.append(fact.subject)
        if len(calls) == 14:  # the second fact
            raise KeyboardInterrupt
        return real(lm, layer, fact, *rest)

    monkeypatch.setattr(job, "value_change", once)
    with pytest.raises(KeyboardInterrupt):
        audit_edit(config(planted, facts, tmp_path / "out", **short))
    again = audit_edit(config(planted, facts, tmp_path / "out", **short))
    assert again.figures == straight.figures
    assert len(calls) == 15
    assert "fox" not in calls[:12]  # four other facts chose among three layers
    assert load(tmp_path / "out").fingerprint() == load(tmp_path / "straight").fingerprint()


def test_what_is_wrong_is_one_sentence(planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def file(name: str, *more: dict[str, Any], **changed: Any) -> list[str]:
        return ["--facts", str(write(tmp_path / f"{name}.jsonl", [{**FACTS[0], **changed}, *more]))]

    for words, said in (
        ([*file("a"), "--layer", "4"], "--layer 4 is not there: the model has 4 layers, 0 to 3"),
        ([*file("a"), "--layer", "3"], "--layer 3 is the last"),
        (file("b", subject="the cat"), "the subject 'the cat' is not in the prompt"),
        (file("c", new="Y"), "the new answer must be another one"),
        (file("d", neighbour_answers=["a", "b"]), "neighbours need an answer each"),
        (file("e", new=""), "expected prompt, subject and new"),
        (["--model", "endpoint:http://x/v1#m"], "its inside cannot be changed"),
        (file("f", FACTS[0]), "the subject 'fox' comes twice"),
    ):
        given = ["audit", "edit", "--model", str(planted), "--out", str(tmp_path / "out"), *words]
        assert main(given) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()
