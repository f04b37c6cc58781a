"""Tuning on demonstrations and on preferences: what is measured on what was held out, and that it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from custodes.audit.sections.tuning import Tuned, _claims
from custodes.cli import main
from custodes.ledger import Ledger, verify_ledger
from custodes.lm.loading import load
from custodes.loop.policy_compare import PolicyCompare, policy_compare
from custodes.loop.policy_tune import PolicyTune, policy_tune
from custodes.policy.methods import Conditional, Dpo, Ipo, Kto, Sft
from custodes.policy.tuning import TuneMethod
from custodes.types import InputError, Sampling


@pytest.fixture
def world(tmp_path: Path) -> Path:
    def write(name: str, rows: list[dict]) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("shown.jsonl", [{"prompt": f"Say {i}.", "completion": f"{i}, the lazy dog."} for i in range(40)])
    write(
        "talks.jsonl",
        [
            {"messages": [{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": "So."}]}
            for i in range(40)
        ],
    )
    write(
        "pairs.jsonl",
        [{"prompt": f"Say {i}.", "chosen": f"{i}, the lazy dog.", "rejected": f"fox {i}"} for i in range(40)],
    )
    write(
        "labels.jsonl",
        [
            {"prompt": f"Say {i}.", "completion": f"{i}, the lazy dog." if i % 2 else f"fox {i}", "label": bool(i % 2)}
            for i in range(40)
        ],
    )
    write(
        "ratings.jsonl",
        [
            {"prompt": f"Say {i}.", "generations": [f"{i}, the lazy dog.", f"so {i}", f"fox {i}"], "ratings": [5, 3, 2]}
            for i in range(40)
        ],
    )
    return tmp_path


def config(world: Path, model: Path, method: TuneMethod, file: str, **more: object) -> PolicyTune:
    out = Path(str(more.pop("out", world / "out")))
    return PolicyTune(out=out, judgments=str(world / file), model=str(model), method=method, held_out=0.2, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("file", ["shown.jsonl", "talks.jsonl"])
def test_demonstrations_are_learned_and_measured_on_those_held_out(world: Path, tiny_model: Path, file: str) -> None:
    done = policy_tune(config(world, tiny_model, Sft(epochs=3, batch=8, learning_rate=1e-2), file))
    assert done.examples == 32
    assert done.updates == 12
    assert done.measured["loss fell by"].n == 8
    assert done.measured["loss fell by"].low > 0
    assert load(world / "out").adapter is not None
    assert verify_ledger(world / "out" / "ledger.db").ok
    assert (world / "out" / "report.html").exists()
    with Ledger.open(world / "out" / "ledger.db", read_only=True) as ledger:
        (row,) = ledger.evaluations(ledger.runs()[-1].id, "tuning")
    assert len(row.metrics["updates"]) == 12
    report = json.loads((world / "out/report.json").read_text())
    assert [x["n"] for x in report["tuning"]["sft"]["likelihood"]["Reply"]] == [8, 8]
    assert any("loss on held-out replies fell with sft" in claim for claim in report["claims"])
    assert "<b>sft</b> in 12 updates" in (world / "out/report.html").read_text()


@pytest.mark.parametrize(
    "method", [Dpo(epochs=3, batch=8, learning_rate=1e-2), Ipo(epochs=3, batch=8, learning_rate=1e-2)]
)
def test_preferences_say_how_often_and_what_each_reply_gained(
    world: Path, tiny_model: Path, method: TuneMethod
) -> None:
    measured = policy_tune(config(world, tiny_model, method, "pairs.jsonl")).measured
    assert measured["accuracy"].estimate == 1
    assert measured["margin"].estimate == pytest.approx(
        measured["chosen gained"].estimate - measured["rejected gained"].estimate
    )
    assert measured["margin"].low > 0
    tuning = json.loads((world / "out/report.json").read_text())["tuning"][method.name]
    assert {name: x["estimate"] for name, x in tuning["measured"].items()} == pytest.approx(
        {name: x.estimate for name, x in measured.items()}
    )
    for side in ("chosen", "rejected"):
        before, after = (x["estimate"] for x in tuning["likelihood"][side.capitalize()])
        assert after - before == pytest.approx(measured[f"{side} gained"].estimate)
    assert {"loss", "accuracy", "margin", "chosen", "rejected"} <= tuning["curves"].keys()
    assert (world / "out/report.html").read_text().count("along the steps.") >= 10  # each title stands twice


@pytest.mark.parametrize(
    ("file", "threshold", "examples"),
    [("labels", None, 32), ("pairs", None, 64), ("ratings", None, 64), ("ratings", 3, 96)],
)
def test_kto_learns_from_labels_from_ratings_with_a_threshold_and_from_comparisons(
    world: Path, tiny_model: Path, file: str, threshold: float | None, examples: int
) -> None:
    """The middle of a scale says nothing, unless the threshold says what it is."""
    method = Kto(epochs=3, batch=8, learning_rate=1e-2, desirable_from=threshold)
    done = policy_tune(config(world, tiny_model, method, f"{file}.jsonl"))
    assert done.examples == examples
    assert done.measured["ranked rightly"].estimate > 0.9
    assert done.measured["desirable gained"].low > done.measured["undesirable gained"].high
    told = json.loads((world / "out/report.json").read_text())
    assert {"loss", "desirable", "undesirable", "kl"} <= told["tuning"]["kto"]["curves"].keys()
    assert any("desirable reply gained more than an undesirable one" in claim for claim in told["claims"])


def test_the_report_says_that_chosen_replies_lost_likelihood_too() -> None:
    """Where the interval of what they gained is below 0, and not where it holds 0."""
    told = {}
    for loss in (-3.0, 0.0):
        before, spread = [-20.0] * 12, np.linspace(-1, 1, 12)
        after = (np.array(before) + loss + spread).tolist()
        row = Tuned(
            examples=12, updates=[{"loss": 1.0}], task=[str(i) for i in range(12)], tokens=[9] * 12, before=before,
            after=after, rejected_before=before, rejected_after=[-40.0] * 12, label=[1.0] * 12,
        )  # fmt: skip
        told[loss] = _claims("dpo", row.measured())
    assert len(told[-3.0]) == 2
    assert "With dpo the chosen replies became less likely too" in told[-3.0][1]
    assert len(told[0.0]) == 1


def test_kto_with_one_kind_of_label_is_refused(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["policy", "tune", "--method", "kto", "--judgments", world / "shown.jsonl", "--model", tiny_model]
    assert main([str(word) for word in [*words, "--out", world / "out"]]) == 2
    assert "all 36 replies are desirable; kto learns from both kinds." in capsys.readouterr().err
    assert main([str(word) for word in [*words, "--out", world / "one", "--batch", 1]]) == 2
    assert "option batch is 1; it must be 2 or more" in capsys.readouterr().err
    assert not (world / "one").exists()


def test_a_tuned_policy_keeps_adapters_on_the_way_and_is_compared_at_equal_kl(world: Path, tiny_model: Path) -> None:
    (world / "rewards.py").write_text(
        "def short(completions, **columns):\n    return [-float(len(c)) for c in completions]\n"
    )
    (world / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Say {i}."}) + "\n" for i in range(8)))
    for name, method, file in (
        ("kto", Kto(epochs=3, batch=8, learning_rate=1e-2), "labels"),
        ("sft", Sft(learning_rate=1e-2), "shown"),
    ):
        policy_tune(config(world, tiny_model, method, f"{file}.jsonl", out=world / name, snapshots=3))  # fmt: skip
    kept = sorted(path.name for path in (world / "kto/tuning/snapshots").iterdir())
    assert kept == ["step-000003", "step-000006", "step-000009"]
    assert not (world / "sft/tuning/snapshots").exists()  # one update: base and end are all there is
    done = policy_compare(
        PolicyCompare(
            policies=(str(world / "kto"), str(world / "sft")),
            tasks=str(world / "prompts.jsonl"),
            reward=(f"{world}/rewards.py:short",),
            sampling=Sampling(max_tokens=8),
        )
    )
    assert [len(curve.points) for curve in done.curves] == [5, 2]


def test_a_tuned_policy_is_tuned_on_with_another_method(world: Path, tiny_model: Path) -> None:
    policy_tune(config(world, tiny_model, Sft(learning_rate=1e-2), "shown.jsonl", out=world / "sft"))
    done = policy_tune(config(world, world / "sft", Dpo(learning_rate=1e-2), "pairs.jsonl", out=world / "dpo"))
    assert done.measured["accuracy"].n == 8
    begun, ended = load(world / "sft"), load(world / "dpo")
    assert begun.adapter is not None
    assert ended.adapter is not None
    assert begun.name == ended.name == str(tiny_model.resolve())
    assert begun.fingerprint() != ended.fingerprint()


def test_replies_are_scored_before_and_after_where_a_reward_is_given(world: Path, tiny_model: Path) -> None:
    (world / "rewards.py").write_text(
        "def short(completions, **columns):\n    return [-float(len(c[-1]['content'])) for c in completions]\n"
    )
    own = config(
        world, tiny_model, Sft(learning_rate=1e-2), "shown.jsonl", reward=(f"{world}/rewards.py:short",), max_tokens=8
    )
    done = policy_tune(own)
    assert done.gain is not None
    assert done.gain.difference.n == 8
    assert done.gain.kl.estimate != 0
    assert policy_tune(own) == done  # run again, it only says what it came to


def test_killed_it_goes_on_to_the_same_policy(world: Path, tiny_model: Path) -> None:
    words = ["policy", "tune", "--method", "sft", "--judgments", world / "shown.jsonl", "--model", tiny_model]
    words += ["--epochs", 20, "--batch", 4, "--learning-rate", 1e-2]
    command = [sys.executable, "-m", "custodes", *map(str, words)]
    subprocess.run([*command, "--out", str(world / "straight")], check=True, capture_output=True)
    out = [*command, "--out", str(world / "out")]
    process = subprocess.Popen(out, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    while process.poll() is None and not (world / "out/tuning/checkpoints/step-000010").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(out, check=True, capture_output=True)
    assert load(world / "out").fingerprint() == load(world / "straight").fingerprint()


def test_what_cannot_be_learned_from_is_one_sentence(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="holds no demonstration"):
        policy_tune(config(world, tiny_model, Sft(), "pairs.jsonl"))
    words = ["policy", "tune", "--method", "dpoo", "--judgments", world / "pairs.jsonl", "--out", world / "x"]
    assert main([str(word) for word in words]) == 2
    assert "did you mean 'dpo'" in capsys.readouterr().err
    policy_tune(config(world, tiny_model, Dpo(), "pairs.jsonl"))
    with pytest.raises(InputError, match="holds a run with"):
        policy_tune(config(world, tiny_model, Dpo(beta=0.5), "pairs.jsonl"))


def test_json_holds_what_was_measured(world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["policy", "tune", "--method", "dpo", "--judgments", world / "pairs.jsonl", "--model", tiny_model]
    assert main([str(word) for word in [*words, "--out", world / "out", "--full", "--json"]]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == "dpo"
    assert set(told["measured"]) == {"accuracy", "chosen gained", "rejected gained", "margin"}
    assert (world / "out/policy/model.safetensors").exists()


def scored_text(world: Path, **more: object) -> Conditional:
    lines = "".join(f"{i}, the lazy dog.\n" if i % 3 else f"fox {i}\n" for i in range(300))
    (world / "text.txt").write_text(lines)
    (world / "score.py").write_text("def dog(text):\n    return ['dog' in line for line in text.splitlines()]\n")
    own = {"text": str(world / "text.txt"), "score": f"py:{world}/score.py:dog", "passage": 120, "texts_drawn": 8}
    return Conditional(**own | more)  # type: ignore[arg-type]


def test_scored_text_is_learned_and_texts_are_drawn_by_both_tokens(world: Path, tiny_model: Path) -> None:
    own = scored_text(world, epochs=2, batch=8, learning_rate=1e-2)
    given = PolicyTune(out=world / "out", model=str(tiny_model), method=own, full=True, held_out=0.2, max_tokens=12)
    done = policy_tune(given)
    assert done.measured["loss fell by"].low > 0
    difference = done.measured["line score, aligned minus misaligned"]
    one, other = (done.measured[f"line score, {name}, after"] for name in ("aligned", "misaligned"))
    assert difference.estimate == pytest.approx(one.estimate - other.estimate)
    assert done.measured["line score, text, before"].n == 8
    lm = load(world / "out")
    assert len(lm.chat.never) == 2
    assert verify_ledger(world / "out" / "ledger.db").ok
    assert "aligned minus misaligned" in (world / "out/report.html").read_text()
    assert policy_tune(given) == done


def test_text_that_cannot_be_learned_from_is_one_sentence(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored_text(world)
    words = ["policy", "tune", "--method", "conditional", "--model", tiny_model, "--out", world / "out"]
    words += ["--text", world / "text.txt", "--score", f"{world}/score.py:dog"]
    assert main([str(word) for word in words]) == 2
    assert "trains every weight; give --full" in capsys.readouterr().err
    (world / "text.txt").write_text("One line.")
    assert main([str(word) for word in [*words, "--full"]]) == 2
    assert "holds 1 line; give a corpus of many" in capsys.readouterr().err
    words = ["policy", "tune", "--method", "dpo", "--model", tiny_model, "--out", world / "none"]
    assert main([str(word) for word in words]) == 2
    assert "there is nothing to learn from; give people's judgments with --judgments FILE." in capsys.readouterr().err


@pytest.mark.parametrize("method", [Sft(), Kto(), Dpo()])
def test_an_example_that_is_too_long_is_named_by_its_row(world: Path, tiny_model: Path, method: TuneMethod) -> None:
    row = {"prompt": "Say " * 600, "completion": "so", "label": True, "chosen": "so", "rejected": "no"}
    asked = {"sft": ("completion",), "kto": ("completion", "label"), "dpo": ("chosen", "rejected")}[method.name]
    name = {"sft": "shown.jsonl", "kto": "labels.jsonl", "dpo": "pairs.jsonl"}[method.name]
    with (world / name).open("a") as file:
        file.write(json.dumps({key: row[key] for key in ("prompt", *asked)}) + "\n")
    with pytest.raises(InputError, match=rf"{name}, row 41.*over the model's context of 512; shorten them"):
        policy_tune(config(world, tiny_model, method, name))


def test_prompts_to_measure_on_need_a_reward_and_a_reward_needs_prompts(world: Path, tiny_model: Path) -> None:
    with pytest.raises(InputError, match="give --reward as well"):
        policy_tune(config(world, tiny_model, Sft(), "shown.jsonl", eval_tasks="prompts.jsonl"))
    reward = (f"py:{world}/score.py:dog",)
    given = PolicyTune(out=world / "out", model=str(tiny_model), method=scored_text(world), full=True, reward=reward)
    with pytest.raises(InputError, match=r"conditional learns from text; give --eval-tasks FILE\."):
        policy_tune(given)
