from __future__ import annotations

import copy
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import reference_logits, sequences, write_model
from transformers import AutoModelForCausalLM

from custodes.lm.adapter import AdapterConfig
from custodes.lm.decoder import Decoder
from custodes.lm.engine import TorchEngine
from custodes.lm.fallback import TransformersDecoder
from custodes.lm.loading import LanguageModel, load
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import pack
from custodes.types import InputError, Message, Sampling, Task

KINDS: dict[str, dict[str, Any]] = {
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},  # learned positions, dropout, tied
    "Gemma": {"head_dim": 8},  # scales its embeddings
    "Phi3": {},  # an untied head
    "Bloom": {"n_layer": 2, "n_head": 4},  # no positions at all
    "Granite": {"logits_scaling": 4.0},
    "Cohere": {"logit_scale": 0.25},
}
TASKS = [Task(str(i), (Message("user", "the quick fox " * (1 + 3 * i)),)) for i in range(4)]


def quietly(folder: Path, **options: Any) -> LanguageModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(folder, **{"dtype": "float32"} | options)


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """A model as transformers and as this project loads it, float32."""
    folder = tmp_path_factory.mktemp(request.param)
    theirs = write_model(folder, tiny_model, request.param, **KINDS[request.param])
    lm = quietly(folder)
    assert isinstance(lm.decoder, TransformersDecoder)
    return theirs, lm


def test_logits_equal_those_of_transformers(pair):
    theirs, lm = pair
    batch_sequences = sequences(30, 5, 12, start=[7, 8, 9])
    batch = pack(batch_sequences, [0, 0, 1])
    with torch.no_grad():
        ours = lm.decoder.hidden(batch) @ lm.decoder.head_weight().T
        for row, ids in enumerate(batch_sequences):
            torch.testing.assert_close(
                ours[batch.rows[row, : len(ids)]], reference_logits(theirs, ids), atol=3e-5, rtol=1e-5
            )


def test_gradients_equal_those_of_transformers(pair):
    theirs, lm = pair
    lm = quietly(lm.folder)
    ids = sequences(25)[0]
    targets = torch.from_numpy(ids[1:]).long()
    masters = dict(zip(lm.decoder.state(), lm.trainable(), strict=True))
    logp, _ = token_logprobs(lm.decoder.hidden(pack([ids]))[:-1], lm.decoder.head_weight(), targets)
    logp.sum().backward()
    theirs.zero_grad()
    reference_logits(theirs, ids)[:-1].log_softmax(-1).gather(-1, targets[:, None]).sum().backward()
    for name, parameter in theirs.named_parameters():
        largest = float(parameter.grad.abs().max())
        torch.testing.assert_close(masters[name].grad, parameter.grad, atol=2e-4 * largest, rtol=1e-3)


def test_greedy_replies_are_those_of_transformers_whatever_the_padding(pair):
    theirs, lm = pair
    expected = []
    for task in TASKS:
        ids = torch.from_numpy(lm.encode(task.messages)).long()[None]
        options = {"max_new_tokens": 10, "do_sample": False, "eos_token_id": list(lm.end_ids), "pad_token_id": 1}
        expected.append(theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)[0].tolist())
    for batch in (2, 4):
        ours = TorchEngine(lm, max_batch=batch).generate(TASKS, Sampling(temperature=0, max_tokens=10))
        assert [e.token_ids.tolist() for e in ours] == expected


def test_sampling_learning_and_ends_are_as_on_the_fast_path(pair):
    _, lm = pair
    sampling = Sampling(max_tokens=9, n=3, seed=1)
    drawn = np.concatenate([e.token_ids[e.action_mask] for e in TorchEngine(lm).generate(TASKS, sampling)])
    stops = tuple(int(i) for i in np.bincount(drawn).argsort()[-5:])
    sampling = dataclasses.replace(sampling, stop_ids=stops)
    progress: list[tuple[int, int]] = []
    episodes = TorchEngine(lm, max_batch=4).generate(TASKS, sampling, on_progress=lambda *p: progress.append(p))
    alone = TorchEngine(lm, max_batch=1).generate(TASKS, sampling)
    assert [e.token_ids.tolist() for e in episodes] == [e.token_ids.tolist() for e in alone]
    assert len({e.actions for e in episodes}) > 2
    assert progress[-1] == (12, 12)
    for episode, learner in zip(episodes, TorchEngine(lm).logprobs(episodes), strict=True):
        np.testing.assert_allclose(episode.logprobs, learner, atol=1e-4)
        assert (episode.token_ids[-1] in {*stops, *lm.end_ids}) == (episode.outcome == "stop")


