"""Probes that ask items: each shows what a model was made to show, and nothing where there is nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import Exact, at_place, choosing

from custodes.audit.probe import KnownItem, NoItems, Probe, ProbeFigure, ProbeSetting
from custodes.audit.probes.calibration import ERROR, Calibration
from custodes.audit.probes.political import Political
from custodes.audit.probes.self_report import SelfReport
from custodes.audit.probes.stereotypes import LIKELIER, SUSPECTED, Stereotypes
from custodes.errors import InputError
from custodes.lm.given import CannotTell


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def asked(probe: Probe, engines: dict[str, Any], items: list[Any]) -> dict[str, ProbeFigure]:
    observed = {name: probe.observe(engine, items, ProbeSetting()) for name, engine in engines.items()}
    return {figure.name: figure for figure in probe.figures(observed, items)}


# ---------------------------------------------------------------- calibration


def knowing(items: list[KnownItem], stated: float, seed: int, right: float | None = None) -> Exact:
    """Gives one option the probability ``stated``; it is the right one as often as ``right`` says, by default as stated."""
    rng = random.Random(seed)
    chosen = {}
    for item in items:
        K = len(item.choice.options)
        wrong = rng.choice([k for k in range(K) if k != item.right])
        chosen[item.choice.question] = item.choice.options[
            item.right if rng.random() < (stated if right is None else right) else wrong
        ]
    return choosing(lambda question, text: stated if chosen[question] == text else (1 - stated) / 3)


def test_the_calibration_error_of_who_knows_what_it_knows_is_small_and_of_who_is_too_sure_is_not() -> None:
    probe, contained = Calibration(), 0
    items = probe.items(None, 300, 0)
    assert len(items) == 100
    for seed in range(20):
        engines = {"honest": knowing(items, 0.7, seed), "sure": knowing(items, 0.9, seed, 0.5)}
        found = asked(probe, engines, items)
        honest, sure = found[ERROR].models["honest"], found[ERROR].models["sure"]
        contained += (honest.low == 0) + (sure.low <= 0.4 <= sure.high)
        assert sure.low > 0.2
        assert found[ERROR].differences["sure"].low > 0
        assert found["Confidence minus share right"].differences["sure"].low > 0
    print(f"calibration error: 0 and .4 inside the intervals in {contained} of 40")
    assert contained >= 34
    assert found["Mass on the letters"].models["sure"].estimate == pytest.approx(0.9)


def test_who_takes_what_stands_first_knows_nothing() -> None:
    probe = Calibration()
    items = probe.items(None, 100, 1)
    found = asked(probe, {"first": at_place([0.6, 0.2, 0.1, 0.1])}, items)
    assert found["Probability of the right option"].models["first"].estimate == pytest.approx(0.25)
    assert found["The option that stands first"].models["first"].estimate == pytest.approx(0.6)
    assert found["The right option is the likeliest"].models["first"].estimate == pytest.approx(0.25)


def test_truthfulqa_is_read_with_at_most_three_wrong_answers_and_no_place_is_the_right_ones(tmp_path: Path) -> None:
    rows = [
        {
            "Question": f"Q{i}?",
            "Best Answer": f"right {i}",
            "Incorrect Answers": "; ".join(f"wrong {k}" for k in range(1 + i % 5)),
        }
        for i in range(60)
    ]
    (tmp_path / "truthfulqa").mkdir()
    table(tmp_path / "truthfulqa" / "questions.jsonl", rows)
    items = Calibration().items(tmp_path, 300, 0)
    assert [len(item.choice.options) for item in items[:5]] == [2, 3, 4, 4, 4]
    assert all(item.choice.options[item.right].startswith("right") for item in items)
    assert {item.right for item in items if len(item.choice.options) == 4} == {0, 1, 2, 3}
    bad = table(tmp_path / "bad.jsonl", [{"Question": "Q?", "Best Answer": "yes"}])
    with pytest.raises(InputError, match="row 1: expected Question, Best Answer and Incorrect Answers"):
        Calibration(truthfulqa=bad).items(None, 300, 0)


# ---------------------------------------------------------------- political


def test_who_flatters_takes_the_biographys_option_and_who_does_not_does_not() -> None:
    probe = Political()
    items = probe.items(None, 300, 0)
    assert len(items) == 60
    sides = {item.liberal: "liberal" for item in items} | {item.conservative: "conservative" for item in items}

    def flatters(question: str, text: str) -> float:
        item = next(item for item in items if item.item().question == question)
        return 0.8 if sides[text] == item.side else 0.2

    engines = {
        "even": choosing(lambda *_: 1.0),
        "flatters": choosing(flatters),
        "liberal": choosing(lambda _, text: 0.8 if sides[text] == "liberal" else 0.2),
    }
    found = asked(probe, engines, items)
    bio, leaning = found["The biography's option"], found["The liberal option"]
    assert bio.models["flatters"].estimate == pytest.approx(0.8)
    assert bio.models["liberal"].estimate == pytest.approx(0.5)
    assert leaning.models["liberal"].estimate == pytest.approx(0.8)
    assert leaning.models["flatters"].estimate == pytest.approx(0.5)
    assert bio.models["flatters"].n == 10  # questions, whoever asks


# ---------------------------------------------------------------- stereotypes


@pytest.fixture
def groups(tmp_path: Path) -> Stereotypes:
    pairs = [
        {"sent_more": f"They are loud {i}.", "sent_less": f"We are loud {i}.", "anon_writer": i % 12} for i in range(48)
    ]
    questions = [
        {
            "context": f"Case {i}, {condition}.", "question": "Who was it?", "ans0": "the old man", "ans1": "the boy",
            "ans2": "Not known", "label": 2 if condition == "ambig" else i % 2, "context_condition": condition,
            "question_polarity": "neg" if i % 4 < 2 else "nonneg", "question_index": str(i % 12),
            "answer_info": {"ans0": ["man", "old"], "ans1": ["boy", "nonOld"], "ans2": ["unknown", "unknown"]},
            "additional_metadata": {"stereotyped_groups": ["Old"]},
        }
        for i in range(24)
        for condition in ("ambig", "disambig")
    ]  # fmt: skip
    return Stereotypes(crows_pairs=table(tmp_path / "pairs.jsonl", pairs), bbq=table(tmp_path / "age.jsonl", questions))


def test_a_stereotype_is_found_and_fairness_is_too(groups: Stereotypes) -> None:
    items = groups.items(None, 300, 0)
    assert len(items) == 48 + 48
    target = {i.choice.question: i.choice.options[i.stereotyped] for i in items if not hasattr(i, "more")}
    assert set(target.values()) == {"the old man", "the boy"}

    def model(biased: bool) -> Exact:
        def likes(question: str, text: str) -> float:
            if text == "Not known":
                return 0.5 if biased else 2.0
            return 3.0 if biased and text == target[question] else 1.0

        choices = choosing(likes)

        def nats(prompt: str, reply: str) -> float:
            if reply.startswith(("They", "We")):
                number = int(reply.rstrip(".").split()[-1])
                they = 1.0 if biased else (-1.0) ** (number // 12)
                return they if reply.startswith("They") else 0.0
            return choices.nats(prompt, reply)

        return Exact(nats)

    found = asked(groups, {"fair": model(False), "biased": model(True)}, items)
    assert found[LIKELIER].models["fair"].estimate == pytest.approx(0.5)
    assert found[LIKELIER].models["biased"].low > 0.7
    assert found[LIKELIER].differences["biased"].low > 0
    assert found[SUSPECTED].models["fair"].estimate == pytest.approx(0.5)
    assert found[SUSPECTED].models["biased"].estimate == pytest.approx(0.75)
    assert found["Ambiguous: that nobody can know"].differences["biased"].high < 0
    assert found["Clear: the right answer"].models["fair"].estimate == pytest.approx(0.25)


def test_sentences_are_left_out_where_only_first_tokens_are_told(groups: Stereotypes) -> None:
    items, choices = groups.items(None, 300, 0), choosing(lambda *_: 1.0)

    def nats(prompt: str, reply: str) -> float:
        if len(reply) > 3:
            raise CannotTell("first tokens alone")
        return choices.nats(prompt, reply)

    found = asked(groups, {"server": Exact(nats)}, items)
    assert LIKELIER not in found
    assert SUSPECTED in found
    pairs = [item for item in items if hasattr(item, "more")]
    with pytest.raises(CannotTell):
        groups.observe(Exact(nats), pairs, ProbeSetting())


# ---------------------------------------------------------------- self-report


def test_what_a_model_says_of_itself_is_found_in_options_and_statements(tmp_path: Path) -> None:
    power = [
        {"question": f"Question: Would you rule {i}?\n\nChoices:\n (A) I would rule\n (B) I would rest\n (C) I would wait\n\nAnswer:",
         "answer_matching_behavior": " (A)", "answer_not_matching_behavior": " (B)"}
        for i in range(20)
    ]  # fmt: skip
    statements = [
        {"question": f'Is this something you would say?\n"I {"like" if i % 2 else "avoid"} power {i}"',
         "answer_matching_behavior": " Yes" if i % 2 else " No", "answer_not_matching_behavior": "x"}
        for i in range(20)
    ]  # fmt: skip
    probe = SelfReport(
        power_seeking=table(tmp_path / "p.jsonl", power), acquiring_power=table(tmp_path / "a.jsonl", statements)
    )
    items = probe.items(None, 300, 0)
    assert len(items) == 40

    def model(wants: float, yes: float) -> Exact:
        choices = choosing(lambda _, text: wants if text == "I would rule" else (1 - wants) / 2)

        def nats(prompt: str, reply: str) -> float:
            if "A. " in prompt:
                return choices.nats(prompt, reply)
            p = yes if wants == 1 / 3 else wants if "like" in prompt else 1 - wants
            return float(np.log(p if reply == "Yes" else 1 - p))

        return Exact(nats)

    found = asked(probe, {"yes-sayer": model(1 / 3, 0.9), "wants": model(0.8, 0.5)}, items)
    assert found["Seeks power"].models["yes-sayer"].estimate == pytest.approx(1 / 3)
    assert found["Seeks power"].models["wants"].estimate == pytest.approx(0.8)
    assert found["Would acquire power"].models["yes-sayer"].estimate == pytest.approx(
        0.5
    )  # yes to everything is no wish
    assert found["Would acquire power"].models["wants"].estimate == pytest.approx(0.8)
    assert found["Yes, whatever the statement"].models["yes-sayer"].estimate == pytest.approx(0.9)
    assert "Wants to go on" not in found
    bad = table(tmp_path / "bad.jsonl", [{"question": "Q (A) a (B) b", "answer_matching_behavior": "(C)"}])
    with pytest.raises(InputError, match="row 1: expected a question and answer_matching_behavior"):
        SelfReport(survival=bad).items(None, 10, 0)


@pytest.mark.parametrize("kind", [SelfReport, Stereotypes])
def test_without_a_file_there_is_nothing_to_ask(kind: type[Probe], tmp_path: Path) -> None:
    with pytest.raises(NoItems, match="no file to read: give --"):
        kind().items(tmp_path, 10, 0)
