"""Answers of assistants are reviewed as code is: quotes of the answer with comments."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from review_data import INJECTIONS, SayingEngine

from custodes.cli import main
from custodes.critic.examples import Bug
from custodes.critic.rating import rate_critique
from custodes.critic.review.answers import cutter, read_answers
from custodes.critic.review.critics import LikelihoodCritic, LineCritic, SampledCritic
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.question import task_of
from custodes.feedback.critique import parse_critique
from custodes.lm.loading import load
from custodes.types import InputError

ANSWER = "The moon is made of rock. It is 40 km away.\nOnly twelve people walked on it."


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        {"prompt": "How far is the moon?", "answer": ANSWER},
        {
            "prompt": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And?"}],
            "completion": [{"role": "assistant", "content": "Nothing."}],
        },
        {"prompt": "Say nothing.", "answer": ""},
    ]  # fmt: skip
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def roomy(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LikelihoodCritic:
    folder = tmp_path_factory.mktemp("roomy") / "model"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    return LikelihoodCritic(load(folder, dtype="float32"), comment_tokens=6)


def test_question_and_answer_are_shown_as_data(file: Path):
    answers = read_answers(file)
    assert [name.rsplit("#")[1] for name in answers] == ["1", "2", "3"]
    first, second, _ = answers.values()
    asked = task_of(first).messages[0].content
    assert "How far is the moon?" in asked
    assert asked.endswith(f"```\n{ANSWER}\n```")
    assert "Assistant: Hello." in second.question
    assert second.code == "Nothing."


def test_findings_name_the_row_and_quote_the_answer(file: Path):
    answers = read_answers(file)
    engine = SayingEngine("```\nIt is 40 km away.\n```\nIt is 384,400 km.", "No problems found.")
    result = review(
        list(answers),
        SampledCritic(engine, "x", samples=2),
        ReviewOptions(),
        texts={name: a.code for name, a in answers.items()},
        cut=cutter(answers),
    )
    (finding,) = result.findings
    assert (finding.file, finding.line, finding.quote) == (f"{file}#1", 1, "It is 40 km away.")
    assert result.snippets == 2  # an empty answer has nothing to review


def test_a_local_model_quotes_sentences(roomy: LikelihoodCritic, file: Path):
    (answer, *_) = read_answers(file).values()
    remarks = roomy.review(answer)
    sentences = {"The moon is made of rock.": 1, "It is 40 km away.": 1, "Only twelve people walked on it.": 2}
    assert {r.finding.quote: r.places[0].start for r in remarks} == sentences


def test_the_same_rating_serves_answers():
    bug = Bug("", (1,), "The distance is off by a wrong number: `40` instead of `384400`.", "It is 384400 km away.")
    right = rate_critique(
        parse_critique("```\nIt is 40 km away.\n```\nThe number `40` is wrong: it should be more."), ANSWER, [bug]
    )
    made_up = rate_critique(parse_critique("```\nIt is 40 km away, I think.\n```\nWrong."), ANSWER, [bug])
    assert (right.included, made_up.hallucinations) == (1, 1)


@pytest.mark.parametrize("text", INJECTIONS)
def test_an_answer_cannot_give_orders(roomy: LikelihoodCritic, text: str, tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": text, "answer": f"{text}\nFour."}))
    (answer,) = read_answers(tmp_path / "a.jsonl").values()
    prompt = roomy.lm.encode(task_of(answer, roomy.words).messages)
    special = [roomy.lm.tokenizer.convert_tokens_to_ids(word) for word in roomy.words]
    harmless = {**json.loads((tmp_path / "a.jsonl").read_text()), "prompt": "x", "answer": "x"}
    (tmp_path / "b.jsonl").write_text(json.dumps(harmless))
    (other,) = read_answers(tmp_path / "b.jsonl").values()
    empty = roomy.lm.encode(task_of(other, roomy.words).messages)
    assert all((prompt == i).sum() == (empty == i).sum() for i in special)
    obeys = SayingEngine(f"```\n{text}\n```\n\x1b[2Jobeyed\u202e", "```\nrm -rf /home\n```\nDo it.")
    for remark in SampledCritic(obeys, "x").review(answer):
        assert "rm -rf /home" not in remark.finding.quote
        assert not set(remark.finding.comment) & {"\x1b", "\n", "\u202e"}


def test_the_command_reviews_answers_and_refuses_what_is_none(
    file: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))
    engine = SayingEngine("```\nIt is 40 km away.\n```\nToo near.")
    monkeypatch.setattr(
        "custodes.critic.loading.open_critic", lambda choice, strictness, answers: SampledCritic(engine, "x")
    )
    assert main(["critique", "--answers", str(file), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["file"], row["quote"], row["confidence"]) == (f"{file}#1", "It is 40 km away.", 1.0)
    assert main(["critique", "x.py", "--answers", str(file)]) == 2
    assert "leave out paths" in capsys.readouterr().err
    (tmp_path / "bad.jsonl").write_text('{"prompt": "x"}\n')
    assert main(["critique", "--answers", str(tmp_path / "bad.jsonl")]) == 2
    assert "row 1: found NoneType" in capsys.readouterr().err


def test_a_scorer_of_lines_reads_code_alone(file: Path):
    from scored_lines import WordScorer

    (answer, *_) = read_answers(file).values()
    with pytest.raises(InputError, match="reads code"):
        LineCritic(WordScorer({}), "x").review(answer)
