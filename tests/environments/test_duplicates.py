from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from custodes.environments.duplicates import near_duplicates
from custodes.types import Message, Task

LONG = "Tom has twelve apples and gives five of them to his sister; how many apples are left for Tom in the end?"


def task(text: str, system: str = "") -> Task:
    messages = (Message("user", text),)
    return Task(text, ((Message("system", system), *messages) if system else messages))


def test_what_differs_in_marks_case_or_one_name_is_nearly_the_same() -> None:
    (found,) = near_duplicates([task("Name a river."), task(LONG)], [task(LONG.upper().replace(";", ","))])
    assert found.trained.id == LONG
    assert found.similarity == 1
    (found,) = near_duplicates([task(LONG)], [task(LONG.replace("in the end", "in all"))])
    assert 0.8 <= found.similarity < 1


def test_other_numbers_in_other_words_are_not() -> None:
    other = "Anna buys three pens for two dollars each and pays with a note of ten; what is her change?"
    assert near_duplicates([task(LONG)], [task(other), task("Name a river.")]) == []


def test_short_prompts_are_compared_whole_and_system_messages_do_not_count() -> None:
    assert (
        len(near_duplicates([task("Hello there")], [task("hello, there!", "Be kind and answer in one sentence.")])) == 1
    )
    assert not near_duplicates([task("Hello there")], [task("Hello you")])


@given(st.lists(st.text("abc ", min_size=1), min_size=1, max_size=6))
def test_a_held_out_prompt_that_is_trained_on_is_always_found(texts: list[str]) -> None:
    tasks = [task(text) for text in texts]
    found = near_duplicates(tasks, tasks)
    assert [pair.similarity for pair in found] == [1.0] * len(tasks)