def test_an_update_reaches_sampler_and_checkpoint(pair, tmp_path: Path):
    _, lm = pair
    frozen = copy.deepcopy(quietly(lm.folder).decoder)
    lm = quietly(lm.folder)
    with torch.no_grad():
        for master in lm.trainable():
            master.mul_(1.05)
    before = lm.fingerprint()
    lm.refresh()
    assert lm.fingerprint() != before
    lm.save(tmp_path)
    again, report = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not any(report.values()), report
    ids = sequences(20)[0]
    with torch.no_grad():
        ours = lm.decoder.hidden(pack([ids])) @ lm.decoder.head_weight().T
        torch.testing.assert_close(ours, reference_logits(again, ids), atol=3e-5, rtol=1e-5)
        assert not torch.allclose(frozen.hidden(pack([ids])), lm.decoder.hidden(pack([ids])))
    assert quietly(tmp_path).fingerprint() == lm.fingerprint()


def test_min_tokens_holds_back_the_end(tiny_model: Path, tmp_path: Path):
    write_model(tmp_path, tiny_model, "GPT2", **KINDS["GPT2"])
    sampling = Sampling(max_tokens=4, min_tokens=3, stop_ids=tuple(range(0, 320, 2)))
    episodes = TorchEngine(quietly(tmp_path)).generate(TASKS, sampling)
    assert all((e.token_ids[e.action_mask][:3] % 2).all() for e in episodes)


def test_dropout_stays_off_while_training(tiny_model: Path, tmp_path: Path):
    write_model(tmp_path, tiny_model, "GPT2", **KINDS["GPT2"])
    lm = quietly(tmp_path)
    batch = pack(sequences(20))
    with torch.no_grad():
        before = lm.decoder.hidden(batch)
    lm.decoder.train()
    lm.decoder.train_all()
    assert torch.equal(lm.decoder.hidden(batch), before)


def test_it_is_announced(tiny_model: Path, tmp_path: Path):
    write_model(tmp_path, tiny_model, "Llama", mlp_bias=True)
    with pytest.warns(UserWarning, match="architecture 'llama' runs through transformers"):
        lm = load(tmp_path)
    assert not isinstance(lm.decoder, Decoder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tiny_model)


def test_adapters_are_refused(tiny_model: Path, tmp_path: Path):
    write_model(tmp_path, tiny_model, "GPT2", **KINDS["GPT2"])
    with pytest.raises(InputError, match="architecture 'gpt2' cannot run with adapters"):
        quietly(tmp_path, adapter=AdapterConfig())
    lm = quietly(tmp_path)
    batch = pack(sequences(5))
    with pytest.raises(InputError, match="cannot run with adapters"):
        lm.decoder.run(lm.decoder.embed(batch), batch, 1, 2)


@pytest.mark.parametrize(
    ("architecture", "changes", "match"),
    [
        ("Gemma2", {"head_dim": 8}, "caps its logits"),
        ("Phi", {}, "adds a bias"),
        ("Mamba", {"state_size": 4}, "keeps no cache"),
    ],
)
def test_what_would_give_wrong_logprobs_is_refused(
    tiny_model: Path, tmp_path: Path, architecture: str, changes: dict[str, Any], match: str
):
    write_model(tmp_path, tiny_model, architecture, **changes)
    with pytest.raises(InputError, match=match):
        quietly(tmp_path)


def test_a_damaged_checkpoint_is_refused(tiny_model: Path, tmp_path: Path):
    write_model(tmp_path, tiny_model, "GPT2", **KINDS["GPT2"])
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    del tensors["transformer.h.1.ln_1.weight"]
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(InputError, match=r"no tensor 'transformer.h.1.ln_1.weight'"):
        quietly(tmp_path)
    weights.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be loaded by transformers"):
        quietly(tmp_path)
