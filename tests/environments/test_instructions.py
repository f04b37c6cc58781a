import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.environments.checks import CHECKS
from custodes.environments.instructions import (
    CONFLICTS,
    GoldReward,
    _compatible,
    check_results,
    gold,
    instruction_tasks,
)
from custodes.environments.topics import TOPICS, Topic
from custodes.types import Episode, InputError, Message, Reward, Task

TASKS = instruction_tasks()
BREAD = next(t for t in TOPICS if t.text == "the history of bread")


def bread_task(*checks):
    metadata = {"checks": list(checks), "topic": BREAD.text, "mentions": list(BREAD.mentions)}
    return Task("t", (Message("user", "Write about the history of bread."),), metadata=metadata)


# ---------------------------------------------------------------- the set


def test_at_least_two_thousand_distinct_prompts_with_stable_ids():
    assert len(TASKS) == 2400
    assert len({t.id for t in TASKS}) == len({t.messages for t in TASKS}) == 2400
    assert [t.id for t in TASKS[:300]] == [t.id for t in instruction_tasks(300)]
    assert instruction_tasks(50, seed=1) != instruction_tasks(50, seed=2)


def test_no_topic_is_in_both_splits_whatever_the_seed():
    tasks = TASKS + instruction_tasks(400, seed=7)
    splits = {
        split: {t.metadata["topic"] for t in tasks if t.metadata["split"] == split} for split in ("train", "held_out")
    }
    assert not splits["train"] & splits["held_out"]
    assert splits["train"] | splits["held_out"] == {t.text for t in TOPICS}
    share = np.mean([t.metadata["split"] == "held_out" for t in TASKS])
    assert 0.18 < share < 0.24


def test_no_held_out_topic_differs_from_a_training_topic_by_a_word_alone():
    def said(topic: Topic) -> set[str]:
        return set(topic.text.split()) - {"how", "the", "a", "of", "to", "why", "in", "is", "an"}

    for held in (t for t in TOPICS if t.held_out):
        for train in (t for t in TOPICS if not t.held_out):
            assert said(held) != said(train)


def test_every_check_occurs_alone_and_in_combination_with_json_metadata():
    alone = Counter(t.metadata["checks"][0]["name"] for t in TASKS if len(t.metadata["checks"]) == 1)
    combined = Counter(c["name"] for t in TASKS if len(t.metadata["checks"]) > 1 for c in t.metadata["checks"])
    assert alone.keys() == combined.keys() == CHECKS.keys()
    assert all(json.loads(json.dumps(dict(t.metadata))) == dict(t.metadata) for t in TASKS)


def test_no_prompt_asks_for_what_it_forbids():
    for task in TASKS:
        checks = task.metadata["checks"]
        names = {c["name"] for c in checks}
        assert len(names) == len(checks)
        assert not any(pair <= names for pair in CONFLICTS)
        given_ = {k: v for c in checks for k, v in c.items()}
        letter = given_.get("letter")
        if letter:
            wanted = [*given_.get("keys", ()), given_.get("phrase", ""), given_.get("word", "")]
            assert not any(letter in w.lower() for w in wanted)


def test_a_phrase_is_shown_in_lower_case_where_the_text_must_be():
    both = [t for t in TASKS if {"lower_case", "starts_with"} <= {c["name"] for c in t.metadata["checks"]}]
    assert both
    for task in both:
        phrase = next(c["phrase"] for c in task.metadata["checks"] if "phrase" in c)
        assert f'"{phrase.lower()}"' in task.messages[0].content


def test_the_prompt_says_every_parameter():
    for task in TASKS:
        prompt = task.messages[0].content
        assert task.metadata["topic"] in prompt
        for check in task.metadata["checks"]:
            for name in ("word", "letter"):
                assert name not in check or f'"{check[name]}"' in prompt
            for key in check.get("keys", ()):
                assert f'"{key}"' in prompt


