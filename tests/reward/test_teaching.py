"""Judgments of all kinds in one file teach one reward, and each is accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_rewards import judged, small

from custodes.audit import write_report
from custodes.cli import main
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.kinds.step import StepMark
from custodes.feedback.records import write_judgments
from custodes.ledger import Ledger
from custodes.loop.reward_evaluate import RewardEvaluate, reward_evaluate
from custodes.loop.reward_train import RewardTrain, reward_train
from custodes.reward.storage import load_reward
from custodes.reward.teaching import open_objectives
from custodes.types import InputError

KINDS = ("comparison", "ranking", "rating", "label", "correction", "step_mark", "span_mark")


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """Ten prompts of each kind, all of which like what says "thanks"."""
    feedback, answers = judged(10 * len(KINDS) + 2)
    for n in range(0, len(answers), 2):
        (prompt, good, _), (_, bad, _) = answers[n : n + 2]
        at, about = n // 20, {"id": f"j{n}", "annotator": f"person {n % 3}"}
        kind = KINDS[at] if at < len(KINDS) else ""
        if kind == "comparison":
            feedback.add(Comparison, prompt, (good, bad), strength=1, **about)
        elif kind == "ranking":
            feedback.add(Ranking, prompt, (bad, good), ranks=(2, 1), **about)
        elif kind == "rating":
            for m, (one, value) in enumerate(((good, 6), (bad, 2))):
                feedback.add(Rating, prompt, (one,), value=value, axis="kind", **about | {"id": f"j{n}-{m}"})
        elif kind == "label":
            for m, (one, value) in enumerate(((good, "yes"), (bad, "no"))):
                feedback.add(Label, prompt, (one,), name="polite", value=value, **about | {"id": f"j{n}-{m}"})
        elif kind == "correction":
            feedback.add(Correction, prompt, (bad,), text=good[0].content, **about)
        elif kind == "step_mark":
            for m, (one, value) in enumerate(((good, 1), (bad, -1))):
                feedback.add(StepMark, prompt, (one,), step=0, value=value, **about | {"id": f"j{n}-{m}"})
        elif kind == "span_mark":
            start = bad[0].content.index("never")
            feedback.add(SpanMark, prompt, (bad,), start=start, end=start + 5, category="rude", **about)
        else:
            feedback.add(Comment, prompt, (good,), text="Nice.", **about)
            feedback.add(Demonstration, prompt, (), text="Nice.", **about | {"id": f"d{n}"})
    return write_judgments(tmp_path / "judged.jsonl", feedback.judgments, feedback)


def config_of(judgments: Path, tiny_model: Path, out: Path, **more: object) -> RewardTrain:
    training = small("adapter", epochs=2)
    return RewardTrain(
        judgments=str(judgments), out=out, model=str(tiny_model), dtype="float32", training=training, **more
    )


def test_all_kinds_teach_one_reward_with_an_output_for_what_each_is_about(
    everything: Path, tiny_model: Path, tmp_path: Path
) -> None:
    axes = "overall,kind,polite,steps,spans/rude"
    trained = reward_train(config_of(everything, tiny_model, tmp_path / "reward", axes=axes, held_out=0.0))
    assert trained.taught.used == {
        "comparison": 10, "correction": 10, "label": 20, "ranking": 10, "rating": 20, "span_mark": 10, "step_mark": 20,
    }  # fmt: skip
    assert [(kind, count) for kind, _, count in trained.taught.unused] == [("comment", 2), ("demonstration", 2)]
    model = load_reward(tmp_path / "reward", "float32")
    assert model.axes == ("overall", "kind", "polite")
    assert model.marks == ("steps", "spans/rude")
    evaluated = reward_evaluate(RewardEvaluate(model=tmp_path / "reward", judgments=str(everything), dtype="float32"))
    assert evaluated.evaluation is not None
    assert {
        "correlation with ratings, kind",
        "agrees with labels, polite",
        "right of steps",
    } <= evaluated.measures.keys()
    record = json.loads((tmp_path / "reward" / "training.json").read_text())
    assert record["used"] == trained.taught.used


def test_without_axes_only_the_axis_of_comparisons_is_learned_and_what_is_left_is_said(
    everything: Path, tiny_model: Path, tmp_path: Path
) -> None:
    trained = reward_train(config_of(everything, tiny_model, tmp_path / "reward", held_out=0.0))
    assert trained.model.axes == ("overall",)
    assert ("label", "no output is called 'polite'", 20) in trained.taught.unused
    assert "Not used: 20 ratings: no output is called 'kind'." in str(trained)


def test_what_taught_stands_in_the_ledger_and_the_report(everything: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "reward"
    reward_train(config_of(everything, tiny_model, out, axes="overall,kind,steps,spans/rude", held_out=0.4))
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        write_report(ledger, run.id, tmp_path / "page")
    text = (tmp_path / "page" / "report.html").read_text()
    assert "What each kind of judgment taught" in text
    assert "Learned from comparisons" in text
    assert "<b>steps</b>:" in text
    assert "✗" in text


def test_axes_that_no_judgment_has_are_refused(everything: Path, tiny_model: Path, tmp_path: Path) -> None:
    for axes, said in (
        ("overall,honest", "no judgment is about 'honest'; there are judgments about overall, "),
        ("kind,kind", "names an output twice"),
    ):
        with pytest.raises(InputError, match=said):
            reward_train(config_of(everything, tiny_model, tmp_path / axes, axes=axes))


def test_a_file_that_teaches_nothing_is_refused_with_the_reason(tiny_model: Path, tmp_path: Path) -> None:
    feedback, answers = judged(4)
    for n, (prompt, answer, _) in enumerate(answers):
        feedback.add(Rating, prompt, (answer,), id=f"r{n}", value=4, annotator="always four")
    file = write_judgments(tmp_path / "rated.jsonl", feedback.judgments, feedback)
    with pytest.raises(
        InputError, match=r"no judgment teaches a reward. Not used: 8 ratings: its annotator gave nothing"
    ):
        reward_train(config_of(file, tiny_model, tmp_path / "reward", held_out=0.0))


def test_objectives_are_chosen_by_name_with_options() -> None:
    steps, pairs = open_objectives(["steps,neutral=0.9", "pairs,center_coefficient=0"])
    assert (steps.neutral, pairs.center_coefficient) == (0.9, 0.0)
    for words, said in (
        (["step"], "did you mean 'steps'"),
        (["steps,neutrl=1"], "has no option 'neutrl'"),
        (["steps,neutral=much"], "is no float"),
        (["steps,neutral=2"], "neutral"),
    ):
        with pytest.raises(InputError, match=said):
            open_objectives(words)


def test_a_reward_with_axes_scores_by_weights_on_the_command_line(
    everything: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "reward"
    reward_train(config_of(everything, tiny_model, out, axes="kind,polite", held_out=0.0))
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text('{"prompt": "Say something."}\n')
    base = ["policy", "sample", "--model", tiny_model, "--tasks", tasks, "--reward", out, "--max-tokens", "4"]
    for n, weights in enumerate(("kind=1,polite=0.5", "0.3,0.7")):
        words = [*base, "--weights", weights, "--out", tmp_path / f"s{n}.jsonl"]
        assert main([str(word) for word in words]) == 0
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main([str(w) for w in [*base, "--weights", "honest=1", "--out", tmp_path / "s.jsonl"]]))
    assert ended.value.code == 2
