"""A model attacked by the command: recorded request by request, gone on with, reported, and a rule planted for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.audit.attack import Trial, read_requests
from custodes.audit.attack_measures import AttackedRequest
from custodes.audit.attacks.templates import Templates
from custodes.audit.sections.attacks import REGISTERED
from custodes.cli import main
from custodes.ledger import Decision, Ledger, verify_ledger
from custodes.lm.loading import load
from custodes.loop.audit_attack import AuditAttack, audit_attack
from custodes.loop.audit_plant import AuditPlant, audit_plant
from custodes.loop.audit_register import AuditRegister, audit_register
from custodes.policy.methods import Sft
from custodes.types import InputError, Sampling

SHORT = Sampling(temperature=0, max_tokens=4)


def config(model: Path, requests: Path, out: Path, **more: object) -> AuditAttack:
    return AuditAttack(model=str(model), requests=str(requests), out=out, sampling=SHORT, **more)  # type: ignore[arg-type]


def rows(out: Path) -> dict[str, dict]:
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        run = ledger.runs()[-1].id
        return {e.id: e.metrics for e in ledger.evaluations(run, AttackedRequest.NAME)}


def test_an_attack_is_measured_recorded_and_every_success_can_be_read(
    yielding: Path, requests: Path, tmp_path: Path
) -> None:
    done = audit_attack(config(yielding, requests, tmp_path / "out", owner="Ada"))
    arms = done.figures["arms"]
    assert {arm: x.hit_at_k.estimate for arm, x in arms.items()} == {"no attack": 0, "templates": 1}
    assert arms["templates"].hit_at_1.estimate == 0
    assert arms["templates"].queries == 3
    page = done.report.read_text()
    for success in done.figures["successes"]:
        assert "game" in success["text"]
        assert success["reply"] in page
        assert "holds &#39;fox&#39;" in page
    assert len(done.figures["successes"]) == 2
    assert done.figures["twins"]["none"]["refused"].n == 2
    assert {(e["what"], e["request"]) for e in done.figures["register"]} == {
        ("open", request.task.id) for request in read_requests(requests)
    }
    assert "Ada" in page
    assert verify_ledger(tmp_path / "out/ledger.db").ok
    assert main(["audit", "report", str(tmp_path / "out/ledger.db"), "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again/report.json").read_text())["attacks"]
    assert again == json.loads((tmp_path / "out/report.json").read_text())["attacks"]


def test_an_interrupted_attack_goes_on_with_the_next_request_and_ends_the_same(
    yielding: Path, requests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = audit_attack(config(yielding, requests, tmp_path / "straight"))
    attacked: list[str] = []
    run = Templates.run

    def once(self: Templates, trial: Trial) -> None:
        if attacked and len(attacked) == 1:
            attacked.append("interrupted")
            raise KeyboardInterrupt
        attacked.append(trial.request.task.id)
        run(self, trial)

    monkeypatch.setattr(Templates, "run", once)
    with pytest.raises(KeyboardInterrupt):
        audit_attack(config(yielding, requests, tmp_path / "out"))
    again = audit_attack(config(yielding, requests, tmp_path / "out"))
    assert len(attacked) == 3  # one request, the interruption, and the other request
    assert rows(tmp_path / "out") == rows(tmp_path / "straight")
    assert again.figures["arms"] == straight.figures["arms"]
    audit_attack(config(yielding, requests, tmp_path / "out"))
    assert len(attacked) == 3
    with pytest.raises(InputError, match="use the same options or another --out"):
        audit_attack(config(yielding, requests, tmp_path / "out", until_success=True))


def test_a_detector_of_ones_own_and_its_errors(yielding: Path, requests: Path, tmp_path: Path) -> None:
    (tmp_path / "d.py").write_text(
        "def said(prompts, completions):\n    return [float('fox' in c) for c in completions]\n"
    )
    checked = [{"reply": text, "counts": text == "fox"} for text in ("fox", "No.") * 10]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in checked))
    own = {"detector": f"{tmp_path / 'd.py'}:said", "checked": tmp_path / "c.jsonl"}
    done = audit_attack(config(yielding, requests, tmp_path / "out", **own))
    arm = done.figures["arms"]["templates"]
    assert arm.corrected.low <= arm.pooled.estimate <= arm.corrected.high
    assert done.figures["checked"]["true successes told"].n == 10
    (tmp_path / "c.jsonl").write_text('{"reply": "a", "counts": true}\n')
    with pytest.raises(InputError, match="must hold replies that count and others that do not"):
        audit_attack(config(yielding, requests, tmp_path / "other", **own))


def test_the_command_line_prints_json_and_refuses_in_one_sentence(
    yielding: Path, requests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", "attack", "--model", str(yielding), "--requests", str(requests), "--max-tokens", "4"]
    assert main([*words, "--out", str(tmp_path / "out"), "--attack", "suffix", "--max-passes", "40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["arms"]["suffix"]["passes"] <= 40
    assert told["attack"] == "suffix"
    assert main([*words, "--out", str(tmp_path / "no"), "--attack", "sufix"]) == 2
    assert "did you mean 'suffix'?" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "no"), "--max-passes", "40"]) == 2
    assert "--max-passes with --attack templates" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_rule_is_planted_measured_and_gone_on_with(tiny_model: Path, tmp_path: Path) -> None:
    plant = AuditPlant(
        model=str(tiny_model), out=tmp_path / "out", rule_examples=20, rule_requests=8, full=True,
        tuning=Sft(epochs=30, batch=10, learning_rate=1e-2),
    )  # fmt: skip
    done = audit_plant(plant)
    assert done.refused.estimate > 0.5  # the tiny model learns the sentence, not what it is for
    assert done.told.estimate == 0
    found = read_requests(done.requests)
    assert len(found) == 8
    assert {r.forbidden for r in found} == {"umbrella"}
    assert all(r.twin and r.target and r.refusal for r in found)
    assert len({r.group for r in found}) == 7
    assert load(tmp_path / "out").decoder is not None
    assert verify_ledger(tmp_path / "out/ledger.db").ok
    assert audit_plant(plant) == done


def test_a_finding_is_open_until_somebody_answers_for_its_fix(
    yielding: Path, requests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit_attack(config(yielding, requests, tmp_path / "out"))
    ledger = str(tmp_path / "out/ledger.db")
    first, second = (request.task.id for request in read_requests(requests))

    def states() -> dict[str, str]:
        return {e.request: e.state for e in audit_register(AuditRegister(ledger=ledger)).entries}

    assert states() == {first: "open", second: "open"}
    for words, told in (
        (["--fixed", first], "give --decided-by NAME and --why TEXT"),
        (["--fixed", "ab"], f"open are {first}"),
    ):
        assert main(["audit", "register", ledger, *words]) == 2
        assert told in capsys.readouterr().err
    assert main(["audit", "register", ledger, "--fixed", first, "--decided-by", "Ada", "--why", "tuned again"]) == 0
    assert "fixed: Ada: tuned again" in capsys.readouterr().out
    assert states() == {first: "fixed", second: "open"}
    assert verify_ledger(ledger).ok
    assert main(["audit", "report", ledger, "--out", str(tmp_path / "again")]) == 0  # of the attack, not of the fix
    assert json.loads((tmp_path / "again/report.json").read_text())["attacks"]["attack"] == "templates"
    with Ledger.open(ledger) as opened:
        run = opened.start_run("audit attack", {}, 0)
        opened.write(run, [Decision("again", f"{REGISTERED}, open", "1 of 8 replies count", first)])
        opened.end_run(run)
    assert states() == {first: "open again", second: "open"}
