from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from custodes.reward.functions.numeric_answer import _final_number, numeric_answer
from custodes.tables import read_rows

GSM8K = Path(__file__).parents[4] / "shared/data/gsm8k/test.jsonl.gz"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 42", "42"),
        ("Ahito ran <<16=16>>16 miles.\n#### 16", "16"),
        ("First 3, then 4, so the answer is 7.", "7"),
        ("#### 1,234,567", "1234567"),
        ("She earns $1,250.50 a week.", "1250.5"),
        ("#### -5", "-5"),
        ("It falls by \u22123 degrees", "-3"),
        ("10-3", "3"),
        ("The ratio is .5", "0.5"),
        ("25% of them", "25"),
        ("#### 8 apples, not 9", "8"),
        ("-$40", "-40"),
        ("1,2345", "2345"),
        ("none at all", None),
        ("The answer is 12 #### unknown", None),
        ("", None),
    ],
)
def test_the_final_number_of_a_text(text: str, number: str | None) -> None:
    assert _final_number(text) == (None if number is None else Decimal(number))


def test_completions_as_text_and_as_messages_get_the_same_grade() -> None:
    said = ["It is 1,000.", "#### 999", "no idea"]
    messages = [[{"role": "assistant", "content": text}] for text in said]
    answers = ["... so\n#### 1000"] * 3
    assert numeric_answer(said, answer=answers) == numeric_answer(messages, answer=answers) == [1.0, 0.0, 0.0]


def test_numbers_that_are_written_otherwise_are_the_same() -> None:
    assert numeric_answer(["16.0", "+16", "016"], answer=[16, "16", 16.0]) == [1.0, 1.0, 1.0]


def test_a_task_without_a_number_is_no_opinion() -> None:
    assert numeric_answer(["7", "7"], answer=[None, "seven"]) == [None, None]
    assert numeric_answer(["7"]) == [None]
    assert numeric_answer(["7"], solution=["7"]) == [1.0]


@pytest.mark.skipif(not GSM8K.exists(), reason="the GSM8K sample is not beside this repository (../shared/data/gsm8k)")
def test_every_reference_answer_of_gsm8k_is_read() -> None:
    answers = [row.values["answer"] for row in read_rows(GSM8K)]
    assert numeric_answer(answers, answer=answers) == [1.0] * len(answers)
    wrong = [f"#### {_final_number(a) + 1}" for a in answers]  # type: ignore[operator]
    assert numeric_answer(wrong, answer=answers) == [0.0] * len(answers)
