"""Reward models on disk, as transformers reads them and as we do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_rewards import ensemble, episodes, make_pairs, small
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from custodes.lm.loading import LanguageModel, load
from custodes.reward.evaluate import evaluate_reward
from custodes.reward.model import RewardModel
from custodes.reward.storage import export, load_reward, save_reward
from custodes.reward.train import train_reward
from custodes.types import InputError


def hf_logits(folder: Path, model: RewardModel, one_by_one: bool = False) -> np.ndarray:
    """What transformers says of the test episodes, less the centre, in a padded batch if there is a padding token."""
    classifier = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [model.reader.conversation(e.messages, "") for e in episodes(5)]
    if one_by_one:
        batches = [torch.tensor(r[None].astype(np.int64)) for r in rows]
    else:
        padded = tokenizer.pad({"input_ids": [r.tolist() for r in rows]}, return_tensors="pt")
        batches = [padded["input_ids"]]
    with torch.no_grad():
        logits = torch.cat([classifier(input_ids=b).logits for b in batches])
    return logits.numpy() - np.array(classifier.config.reward_center)


@pytest.mark.parametrize("kind", ["full", "heads"])
def test_transformers_gives_the_same_scores(lm: LanguageModel, tmp_path: Path, kind: str) -> None:
    model = ensemble(lm, kind)
    save_reward(model, tmp_path)
    ours = np.stack(list(model.score(episodes(5)).parts.values()), 1)
    np.testing.assert_allclose(hf_logits(tmp_path, model, one_by_one=True), ours, rtol=1e-4, atol=2e-4)


def test_every_exported_member_gives_its_scores_in_transformers(lm: LanguageModel, tmp_path: Path) -> None:
    model = ensemble(lm, "adapters")
    parts = model.score(episodes(5)).parts
    for k, folder in enumerate(export(model, tmp_path)):
        np.testing.assert_allclose(
            hf_logits(folder, model, one_by_one=True)[:, 0], parts[f"member_{k}"], rtol=1e-4, atol=2e-4
        )


def test_padded_batches_in_transformers_read_the_last_token(lm: LanguageModel, tmp_path: Path) -> None:
    model = ensemble(lm, "full", members=1)
    save_reward(model, tmp_path)
    np.testing.assert_allclose(hf_logits(tmp_path, model)[:, 0], model.score(episodes(5)).value, rtol=1e-4, atol=2e-4)


def test_a_padding_token_without_a_row_in_the_embedding_is_not_taken(lm: LanguageModel, tmp_path: Path) -> None:
    lm.tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    assert lm.tokenizer.pad_token_id >= lm.decoder.spec.vocab
    save_reward(ensemble(lm, "full", members=1), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pad_token_id"] < lm.decoder.spec.vocab


def test_a_reward_of_another_release_is_refused(lm: LanguageModel, tmp_path: Path) -> None:
    save_reward(ensemble(lm, "full"), tmp_path)
    settings = json.loads((tmp_path / "reward.json").read_text())
    (tmp_path / "reward.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "version"}))
    with pytest.raises(InputError, match="saved by another release, which read its score at another token"):
        load_reward(tmp_path, "float32")


@pytest.mark.parametrize("kind", ["full", "heads", "adapters"])
def test_what_is_saved_is_what_is_loaded(lm: LanguageModel, tmp_path: Path, kind: str) -> None:
    model = ensemble(lm, kind)
    model.combine, model.caution, model.temperature, model.max_length = "cautious", 0.5, 1.7, 300
    save_reward(model, tmp_path)
    again = load_reward(tmp_path, "float32")
    ours, theirs = model.score(episodes(5)), again.score(episodes(5))
    np.testing.assert_allclose(ours.value, theirs.value, atol=1e-5)
    np.testing.assert_allclose(ours.std, theirs.std, atol=1e-5)
    assert (again.temperature, again.max_length, again.caution) == (1.7, 300, 0.5)
    assert len(again.adapters) == len(model.adapters) * (kind == "adapters")


def test_any_sequence_classifier_of_that_family_is_a_reward(tiny_model: Path, tmp_path: Path) -> None:
    """One that another trainer wrote: untied, and padding with the end-of-turn token."""
    classifier = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1, tie_word_embeddings=False)
    classifier.save_pretrained(tmp_path)
    for file in tiny_model.iterdir():
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copyfile(file, tmp_path / file.name)
    model = load_reward(tmp_path, "float32")
    assert model.members == 1
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    scores = model.score(episodes(5)).value
    for e, score in zip(episodes(5), scores, strict=True):
        talk = tokenizer.apply_chat_template([m.to_dict() for m in e.messages], tokenize=False)
        with torch.no_grad():
            logits = classifier(**tokenizer(talk, return_tensors="pt", add_special_tokens=False)).logits
        np.testing.assert_allclose(logits[0, 0], score, rtol=1e-4, atol=2e-4)


def test_a_changed_base_model_is_noticed(lm: LanguageModel, tiny_model: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    model = ensemble(load(base, dtype="float32"), "adapters")
    save_reward(model, tmp_path / "reward")
    load_reward(tmp_path / "reward", "float32")
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"] += 0.1
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="trained on other weights"):
        load_reward(tmp_path / "reward", "float32")


def test_folders_that_are_no_reward_model_are_refused(lm: LanguageModel, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="LlamaForCausalLM, which is no reward model"):
        load_reward(tiny_model)
    with pytest.raises(InputError, match="neither an existing folder"):
        load_reward(tmp_path / "nowhere")
    save_reward(ensemble(lm, "adapters"), tmp_path)
    (tmp_path / "heads.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"heads\.safetensors cannot be read"):
        load_reward(tmp_path, "float32")
    (tmp_path / "reward.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        load_reward(tmp_path, "float32")


def test_a_folder_that_cannot_be_written_is_said(lm: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        save_reward(ensemble(lm, "full"), tmp_path / "file")


@pytest.mark.filterwarnings("ignore:architecture 'gpt2' runs through transformers")
def test_architectures_that_transformers_runs_are_backbones_too(tiny_model: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
    GPT2LMHeadModel(GPT2Config(**sizes, eos_token_id=1, bos_token_id=1)).save_pretrained(tmp_path / "base")
    for file in tiny_model.iterdir():
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copyfile(file, tmp_path / "base" / file.name)
    with pytest.raises(InputError, match="cannot run with adapters"):
        train_reward(load(tmp_path / "base", dtype="float32"), make_pairs(10), small("adapter"))
    model = train_reward(load(tmp_path / "base", dtype="float32"), make_pairs(60), small("full heads", epochs=4))
    assert evaluate_reward(model, make_pairs(40, seed=1)).accuracy.low > 0.8
    save_reward(model, tmp_path / "reward")
    ours = np.stack(list(model.score(episodes(5)).parts.values()), 1)
    np.testing.assert_allclose(hf_logits(tmp_path / "reward", model, one_by_one=True), ours, atol=1e-4)
    again = load_reward(tmp_path / "reward", "float32").score(episodes(5)).value
    np.testing.assert_allclose(again, model.score(episodes(5)).value, atol=1e-4)


@pytest.mark.parametrize("kind", ["full", "heads", "adapters"])
def test_axes_and_their_weights_are_saved(lm: LanguageModel, tmp_path: Path, kind: str) -> None:
    model = ensemble(lm, kind, axes=("helpful", "honest")).weighted({"honest": 1.0, "helpful": 0.25})
    save_reward(model, tmp_path)
    again = load_reward(tmp_path, "float32")
    assert (again.axes, dict(again.weights)) == (model.axes, dict(model.weights))
    ours, theirs = model.score(episodes(5)), again.score(episodes(5))
    np.testing.assert_allclose(ours.value, theirs.value, atol=1e-5)
    for name, part in ours.parts.items():
        np.testing.assert_allclose(part, theirs.parts[name], atol=1e-5)


def test_exported_members_name_their_axes_in_transformers(lm: LanguageModel, tmp_path: Path) -> None:
    model = ensemble(lm, "adapters", axes=("helpful", "honest"))
    members = model.member_scores([model.reader.conversation(e.messages, "") for e in episodes(5)])
    for k, folder in enumerate(export(model, tmp_path)):
        labels = json.loads((folder / "config.json").read_text())["id2label"]
        assert labels == {"0": f"member_{k}/helpful", "1": f"member_{k}/honest"}
        logits = hf_logits(folder, model, one_by_one=True)
        np.testing.assert_allclose(logits, members[:, 2 * k : 2 * k + 2], rtol=1e-4, atol=2e-4)


def test_a_reward_that_names_no_axis_is_read_as_overall(lm: LanguageModel, tmp_path: Path) -> None:
    """As those of 0.1 are."""
    save_reward(ensemble(lm, "heads"), tmp_path)
    settings = json.loads((tmp_path / "reward.json").read_text())
    assert settings.keys().isdisjoint({"axes", "value"})
    assert load_reward(tmp_path, "float32").axes == ("overall",)
