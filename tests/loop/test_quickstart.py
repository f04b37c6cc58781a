"""The whole loop on a tiny random model: that it closes, resumes, takes a person's own data, and says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from custodes.audit.disclosure import write_disclosure
from custodes.cli import main
from custodes.job.locks import alone_in
from custodes.ledger import Ledger, verify_ledger
from custodes.ledger.checking import check_ledger
from custodes.loop.quickstart import JUDGES, Quickstart, _optimisation, quickstart
from custodes.types import InputError, PreferencePair

sys.path.append(str(Path(__file__).parents[1] / "audit"))
from disclosure_world import project

HEADLINE = {
    "gold_base",
    "gold_optimised",
    "gold_gain_interval",
    "overoptimisation",
    "reward_accuracy",
    "reward_accuracy_interval",
    "annotator_rank_correlation",
    "seconds",
    "peak_memory_gb",
}
SMALL = {
    "judged_tasks": 24,
    "steps": 3,
    "evaluate_every": 2,
    "measure_on": 8,
    "compare_best_of": 4,
    "reward_epochs": 1,
    "members": 2,
    "max_tokens": 12,
    "threads": 1,
}


def small(tiny_model: Path, out: Path, **options: object) -> Quickstart:
    return Quickstart(**{"model": str(tiny_model), "out": out, **SMALL, **options})  # type: ignore[arg-type]


def report(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


@pytest.fixture(scope="module")
def straight(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight")
    quickstart(small(tiny_model, out, arms="all"))
    return out


def test_the_loop_closes_and_its_record_holds(straight: Path) -> None:
    assert set(report(straight)["headline"]) == HEADLINE
    assert report(straight)["headline"]["overoptimisation"] == {"careful": "unclear", "naive": "unclear"}  # of 8 tasks
    values = report(straight)["values"]
    assert sum(group["judges"] for group in values["groups"]) == values["annotators"] == sum(JUDGES.values())
    assert values["simulated"]
    assert "with the values brief" in " ".join(group["truth"] for group in values["groups"])
    assert "<script" not in (straight / "report.html").read_text()
    assert verify_ledger(straight / "ledger.db").ok
    with Ledger.open(straight / "ledger.db", read_only=True) as ledger:
        run = ledger.runs()[0]
        assert run.status == "completed"
        counts = ledger.summary(run.id)
        assert {m.kind for m in ledger.models(run.id)} == {"base", "reward", "policy"}
        assert counts["judgment"] > 0
        steps = list(ledger.evaluations(run.id, "policy_step"))
        assert {e.subject for e in steps} == {"naive", "careful"}
        assert len(steps) == 2 * SMALL["steps"]


def test_the_disclosure_stands_beside_the_report_and_with_a_project_most_lines_are_filled(
    straight: Path, tmp_path: Path
) -> None:
    told = json.loads((straight / "disclosure" / "disclosure.json").read_text())
    assert told["lines"]["reward.loss"]["value"]["careful reward"].startswith(
        str(report(straight)["taught"]["careful reward"]["used"]["pair"])
    )
    assert "parameters" in next(iter(told["lines"]["model.architecture"]["value"].values()))
    assert 'href="disclosure/disclosure.html"' in (straight / "report.html").read_text()
    project(tmp_path / "custodes.db").close()
    write_disclosure([str(straight), str(tmp_path / "custodes.db")], tmp_path / "both")
    survey = json.loads((tmp_path / "both" / "disclosure.json").read_text())["survey"]
    print(f"\n{survey['recorded']} of the survey's {survey['lines']} lines are filled from a quickstart and a project")
    assert survey["recorded"] >= 0.6 * survey["lines"]


def test_an_arm_has_its_own_defaults_and_options_and_the_record_says_which(
    straight: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Quickstart()
    assert usual.of_arm("kl_coefficient", "naive") == 0 < usual.of_arm("kl_coefficient", "careful")
    assert usual.of_arm("kl_budget", "naive") is None
    assert usual.of_arm("kl_budget", "careful") == 2 < Quickstart(kl_budget=3.0).of_arm("kl_budget", "naive") == 3
    assert usual.of_arm("learning_rate", "naive") > usual.of_arm("learning_rate", "careful")
    assert (
        _optimisation(Quickstart(algorithm="best_of_n"), "careful").kl_budget is None
    )  # draws from the reference alone
    for fast, factor in ((True, 2), (False, 1)):
        monkeypatch.setattr("custodes.loop.quickstart.multiplies_bfloat16", lambda fast=fast: fast)
        assert [usual.of_arm("steps", arm) for arm in ("naive", "careful")] == [20 * factor, 16 * factor]
    both = small(
        tiny_model, tmp_path / "out", arms="all", naive_steps=2, steps=1, learning_rate=1e-3, naive_kl_coefficient=0.5
    )
    quickstart(both)
    with Ledger.open(tmp_path / "out" / "ledger.db", read_only=True) as ledger:
        made = {m.name: m.metadata for m in ledger.models(ledger.runs()[0].id) if m.kind == "policy"}
    of = {"algorithm": "ppo", "learning_rate": 1e-3}
    assert made["naive policy"] == of | {"steps": 2, "kl_coefficient": 0.5}
    assert made["careful policy"] == of | {"steps": 1, "kl_coefficient": 0.02}
    assert list(report(tmp_path / "out")["arms"]["settings"]) == ["careful", "naive"]


def test_arms_meet_the_same_tasks_samples_and_base_policy(straight: Path) -> None:
    with Ledger.open(straight / "ledger.db", read_only=True) as ledger:
        run = ledger.runs()[0].id
        heldout = list(ledger.evaluations(run, "policy_heldout"))
    base = [e.metrics for e in heldout if e.metrics["step"] == 0]
    assert len(base) == 2
    assert base[0]["episode"] == base[1]["episode"]
    assert all(e.metrics["task"] == base[0]["task"] for e in heldout)


def test_no_policy_and_no_reward_sees_held_out_topics(straight: Path) -> None:
    with Ledger.open(straight / "ledger.db", read_only=True) as ledger:
        run = ledger.runs()[0].id
        trained_on = {s.episode for arm in ("naive", "careful") for s in ledger.scores(run, f"{arm} reward")}
        episodes = {e.id: e for e in ledger.episodes(run)}
        evaluated = {i for e in ledger.evaluations(run, "policy_heldout") for i in e.metrics["episode"]}
    splits = {episodes[i].task.metadata["split"] for i in trained_on - evaluated}
    assert splits == {"train"}


def test_run_again_it_changes_nothing(straight: Path, tiny_model: Path) -> None:
    before = report(straight)["headline"]
    quickstart(small(tiny_model, straight, arms="all"))
    after = report(straight)["headline"]
    for name in HEADLINE - {"seconds", "peak_memory_gb"}:
        assert after[name] == before[name], name


def test_killed_anywhere_it_goes_on_to_the_same_result(straight: Path, tiny_model: Path, tmp_path: Path) -> None:
    options = {**SMALL, "arms": "all", "model": str(tiny_model), "out": str(tmp_path)}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "custodes", "quickstart", *flags]
    for rows in (40, 400):  # while the base policy answers; while the first policy learns
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        while process.poll() is None and _rows(tmp_path) < rows * 10:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    expected, found = report(straight)["headline"], report(tmp_path)["headline"]
    for name in HEADLINE - {"seconds", "peak_memory_gb"}:
        assert found[name] == expected[name], name
    assert verify_ledger(tmp_path / "ledger.db").ok


def _rows(out: Path) -> int:
    import sqlite3

    try:
        with sqlite3.connect(f"file:{out / 'ledger.db'}?mode=ro", uri=True) as ledger:
            return ledger.execute("select count(*) from log").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def test_what_a_report_rests_on_cannot_be_changed_unseen(
    straight: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    assert check_ledger(out / "ledger.db").ok
    weights = next((out / "reward" / "careful").rglob("*.safetensors"))
    right = weights.read_bytes()
    weights.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    assert main(["verify", str(out / "ledger.db")]) == 1
    assert weights.name in capsys.readouterr().out
    assert main(["audit", "report", str(out / "ledger.db"), "--out", str(tmp_path / "report")]) == 2
    assert weights.name in capsys.readouterr().err
    with pytest.raises(InputError, match=weights.name):
        quickstart(small(tiny_model, out, arms="all"))
    weights.write_bytes(right)
    assert main(["audit", "report", str(out / "ledger.db"), "--out", str(out)]) == 0
    assert main(["verify", str(out / "ledger.db")]) == 0


def test_a_deleted_ledger_leaves_a_hole_in_the_report(straight: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    for file in out.glob("ledger.db*"):
        file.unlink()
    with pytest.warns(UserWarning, match="follows row"):
        quickstart(small(tiny_model, out, arms="all"))
    missing = report(out)["missing"]
    for arm in ("careful", "naive"):
        assert any(f"policy/{arm}/checkpoints/step-000003 follows row" in m for m in missing)
        assert any(f"reward/{arm}/" in m and "before the record began" in m for m in missing)
    assert check_ledger(out / "ledger.db").problems


def test_a_persons_own_preferences_and_prompts(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"Say something about {i}.", "chosen": f"{i} is a number.", "rejected": "no"} for i in range(60)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    quickstart(small(tiny_model, tmp_path / "out", judgments=file, measure_on=8))
    headline = report(tmp_path / "out")["headline"]
    assert headline["gold_base"] is None  # nobody knows the truth of a person's own prompts
    assert headline["reward_accuracy"] is not None


def test_what_cannot_be_run_is_said_in_one_sentence(straight: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps = 3, now it is 4"):
        quickstart(small(tiny_model, straight, arms="all", steps=4))
    with pytest.raises(InputError, match="nobody can judge"):
        quickstart(small(tiny_model, tmp_path, tasks=tmp_path / "prompts.jsonl"))
    with pytest.raises(InputError, match="does not exist"):
        quickstart(small(tiny_model, tmp_path, judgments=tmp_path / "nothing.jsonl"))
    with pytest.raises(InputError, match="steps is 0; it must be 1 or more"):
        quickstart(small(tiny_model, tmp_path, steps=0))
    (blocked := tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        quickstart(small(tiny_model, blocked))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kl_budget": -1.0}, "kl_budget is -1.0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"model": "notok"}, "no model 'notok'"),
    ],
)
def test_a_wrong_option_claims_no_folder(tiny_model: Path, tmp_path: Path, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        quickstart(small(tiny_model, tmp_path / "out", **wrong))
    assert not (tmp_path / "out").exists()


def test_a_run_that_recorded_nothing_leaves_the_folder_to_other_options(tiny_model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_model, damaged)
    (damaged / "model.safetensors").write_bytes(b"nothing")
    out = tmp_path / "out"
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        quickstart(small(damaged, out))
    quickstart(small(tiny_model, out, steps=1))
    assert report(out)["headline"]["gold_optimised"] is not None
    with pytest.raises(InputError, match="holds a run with steps = 1"):
        quickstart(small(tiny_model, out, steps=2))


def test_two_processes_do_not_share_a_folder(tiny_model: Path, tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(InputError, match="in use by another process"):
        quickstart(small(tiny_model, tmp_path))


GOOD = [{"prompt": f"Say {i}.", "chosen": f"{i}, certainly.", "rejected": "no"} for i in range(60)]
TOO_LONG = {"prompt": "Say 3.", "chosen": "fox " * 700, "rejected": "no"}


@pytest.mark.parametrize("arm", ["naive", "careful"])
@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"prompt": "Say \x01"}', "row 3: not valid JSON"),
        (json.dumps({"prompt": "Say 3.", "chosen": " ", "rejected": "no"}), "row 3, field 'chosen': the completion is empty"),
        (json.dumps({"prompt": "Say 3.", "chosen": "no", "rejected": "no"}), "row 3: chosen and rejected are identical"),
        (json.dumps(TOO_LONG), "row 3, chosen: the completion has"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named_in_one_sentence(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, said: str, arm: str
) -> None:
    lines = [json.dumps(r) for r in GOOD]
    lines[2] = row
    (file := tmp_path / "mine.jsonl").write_text("\n".join(lines))
    command = ["quickstart", "--judgments", str(file), "--model", str(tiny_model), "--out", str(tmp_path / "out")]
    assert main([*command, "--arm", arm]) == 2
    shown = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Model and tasks")]
    assert len(shown) == 1
    assert said in shown[0]
    if (tmp_path / "out" / "ledger.db").exists():  # begun, but nothing that binds the folder
        with Ledger.open(tmp_path / "out" / "ledger.db", read_only=True) as ledger:
            assert ledger.summary(ledger.runs()[-1].id) == {"evaluation": 1}


def test_a_file_of_judgments_that_is_not_there(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = ["quickstart", "--judgments", str(tmp_path / "none.jsonl"), "--model", str(tiny_model)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert f"custodes: {tmp_path}/none.jsonl does not exist; give " in capsys.readouterr().err


STATED = {"label": 0.6, "weight": 2.0, "margin": 3.0}


@pytest.mark.parametrize("arm", ["naive", "careful"])
def test_what_a_file_states_is_what_the_reward_is_trained_on(
    arm: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[PreferencePair] = []

    def stop(lm: object, pairs: list[PreferencePair], *given: object, **more: object) -> None:
        taken.extend(pairs)
        raise InputError("the pairs are known")

    monkeypatch.setattr("custodes.loop.quickstart.train_reward", stop)
    rows = [{"prompt": f"Say {i}.", "chosen": f"{i} is a number.", "rejected": "no", **STATED} for i in range(30)]
    rows += [{"prompt": f"Say {i}.", "chosen": "no", "rejected": f"{i} is a number.", "weight": 0.0} for i in range(30)]
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(InputError, match="the pairs are known"):
        quickstart(small(tiny_model, tmp_path / "out", judgments=str(file), arm=arm))
    assert len(taken) == 23  # a quarter of the prompts is kept out
    assert {p.chosen[0].content[-6:] for p in taken} == {"umber."}
    assert {round(p.label, 6) for p in taken} == {0.6}
    assert {p.margin for p in taken} == {3.0}
    assert all(p.weight == 2.0 if arm == "naive" else p.weight > 0 for p in taken)


def test_judgments_without_prompts_leave_a_policy_without_tasks(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps({"chosen": f"Yes {i}.", "rejected": f"No {i}."}) for i in range(24)))
    with pytest.raises(InputError, match=r"mine\.jsonl holds no prompts, .* give them with --tasks"):
        quickstart(small(tiny_model, tmp_path / "out", judgments=str(file)))
