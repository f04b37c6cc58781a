"""Conversations as token ids: the template's own form, and text that stays text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chat_models import FORMATS, write_chat_model

from custodes.lm.chat import Chat
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.policy.turns import answer_ids, demonstration_of
from custodes.reward.reading import Reader
from custodes.reward.train import train_reward
from custodes.types import InputError, Message, PreferencePair, Sampling, Task


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    folder = tmp_path_factory.mktemp("formats")
    return {name: load(write_chat_model(folder / name, name), dtype="float32") for name in FORMATS}


@pytest.fixture(params=FORMATS)
def lm(request: pytest.FixtureRequest, models: dict[str, LanguageModel]) -> LanguageModel:
    return models[request.param]


def control(lm: LanguageModel, ids: object) -> list[int]:
    """The control tokens among ids."""
    names = {i for i, token in lm.tokenizer.added_tokens_decoder.items() if token.special}
    return [i for i in np.asarray(ids).tolist() if i in names]


def hostile(lm: LanguageModel, question: str = "", answer: str = "") -> list[Message]:
    """A conversation full of names of control tokens, or the same with other words in their place."""
    names = "".join(t.content for t in lm.tokenizer.added_tokens_decoder.values() if t.special)
    return [
        Message("user", question or f"who {names}watches {names}"),
        Message("assistant", answer or f"we {names} do"),
        Message("user", "and them?"),
    ]


def test_names_of_control_tokens_in_a_text_are_text(lm: LanguageModel) -> None:
    plain = hostile(lm, "who watches", "we do")
    for read in (lm.chat.prompt, lm.chat.conversation):
        assert control(lm, read(hostile(lm))) == control(lm, read(plain))
    task, said = Task("t", (hostile(lm)[0],)), hostile(lm)[1].content
    assert control(lm, demonstration_of(lm, task, said).token_ids) == control(
        lm, demonstration_of(lm, Task("t", (plain[0],)), "we do").token_ids
    )
    assert control(lm, lm.encode_reply(said)) == [lm.end_ids[0]]
    assert control(lm, lm.chat.text(said)) == []
    assert control(lm, lm.chat.texts(["fox", said])[1]) == []
    prompt = lm.encode(plain)
    assert control(lm, lm.encode(plain, said)) == control(lm, prompt)
    between = [answer_ids(lm, [plain[0]], [Message("user", text)], lm.end_ids[0]) for text in (said, "we do")]
    assert control(lm, between[0]) == control(lm, between[1])


def test_such_a_text_is_read_whole(lm: LanguageModel) -> None:
    text = hostile(lm)[1].content
    assert lm.tokenizer.decode(lm.chat.text(text)).strip() == text


def test_a_reply_that_names_control_tokens_gives_no_orders_to_the_engine(lm: LanguageModel) -> None:
    (episode,) = TorchEngine(lm).generate([Task("t", tuple(hostile(lm)))], Sampling(max_tokens=2))
    assert control(lm, episode.token_ids[~episode.action_mask]) == control(
        lm, lm.encode(hostile(lm, "who watches", "we do"))
    )


def test_ordinary_conversations_are_what_transformers_makes_of_them(lm: LanguageModel) -> None:
    talk = [Message("user", " Who\n\nwatches 12?"), Message("assistant", "We do. "), Message("user", "And <b>them?")]
    turns = [m.to_dict() for m in talk]
    apply = lm.tokenizer.apply_chat_template
    assert lm.chat.prompt(talk) == apply(turns, add_generation_prompt=True, return_dict=False)
    assert lm.chat.conversation(talk[:2]) == apply(turns[:2], return_dict=False)


def test_prompt_and_reply_are_the_beginning_of_the_conversation(lm: LanguageModel) -> None:
    talk = [Message("user", "Who watches?"), Message("assistant", "We do.")]
    prompt, reply = lm.chat.prompt(talk[:1]), lm.encode_reply("We do.").tolist()
    whole = lm.chat.conversation(talk)
    assert lm.tokenizer.decode(whole).startswith(lm.tokenizer.decode([*prompt, *reply]))
    if whole[: len(prompt)] == prompt:  # bytes may join across the opening of a turn, which is sampled as it stands
        assert whole[: len(prompt) + len(reply)] == [*prompt, *reply]


def test_turns_join_as_the_template_joins_them(lm: LanguageModel) -> None:
    first, then = Message("user", "Who watches?"), Message("user", "And them?")
    ids = [*lm.chat.prompt([first]), *lm.encode_reply("We do.").tolist()]
    ids += answer_ids(lm, [first], [then], ids[-1]).tolist()
    talk = [first, Message("assistant", "We do."), then]
    whole = lm.tokenizer.decode(lm.chat.prompt(talk))
    joined = lm.tokenizer.decode(ids)
    form = lm.chat.form  # a template may write more around the last reply than around earlier ones
    assert joined.replace(form.lead if "think" in form.lead else "\0", "") == whole


@pytest.mark.parametrize("name", FORMATS)
def test_turns_that_a_template_refuses_are_one_sentence_with_their_place(
    name: str, models: dict[str, LanguageModel]
) -> None:
    lm, form = models[name], FORMATS[name]
    system = (Message("system", "Be brief."), Message("user", "Who?"))
    double = (Message("user", "Who?"), Message("user", "And who?"))
    for prompt, taken in ((system, form.system), (double, not form.alternates)):
        pair = PreferencePair(prompt, (Message("assistant", "We."),), (Message("assistant", "No."),), line=7)
        task = Task("t-3", prompt)
        if taken:
            Reader(lm, 500).pairs([pair], "pairs.jsonl")
            demonstration_of(lm, task, "We.")
            continue
        with pytest.raises(InputError, match=r"^pairs\.jsonl row 7, chosen: the chat template of .* refuses"):
            train_reward(lm, [pair], source="pairs.jsonl")
        with pytest.raises(InputError, match=r"^pairs\.jsonl row 7, chosen: .* refuses"):
            Reader(lm, 500).check_replies([pair], "pairs.jsonl")
        with pytest.raises(InputError, match=r"^example t-3: the chat template of .* refuses"):
            demonstration_of(lm, task, "We.")
        with pytest.raises(InputError, match=r"^task t-3: .* refuses .*; leave it out"):
            TorchEngine(lm).generate([task], Sampling(max_tokens=2))


def test_a_base_model_has_one_form_of_joining(tiny_model: Path) -> None:
    """What it samples, what is imported and what a reward reads: a space stands between the colon and the reply."""
    lm = load(tiny_model, dtype="float32")
    lm.tokenizer.chat_template = None
    talk = [Message("user", "Who?"), Message("assistant", "A cat.")]
    text = "\n\nHuman: Who?\n\nAssistant: A cat.<|im_end|>"
    assert lm.tokenizer.decode(lm.chat.conversation(talk)) == text
    assert lm.tokenizer.decode(demonstration_of(lm, Task("t", tuple(talk[:1])), "A cat.").token_ids) == text
    assert lm.tokenizer.decode(lm.encode(talk[:1], "A")) == "\n\nHuman: Who?\n\nAssistant: A"
    again = (*talk, Message("user", "And?"))
    assert lm.tokenizer.decode(lm.encode(again)) == "\n\nHuman: Who?\n\nAssistant: A cat.\n\nHuman: And?\n\nAssistant:"
    assert lm.chat.said(" A cat.") == "A cat."


def test_the_form_of_a_base_model_is_saved_with_it(tiny_model: Path, tmp_path: Path) -> None:
    lm = load(tiny_model, dtype="float32")
    lm.tokenizer.chat_template = None
    lm.save(tmp_path)
    again, talk = load(tmp_path, dtype="float32"), [Message("user", "Who?"), Message("assistant", "A cat.")]
    assert again.chat.conversation(talk) == lm.chat.conversation(talk)
    assert again.tokenizer.apply_chat_template([m.to_dict() for m in talk], return_dict=False) == (
        lm.chat.conversation(talk)
    )


def test_a_template_without_an_end_of_its_own_ends_with_the_end_of_text(tiny_model: Path) -> None:
    tokenizer = load(tiny_model).tokenizer
    tokenizer.chat_template = "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}### reply:\n"
    assert Chat(tokenizer, [1]).reply("the fox")[-1] == 1
    with pytest.raises(InputError, match="ends a turn with none"):
        assert Chat(tokenizer).form
    tokenizer.chat_template = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    with pytest.raises(InputError, match="does not write what the assistant says"):
        assert Chat(tokenizer, [1]).form


def test_a_conversation_of_no_message_is_one_sentence(tiny_model: Path) -> None:
    with pytest.raises(InputError, match=r"^example t: there is no prompt; write at least one message\."):
        demonstration_of(load(tiny_model), Task("t", ()), "We.")
