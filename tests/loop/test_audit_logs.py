"""Alarms on logs of other trainers: TRL's own (made by TRL, see trainer_logs/), verl's forms, and logs that lack columns."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from custodes.audit.sections.alarms import alarm_sentences
from custodes.cli import main
from custodes.ledger import verify_ledger
from custodes.loop.audit_logs import AuditLogs, audit_logs
from custodes.loop.trainer_logs import read_trainer_logs
from custodes.policy.alarm import SIMULATED_RUNS
from custodes.types import InputError

TRL = Path(__file__).parent / "trainer_logs"


def test_the_logs_of_trl_ring_where_replies_became_one_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "logs", TRL / "trainer_state.json", "--rollouts", TRL / "completions", "--out", tmp_path / "out"]
    assert main([*map(str, words), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    alarms = told["alarms"]
    assert 11 <= alarms["repetition"]["rang"] <= 20
    assert 6 <= alarms["kl"]["rang"] <= 16  # 10 nats at step 8; it needs no base policy and watches from the beginning
    assert alarms["length"]["rang"] is None  # from 23 to 24 tokens, where replies are cut
    assert "proxy_std" in alarms["disagreement"]["why_not"]
    assert "no labels" in alarms["accuracy"]["why_not"]
    assert told["level"] == 0.05
    assert len(alarms["length"]["trace"]) == 24 - 10
    page = (tmp_path / "out/report.html").read_text()
    assert "repetition" in page
    assert json.loads((tmp_path / "out/report.json").read_text())["alarms"]
    assert verify_ledger(tmp_path / "out/ledger.db").ok
    assert main([*map(str, words)]) == 0  # again: the same
    assert "The alarm repetition rang" in capsys.readouterr().out


def test_a_log_alone_is_enough_for_what_it_holds(tmp_path: Path) -> None:
    figures = audit_logs(AuditLogs(log=TRL / "trainer_state.json", out=tmp_path / "out")).figures["alarms"]
    assert figures["kl"]["rang"] is not None
    assert figures["length"]["why_not"] == ""
    assert "--rollouts" in figures["repetition"]["why_not"]


def verl(folder: Path, steps: int = 30, turn: int = 20) -> tuple[Path, Path]:
    """A file log and rollouts as verl writes them; from step ``turn`` on replies are long and repeat themselves."""
    rng, rollouts = np.random.default_rng(0), folder / "rollouts"
    rollouts.mkdir()
    lines = []
    for step in range(1, steps + 1):
        long = step >= turn
        data = {
            "response_length/mean": float(rng.normal(200 if long else 60, 3)),
            "actor/kl_loss": 0.001 * step,
            "actor/entropy": 1.0,
            "critic/score/mean": 0.5,
        }
        lines.append(json.dumps({"step": step, "data": data}))
        replies = []
        for k in range(16):
            words = ["very"] * 60 if long else [f"w{i}" for i in rng.integers(0, 400, 20)]
            row = {
                "input": f"question {k // 2 + 8 * (step % 3)}",
                "output": " ".join(words),
                "gts": "",
                "score": 1.0,
                "step": step,
            }
            replies.append(json.dumps(row))
        (rollouts / f"{step}.jsonl").write_text("\n".join(replies) + "\n")
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "metrics.jsonl", rollouts


def test_the_logs_of_verl(tmp_path: Path) -> None:
    log, rollouts = verl(tmp_path)
    figures = audit_logs(AuditLogs(log=log, rollouts=rollouts, out=tmp_path / "out")).figures["alarms"]
    assert 20 <= figures["length"]["rang"] <= 24
    assert 20 <= figures["repetition"]["rang"] <= 24
    assert figures["kl"]["rang"] is None  # at most .03 nats a token, 6 a reply
    assert figures["kl"]["trace"]


def test_what_logs_lack_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("step,response_length/mean\n" + "".join(f"{i},{60 + i % 3}\n" for i in range(1, 31)))
    alarms = audit_logs(AuditLogs(log=log, out=tmp_path / "out")).figures["alarms"]
    assert "objective/kl" in alarms["kl"]["why_not"]
    assert alarms["length"]["rang"] is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"step": 1, "loss": 2.0}\n' * 20, "nothing that an alarm watches"),
        ("".join(f'{{"step": {i}, "kl": 0.1, "length": 9}}\n' for i in range(1, 9)), "there is none left to watch"),
        ('{"kl": 0.1}\n' * 20, "it must be a number of a step"),
        ('{"eval_loss": 0.1, "step": 3}\n', "no training step"),
    ],
)
def test_logs_that_cannot_be_watched_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(InputError, match=sentence):
        audit_logs(AuditLogs(log=tmp_path / "log.jsonl", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_rollouts_without_replies_are_named_by_file_and_column(tmp_path: Path) -> None:
    log, _ = verl(tmp_path)
    (tmp_path / "replies.jsonl").write_text('{"step": 1, "prompt": "a", "answer": "b"}\n')
    with pytest.raises(InputError, match=r"replies\.jsonl, row 1 has no column completion or output"):
        audit_logs(AuditLogs(log=log, rollouts=tmp_path / "replies.jsonl", out=tmp_path / "out"))


@pytest.mark.parametrize("form", ["plain", "bom", "utf-16", "gz"])
def test_a_state_of_trl_is_read_however_it_was_saved(tmp_path: Path, form: str) -> None:
    text = (TRL / "trainer_state.json").read_text()
    coded = {"bom": "utf-8-sig", "utf-16": "utf-16"}.get(form, "utf-8")
    log = tmp_path / ("state.json.gz" if form == "gz" else "state.json")
    log.write_bytes(gzip.compress(text.encode()) if form == "gz" else text.encode(coded))
    assert read_trainer_logs(log, None).steps == read_trainer_logs(TRL / "trainer_state.json", None).steps


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"log_history": "none", "epoch": 1}', "log_history is no list of steps"),
        ('{"log_history": [{"step": 1, "step": 2}], "epoch": 1}', "stands twice"),
        ("[" * 100_000, "too deep"),
        ('[{"step": true, "kl": 1, "length": 3}]', "the column step is True"),
        ('[{"step": 1%s, "kl": 1, "length": 3}]' % ("0" * 400), "it must be a number of a step"),
        ('[{"step": 1, "kl": true}]', "no finite number"),
    ],
)
def test_a_state_that_is_damaged_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_trainer_logs(tmp_path / "state.json", None)


def test_an_alarm_that_saw_nothing_is_not_called_silent(tmp_path: Path) -> None:
    log, rollouts = verl(tmp_path, turn=99)
    for step in range(11, 31):
        (rollouts / f"{step}.jsonl").unlink()
    figures = audit_logs(AuditLogs(log=log, rollouts=rollouts, out=tmp_path / "out")).figures
    sentences = alarm_sentences(figures)
    assert "These alarms had too little to judge by: repetition." in sentences
    assert "These alarms were silent: kl, length." in sentences


def test_no_level_is_promised_that_the_simulation_cannot_tell(tmp_path: Path) -> None:
    assert SIMULATED_RUNS * 0.001 >= 2  # of both sides
    with pytest.raises(InputError, match=r"option alarm_level is 0\.0005; it must be 0\.001 or more"):
        AuditLogs(log=TRL / "trainer_state.json", out=tmp_path / "out", alarm_level=0.0005)
