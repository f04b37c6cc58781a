"""Ten chat templates through everything: a reward trained, saved, exported and read by transformers; tuning; sampling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_models import FORMATS, write_chat_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.policy.methods import Sft
from custodes.policy.tuning import tune
from custodes.policy.turns import demonstration_of
from custodes.reward.config import RewardConfig
from custodes.reward.storage import export, load_reward, save_reward
from custodes.reward.train import train_reward
from custodes.types import Message, PreferencePair, Sampling, Task

TALKS = [
    (Message("user", "Who watches?"), Message("assistant", reply))
    for reply in ("We do.", " The lazy dog,\nand a small model. ", "</s> and <|im_end|> are words")
]
TALKS += [(*TALKS[0], Message("user", "And them?"), Message("assistant", "seven"))]
ORDINARY = [talk for talk in TALKS if "</s>" not in talk[-1].content]


def pairs() -> list[PreferencePair]:
    prompt, good, bad = TALKS[0][:1], TALKS[0][1:], TALKS[1][1:]
    return [PreferencePair(prompt, good, bad, line=1), PreferencePair(prompt, TALKS[2][1:], good, line=2)]


def by_transformers(folder: Path, talks: list[tuple[Message, ...]], rows: list[np.ndarray] | None = None) -> np.ndarray:
    """Logits of the exported classifier: of whole conversations by its own template, in one padded batch."""
    classifier = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if rows is None:
        rows = [
            np.asarray(tokenizer.apply_chat_template([m.to_dict() for m in talk], return_dict=False)) for talk in talks
        ]
    batch = tokenizer.pad({"input_ids": [row.tolist() for row in rows]}, return_tensors="pt")
    with torch.no_grad():
        return classifier(**batch).logits.numpy()[:, 0]


@pytest.mark.parametrize("name", FORMATS)
def test_a_chat_template_from_training_to_transformers_and_back(name: str, tmp_path: Path) -> None:
    form, base = FORMATS[name], write_chat_model(tmp_path / "base", name)
    lm = load(base, dtype="float32")
    assert lm.tokenizer.convert_ids_to_tokens(lm.end_ids[0]) == form.end

    # a reward: one step, saved, exported, read elsewhere and here
    config = RewardConfig(epochs=1, members=2, rank=2, learning_rate=1e-2)
    model = train_reward(lm, pairs(), config)
    for k, folder in enumerate(export(model, tmp_path / "members")):
        centre = json.loads((folder / "config.json").read_text())["reward_center"][0]
        ours = model.score_messages(ORDINARY).parts[f"member_{k}"]
        np.testing.assert_allclose(by_transformers(folder, ORDINARY) - centre, ours, rtol=1e-4, atol=2e-4)
        rows = [model.reader.conversation(talk, "") for talk in TALKS]  # names of control tokens are words here
        ours = model.score_messages(TALKS).parts[f"member_{k}"]
        np.testing.assert_allclose(by_transformers(folder, TALKS, rows) - centre, ours, rtol=1e-4, atol=2e-4)
        again = load_reward(folder, "float32").score_messages(TALKS).value
        np.testing.assert_allclose(again, ours, rtol=1e-4, atol=2e-4)
    save_reward(model, tmp_path / "reward")
    again = load_reward(tmp_path / "reward", "float32").score_messages(TALKS).value
    np.testing.assert_allclose(again, model.score_messages(TALKS).value, rtol=1e-4, atol=2e-4)

    # tuning learns the end of the turn, and sampling stops there
    task = Task("t", TALKS[0][:1])
    episode = demonstration_of(lm, task, "We do.")
    assert episode.token_ids[-1] == lm.end_ids[0]
    assert episode.action_mask[-1]
    tuning = Sft(epochs=30, batch=1, learning_rate=2e-2, decay="linear")
    assert tune(lm, [(task, "We do.")], tuning, progress=False)[-1]["loss"] < 0.1
    (drawn,) = TorchEngine(lm).generate([task], Sampling(temperature=0.0, max_tokens=40))
    assert drawn.outcome == "stop"
    assert drawn.token_ids.tolist() == episode.token_ids.tolist()
    assert drawn.messages[-1].content == "We do."
    lm.save(tmp_path / "tuned")
    saved = load(tmp_path / "tuned", dtype="float32")
    assert saved.encode(task.messages).tolist() == lm.encode(task.messages).tolist()
    assert saved.end_ids == lm.end_ids


@pytest.mark.parametrize("name", FORMATS)
def test_a_classifier_trained_elsewhere_on_whole_conversations(name: str, tmp_path: Path) -> None:
    """Its padding is what its tokenizer had, be that the last token of every conversation or not."""
    base = write_chat_model(tmp_path / "base", name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        classifier = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, tie_word_embeddings=False)
    lm = load(base)
    end = lm.tokenizer.pad_token_id if lm.tokenizer.pad_token_id is not None else lm.tokenizer.eos_token_id
    classifier.config.pad_token_id = end
    classifier.save_pretrained(tmp_path / "theirs")
    lm.save_tokenizer(tmp_path / "theirs", pad_token=lm.tokenizer.convert_ids_to_tokens(end))
    ours = load_reward(tmp_path / "theirs", "float32").score_messages(ORDINARY).value
    np.testing.assert_allclose(by_transformers(tmp_path / "theirs", ORDINARY), ours, rtol=1e-4, atol=2e-4)
