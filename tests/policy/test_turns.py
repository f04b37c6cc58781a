"""Conversations as token ids: the template's own rendering, and only the policy's tokens are actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custodes.lm.loading import LanguageModel, load
from custodes.policy.methods import Sft
from custodes.policy.rollout import make_packs
from custodes.policy.tuning import tune
from custodes.policy.turns import answer_ids, demonstration_of
from custodes.types import InputError, Message, Task

TASK = Task("t", (Message("system", "You have a shell."), Message("user", "How many?")))
SAID = (
    Message("assistant", "<bash>wc -l names</bash>"),
    Message("user", "<stdout>\n7 names\n</stdout>"),
    Message("assistant", "<bash>cat names</bash>"),
    Message("user", "<stdout>\nAda\n</stdout>"),
    Message("assistant", "Seven."),
)


@pytest.fixture(scope="module")
def lm(tiny_model: Path) -> LanguageModel:
    return load(tiny_model, dtype="float32")


def test_a_demonstration_is_what_the_template_renders(lm: LanguageModel) -> None:
    episode = demonstration_of(lm, TASK, SAID)
    whole = np.concatenate([lm.encode((*TASK.messages, *SAID[:-1])), lm.encode_reply("Seven.")])
    assert episode.token_ids.tolist() == whole.tolist()


def test_actions_are_the_replies_with_their_ends_and_nothing_else(lm: LanguageModel) -> None:
    episode = demonstration_of(lm, TASK, SAID)
    expected = [i for m in SAID if m.role == "assistant" for i in lm.encode_reply(m.content).tolist()]
    assert episode.token_ids[episode.action_mask].tolist() == expected
    (pack,) = make_packs([episode], [0], 10_000, [0])
    assert pack.targets.tolist() == expected


def test_one_reply_is_a_demonstration_too(lm: LanguageModel) -> None:
    as_text, as_messages = (
        demonstration_of(lm, TASK, "Seven."),
        demonstration_of(lm, TASK, [Message("assistant", "Seven.")]),
    )
    assert as_text.token_ids.tolist() == as_messages.token_ids.tolist()


def test_the_end_of_a_turn_is_said_once(lm: LanguageModel) -> None:
    end, other = lm.end_ids[0], 5
    open_ended, ended = (answer_ids(lm, TASK.messages, SAID[1:2], last) for last in (other, end))
    assert open_ended[0] == end
    assert open_ended[1:].tolist() == ended.tolist()


def test_a_prefix_opens_the_next_reply(lm: LanguageModel) -> None:
    plain, steered = (answer_ids(lm, TASK.messages, SAID[1:2], 5, prefix) for prefix in ("", "<cot>Ask."))
    assert lm.tokenizer.decode(steered[len(plain) :]) == "<cot>Ask."


def test_models_without_a_template_speak_in_turns_too(tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    lm.tokenizer.chat_template = None
    text = lm.tokenizer.decode(answer_ids(lm, TASK.messages, SAID[1:2], 5))
    assert text == "\n\nHuman: <stdout>\n7 names\n</stdout>\n\nAssistant:"


def test_a_conversation_is_learned(tiny_model: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    config = Sft(epochs=40, batch=1, learning_rate=2e-2, decay="linear")
    metrics = tune(lm, [(TASK, SAID)], config, progress=False)
    assert metrics[-1]["loss"] < 0.1 < metrics[0]["loss"]
    assert metrics[0]["tokens"] == demonstration_of(lm, TASK, SAID).actions


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((), "begin and end"),
        (SAID[:-1], "begin and end"),
        (SAID[1:], "begin and end"),
        ((SAID[0], SAID[2]), "two replies in a row"),
        ((Message("assistant", ""),), "is empty"),
    ],
)
def test_what_is_no_conversation_is_one_sentence(lm: LanguageModel, said: tuple[Message, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        demonstration_of(lm, TASK, said)