@pytest.mark.parametrize(
    "checks",
    [
        [{"name": "json_keys", "keys": ["a"]}, {"name": "exact_bullets", "n": 2}],
        [{"name": "max_words", "n": 9}, {"name": "exact_sentences", "n": 3}],
        [{"name": "contains_word", "word": "oven"}, {"name": "avoids_letter", "letter": "v"}],
        [{"name": "contains_word", "word": "the"}, {"name": "avoids_word", "word": "the"}],
        [{"name": "starts_with", "phrase": "The trick is"}, {"name": "avoids_word", "word": "the"}],
        [{"name": "max_words", "n": 9}, {"name": "max_words", "n": 10}],
    ],
)
def test_contradictory_demands_are_not_drawn(checks):
    assert not _compatible(checks, BREAD)
    assert all(_compatible([c], BREAD) for c in checks)


def test_asking_for_no_task_is_refused():
    with pytest.raises(InputError, match="ask for 1 or more"):
        instruction_tasks(0)


# ---------------------------------------------------------------- gold

TEXT = "Long ago, people baked bread on hot stones. Do you?"


def test_gold_is_the_share_of_checks_that_hold():
    three = (
        {"name": "exact_sentences", "n": 3},
        {"name": "ends_with_question"},
        {"name": "starts_with", "phrase": "Long ago"},
    )
    assert gold(bread_task(*three), TEXT) == pytest.approx(2 / 3)
    assert gold(bread_task(*three[1:]), TEXT) == 1
    assert check_results(bread_task(three[0]), TEXT) == {"exact_sentences": False, "is_answer": True}


@settings(max_examples=60)
@given(st.sampled_from(TASKS), st.text(max_size=200))
def test_gold_stays_in_range_and_a_degenerate_completion_has_none(task, text):
    assert 0 <= gold(task, text) <= 1
    topic = task.metadata["topic"]
    for degenerate in ("", "?", topic, f"{topic} " * 8, task.messages[0].content, task.metadata["mentions"][0] * 3):
        assert gold(task, degenerate) == 0


def test_every_kind_of_task_can_be_fulfilled():
    written = {
        "max_words": "Bread is old and it is good.",
        "words_between": "Bread is old and it is good for all of us, warm or cold, with salt or without it.",
        "exact_sentences": "Bread is old and it is good.",
        "contains_word": "Bread is old and it is quiet.",
        "avoids_word": "Flour and water make a dough.",
        "avoids_letter": "Flour and water make a dough.",
        "ends_with_question": "Is bread as old as they say?",
        "lower_case": "bread is old and it is good.",
        "exact_bullets": "- flour\n- water\n- yeast",
        "json_keys": '{"topic": "bread", "fact": "It is old."}',
        "starts_with": "Long ago there was bread for the king.",
    }
    parameters = {
        "max_words": {"n": 12},
        "words_between": {"low": 12, "high": 24},
        "exact_sentences": {"n": 1},
        "contains_word": {"word": "quiet"},
        "avoids_word": {"word": "bread"},
        "avoids_letter": {"letter": "b"},
        "exact_bullets": {"n": 3},
        "json_keys": {"keys": ["topic", "fact"]},
        "starts_with": {"phrase": "Long ago"},
    }
    for name in CHECKS:
        assert gold(bread_task({"name": name, **parameters.get(name, {})}), written[name]) == 1, name


def test_a_task_without_checks_has_no_gold():
    with pytest.raises(InputError, match="has no checks"):
        gold(Task("t", (Message("user", "Hello"),)), "Hi")
    with pytest.raises(InputError, match="has no checks"):
        gold(bread_task({"name": "rhymes"}), "Hi")


def test_gold_reward_scores_episodes_like_gold():
    task = bread_task({"name": "ends_with_question"}, {"name": "max_words", "n": 5})
    empty = np.zeros(0)
    episodes = [
        Episode(str(i), task, (*task.messages, Message("assistant", text)), empty, empty > 0, empty, "stop", "p")
        for i, text in enumerate((TEXT, ""))
    ]
    scores = GoldReward().score(episodes)
    assert isinstance(GoldReward(), Reward)
    assert scores.value.tolist() == [0.5, 0]
    assert scores.parts["is_answer"].tolist() == [1, 0]
