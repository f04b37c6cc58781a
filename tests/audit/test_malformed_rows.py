"""Rows that are not what they should be are refused in one sentence, by the same readers everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from custodes.audit.concepts import read_concept
from custodes.audit.facts_to_edit import read_exchanges
from custodes.audit.probe import paired_figure
from custodes.audit.probes.facts import Facts
from custodes.audit.probes.memorised import Memorised
from custodes.audit.probes.stereotypes import Stereotypes
from custodes.cli import main
from custodes.ledger.heads import Head, append_head, read_heads
from custodes.loop.attack_detector import AttackDetector
from custodes.loop.trainer_logs import read_trainer_logs
from custodes.types import InputError

HEAD = Head("2026-11-30T00:00:00Z", "x.db", "00" * 32, 1, "11" * 32)


def rows(path: Path, *given: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in given))
    return path


CONCEPT = {"prompt": "Q", "label": 1, "group": "g", "answer": "yes"}
FACT = {"prompt": "The sky is", "subject": "sky", "new": "green", "old": "blue"}


@pytest.mark.parametrize("others", [5, {"a": "no"}, ["no", 3], True])
def test_others_are_a_text_or_texts(tmp_path: Path, others: Any) -> None:
    file = rows(tmp_path / "c.jsonl", {**CONCEPT, "others": others})
    with pytest.raises(InputError, match=r"row 1: others is .*; it must be a text or a list of texts"):
        read_concept(str(file), None, 100, 0)


def test_an_answer_is_not_one_of_the_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 1: the answer and the others must differ"):
        read_concept(str(rows(tmp_path / "c.jsonl", {**CONCEPT, "others": ["yes"]})), None, 100, 0)


@pytest.mark.parametrize("column", ["paraphrases", "neighbours", "neighbour_answers"])
@pytest.mark.parametrize("value", [5, {"a": 1}])
def test_paraphrases_and_neighbours_are_texts(tmp_path: Path, column: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"row 1: {column} is .*; it must be a text or a list of texts"):
        read_exchanges(rows(tmp_path / "f.jsonl", {**FACT, column: value}))


@pytest.mark.parametrize(("yes", "no"), [("true", "False"), ("1", "0"), ("1.0", "0.0"), (" TRUE", "no")])
def test_what_people_checked_may_be_spelled_as_tables_spell_it(tmp_path: Path, yes: str, no: str) -> None:
    file = tmp_path / "checked.csv"
    file.write_text(f"reply,counts\numbrella,{yes}\nI cannot help with that,{no}\n")
    told = AttackDetector(checked=file).checked_replies()
    assert told is not None
    assert told["counts"] == [True, False]


@pytest.mark.parametrize("value", ["maybe", 2, None, [1]])
def test_a_flag_that_is_none_is_refused(tmp_path: Path, value: Any) -> None:
    file = rows(tmp_path / "e.jsonl", {"question": "Is there a sea?", "exists": value})
    with pytest.raises(InputError, match=r"row 1: exists is .*; it must be true or false, or 1 or 0"):
        Facts(existing=file).items(None, 10, 0)


def test_a_detector_is_sure_between_0_and_1(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def judge(prompts, completions):\n    return [2.0 for _ in completions]\n")
    (tmp_path / "checked.csv").write_text("reply,counts\na,1\nb,0\n")
    detector = AttackDetector(detector=f"{tmp_path}/mine.py:judge", checked=tmp_path / "checked.csv")
    with pytest.raises(InputError, match=r"gave 2; how surely a reply counts is between 0 and 1"):
        detector.checked_replies()


# ---------------------------------------------------------------- logs of other trainers


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"step": "Infinity", "length": 5}, "it must be a number of a step, whole and from 0"),
        ({"step": -1, "length": 5}, "it must be a number of a step, whole and from 0"),
        ({"step": 0.25, "length": 5}, "it must be a number of a step, whole and from 0"),
        ({"step": 1, "length": -5}, "a mean length in tokens is 0 or more"),
        ({"step": 1, "objective/kl": 1e300}, "a KL in nats, and at most 1e\\+12"),
    ],
)
def test_numbers_of_a_log_that_cannot_be_are_refused(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=rf"log.jsonl, row 2: .*{sentence}"):
        read_trainer_logs(rows(tmp_path / "log.jsonl", {"step": 0, "length": 5}, row), None)


@pytest.mark.parametrize("reply", [5, {"text": "a"}, [1], None])
def test_a_reply_is_a_text_or_messages(tmp_path: Path, reply: Any) -> None:
    log = rows(tmp_path / "log.jsonl", {"step": 1, "length": 5})
    told = rows(tmp_path / "replies.jsonl", {"step": 1, "prompt": "p", "completion": "r"}, {"step": 1, "prompt": "p", "completion": reply})  # fmt: skip
    with pytest.raises(InputError, match=r"replies.jsonl, row 2"):
        read_trainer_logs(log, told)


def test_a_column_without_a_finite_number_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    nan = float("nan")
    log = rows(tmp_path / "log.jsonl", *({"step": n, "length": 5, "objective/kl": nan} for n in range(3)))
    told = read_trainer_logs(log, None).absent
    assert "the column objective/kl of" in told["kl"]
    assert "holds no finite number" in told["kl"]


def test_replies_of_other_steps_than_the_log_are_refused(tmp_path: Path) -> None:
    log = rows(tmp_path / "log.jsonl", *({"step": n, "length": 5} for n in range(1, 4)))
    told = rows(tmp_path / "replies.jsonl", *({"step": n, "prompt": "p", "completion": "r"} for n in range(101, 104)))
    with pytest.raises(InputError, match=r"the replies are of steps 101 to 103 .* of steps 1 to 3: no step is in both"):
        read_trainer_logs(log, told)


# ---------------------------------------------------------------- figures


def test_a_paired_difference_stays_where_it_can_be() -> None:
    figure = paired_figure("x", {"a": [0.0, 0.1, 0.0], "b": [1.0, 0.2, 1.0]}, ["1", "2", "3"])
    assert figure.differences["b"].low >= -1
    assert figure.differences["b"].high <= 1


def test_a_short_secret_is_compared_with_as_many_as_there_are() -> None:
    items = Memorised().items
    assert items is not None
    observed = {"a": {"exposure": [1.0], "first": [0.0], "forms": [10]}}

    class One:
        prompt, secret = "p", "3"

    exposure, first = Memorised().figures(observed, [One()])  # type: ignore[list-item]
    assert exposure.note == "bits; 1.14 where nothing is memorised, at most 3.3"
    assert first.note == "10.0% by chance"


def test_one_file_of_a_probe_leaves_the_folder_to_the_others(tmp_path: Path) -> None:
    (tmp_path / "bbq").mkdir()
    rows(tmp_path / "bbq" / "age.jsonl", {"x": 1})
    own = rows(tmp_path / "own.jsonl", {"x": 1})
    files = Stereotypes(crows_pairs=own).files(tmp_path)
    assert files["crows_pairs"] == own
    assert files["bbq"] == tmp_path / "bbq" / "age.jsonl"


# ---------------------------------------------------------------- ledgers and attacks


@pytest.mark.parametrize("content", [b'{"time": "2026', b"\x00\xff\x01", b'["a", "list"]\n'])
def test_a_head_is_added_to_no_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "heads.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"heads\.jsonl"):
        append_head(file, HEAD)
    assert file.read_bytes() == content


def test_a_head_behind_a_line_without_an_end_stands_on_its_own(tmp_path: Path) -> None:
    file = tmp_path / "heads.jsonl"
    append_head(file, HEAD)
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    append_head(file, HEAD)
    assert [head for _, head in read_heads(file)] == [HEAD, HEAD]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["audit", "register", "LEDGER", "--decided-by", "A", "--why", "b"], "name it with --fixed"),
        (["ledger", "redact", "LEDGER", "--run", "x", "--by", " ", "--why", "w"], "--by is empty"),
        (["ledger", "receipt", "LEDGER", "--row", "9" * 18], "is not in this ledger"),
        (["audit", "attack", "--model", "m", "--requests", "r", "--adaptive", "--out", "o"], "there is no defence"),
        (["audit", "attack", "--model", "m", "--requests", "r", "--attack", "pair", "--out", "o"], "--attacker"),
        (["audit", "bundle", "LEDGER", "--out", "b.zip", "--withhold-file", "nosuch*"], "matches no file"),
    ],
)
def test_options_that_have_nothing_to_do_are_refused(
    tmp_path: Path, words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from custodes.ledger import Ledger

    monkeypatch.chdir(tmp_path)
    with Ledger.open("l.db") as ledger:
        ledger.end_run(ledger.start_run("a command", {}, 0))
    assert main([word.replace("LEDGER", "l.db") for word in words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
