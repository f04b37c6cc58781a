"""From a file of preferences to a saved reward model and its evaluation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_rewards import make_pairs, small
from transformers import AutoModelForSequenceClassification

from custodes.cli import main
from custodes.feedback.exchange import feedback_from_pairs
from custodes.feedback.formats import write_preferences
from custodes.job.locks import alone_in
from custodes.ledger import Ledger
from custodes.lm.loading import load
from custodes.loop.chosen_tasks import held_out_prompts
from custodes.loop.reward_evaluate import RewardEvaluate, reward_evaluate
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.reward import Material, RewardConfig
from custodes.reward.reading import Reader
from custodes.tables import write_rows
from custodes.types import InputError


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    return write_preferences(tmp_path / "pairs.jsonl", make_pairs(100))


def test_train_save_evaluate(tiny_model: Path, preferences: Path, tmp_path: Path) -> None:
    out, steps = tmp_path / "reward", []
    config = RewardTrain(
        judgments=preferences,
        out=out,
        model=str(tiny_model),
        rows=":60",
        held_out=0.2,
        dtype="float32",
        training=small("heads", epochs=4),
    )
    trained = reward_train(config, on_step=steps.append)
    model, held_out = trained.model, trained.evaluation
    assert held_out.accuracy.n == 12
    assert steps[-1].step == steps[-1].steps == 40
    assert not (out / "checkpoints").exists()
    measured = reward_evaluate(RewardEvaluate(model=out, judgments=preferences, rows="60:", dtype="float32"))
    evaluation = measured.evaluation
    assert evaluation.accuracy.n == 40
    assert evaluation.accuracy.low > 0.7
    assert evaluation.temperature == pytest.approx(model.temperature)
    record = json.loads((out / "training.json").read_text())
    assert (record["pairs"], record["training"]["members"]) == (48, 3)
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        (taught,) = ledger.evaluations(ledger.runs()[0].id, "reward_taught")
    assert taught.metrics["losses"]["comparison"].startswith(
        "Bradley and Terry"
    )  # what the disclosure says of the loss
    assert AutoModelForSequenceClassification.from_pretrained(out).num_labels == 3


@pytest.mark.parametrize(("rows", "said"), [("5", "is no range"), ("200:", "are empty"), ("a:b", "is no range")])
def test_rows_that_are_none_are_refused(
    tiny_model: Path, preferences: Path, tmp_path: Path, rows: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        reward_evaluate(RewardEvaluate(model=tiny_model, judgments=preferences, rows=rows))


def test_an_output_folder_that_cannot_be_written_is_said_before_training(
    tiny_model: Path, preferences: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        reward_train(RewardTrain(judgments=preferences, out=tmp_path / "taken", model=str(tiny_model)))


@pytest.fixture
def trained(tiny_model: Path, preferences: Path, tmp_path: Path) -> RewardTrain:
    config = RewardTrain(
        judgments=preferences,
        out=tmp_path / "reward",
        model=str(tiny_model),
        rows=":40",
        held_out=0.2,
        dtype="float32",
        training=small("adapter", epochs=1, members=2),
    )
    reward_train(config)
    return config


def test_the_same_command_again_only_measures(trained: RewardTrain, capsys: pytest.CaptureFixture[str]) -> None:
    measured = json.loads((trained.out / "training.json").read_text())["held_out_evaluation"]

    def times() -> dict[str, int]:
        """Of everything but the lock and the ledger, which the second invocation is recorded in."""
        kept = (f for f in trained.out.iterdir() if not f.name.startswith((".lock", "ledger.db")))
        return {f.name: f.stat().st_mtime_ns for f in kept}

    before = times()
    steps: list[object] = []
    again = reward_train(trained, on_step=steps.append).evaluation
    assert again is not None
    assert again.to_dict() == measured
    assert not steps
    assert times() == before
    assert "is trained" in capsys.readouterr().err


def test_a_folder_belongs_to_one_configuration(trained: RewardTrain, tmp_path: Path) -> None:
    for name, changed in (("epochs", replace(trained, training=replace(trained.training, epochs=2))),
                          ("rows", replace(trained, rows=":41"))):  # fmt: skip
        with pytest.raises(InputError, match=rf"with {name} = .* another --out"):
            reward_train(changed)
    copied = tmp_path / "copied.jsonl"
    shutil.copy(trained.judgments, copied)
    reward_train(replace(trained, judgments=copied))
    copied.write_text(copied.read_text() + copied.read_text().splitlines()[0])
    with pytest.raises(InputError, match="holds a run on other judgments"):
        reward_train(replace(trained, judgments=copied))


def test_no_model_that_is_there_is_overwritten(tiny_model: Path, trained: RewardTrain, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    with pytest.raises(InputError, match="did not make; use another --out"):
        reward_train(replace(trained, out=tmp_path / "model"))


@pytest.mark.parametrize("device", ["tpu", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_here_is_one_sentence(
    tiny_model: Path, preferences: Path, tmp_path: Path, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reward", "train", "--judgments", preferences, "--model", tiny_model, "--out", tmp_path / "out"]
    assert main([*map(str, words), "--device", device]) == 2
    assert f"option device is '{device}'; it must be auto, cpu, or cuda" in capsys.readouterr().err
    assert not (tmp_path / "out/config.json").exists()


def test_two_processes_do_not_share_a_folder(trained: RewardTrain) -> None:
    with alone_in(trained.out), pytest.raises(InputError, match="in use by another process"):
        reward_train(trained)


def test_rows_beyond_the_file_are_said(trained: RewardTrain) -> None:
    asked = RewardEvaluate(model=trained.out, judgments=trained.judgments, rows="95:199", dtype="float32")
    with pytest.warns(UserWarning, match="holds rows 0:100; 5 of rows 95:199 are there"):
        assert reward_evaluate(asked).evaluation.accuracy.n == 5


def test_judgments_of_one_prompt_stay_on_one_side(tiny_model: Path) -> None:
    reader = Reader(load(tiny_model, dtype="float32"), 100)
    every = Material(feedback_from_pairs(make_pairs(20) * 3), reader)
    held = held_out_prompts(map(every.prompt, every.feedback.judgments), 0.25, seed=0)
    training, held_out = every.divided(held)
    sides = [side.feedback.judgments for side in (training, held_out)]
    assert list(map(len, sides)) == [45, 15]
    assert not {j.task for j in sides[0]} & {j.task for j in sides[1]}


ALTERNATING = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize("begins", ["system", "user"])
def test_rows_that_a_template_refuses_are_named_before_training(
    begins: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: object, **more: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr("custodes.loop.reward_train.teach_reward", never)
    shutil.copytree(tiny_model, tmp_path / "strict")
    (tmp_path / "strict" / "chat_template.jinja").write_text(ALTERNATING)
    rows: list[dict[str, object]] = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(9)]
    asked = [{"role": begins, "content": "Be kind."}, {"role": "user", "content": "q"}]
    rows.append({"prompt": asked, "chosen": "a", "rejected": "b"})
    file = write_rows(tmp_path / "pairs.jsonl", rows)
    for seed in range(3):  # whichever side of the split it falls on
        config = RewardTrain(
            judgments=str(file),
            out=tmp_path / f"out{seed}",
            model=str(tmp_path / "strict"),
            held_out=0.5,
            training=RewardConfig(seed=seed),
        )
        with pytest.raises(InputError, match=r"pairs\.jsonl, row 10, chosen.*(not supported|must alternate)"):
            reward_train(config)
