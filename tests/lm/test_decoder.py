from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import KINDS, SIZES, reference_logits, sequences, write_model
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from custodes.lm.decoder import Weight, decoder_spec
from custodes.lm.loading import LanguageModel, load
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import pack


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """A model as transformers and as this project loads it, float32."""
    architecture, changes = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    theirs = write_model(folder, tiny_model, architecture, **changes)
    return theirs, load(folder, dtype="float32")


def logits(lm: LanguageModel, batch: Any) -> torch.Tensor:
    return lm.decoder.hidden(batch, lm.adapter) @ lm.decoder.head_weight().T


def test_logits_equal_those_of_transformers(pair):
    theirs, lm = pair
    batch_sequences = sequences(90, 5, 17)
    batch = pack(batch_sequences)
    with torch.no_grad():
        ours = logits(lm, batch)
        for row, ids in enumerate(batch_sequences):
            torch.testing.assert_close(
                ours[batch.rows[row, : len(ids)]], reference_logits(theirs, ids), atol=3e-5, rtol=1e-5
            )


def test_gradients_of_all_weights_equal_those_of_transformers(pair):
    theirs, lm = pair
    lm = load(lm.folder, dtype="float32")  # masters would stay in the shared one
    ids = sequences(40)[0]
    targets = torch.from_numpy(ids[1:]).long()
    weights = torch.linspace(-1, 1, len(targets))
    lm.decoder.train_all()
    logp, _ = token_logprobs(lm.decoder.hidden(pack([ids]))[:-1], lm.decoder.head_weight(), targets)
    (logp * weights).sum().backward()
    theirs.zero_grad()
    expected = reference_logits(theirs, ids)[:-1].log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    (expected * weights).sum().backward()
    for weight in lm.decoder.modules():
        if isinstance(weight, Weight):
            weight.value = weight.master.grad  # so that state() gives every gradient its name in a checkpoint
    ours = lm.decoder.state()
    compared = {name: p.grad for name, p in theirs.named_parameters()}
    assert ours.keys() == compared.keys()
    for name, grad in compared.items():
        scale = float(grad.abs().max())
        torch.testing.assert_close(ours[name], grad, atol=1e-4 * scale, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


def test_saved_models_load_with_from_pretrained_and_again_here(pair, tmp_path: Path):
    _, lm = pair
    lm = load(lm.folder, dtype="float32")
    with torch.no_grad():
        for master in lm.trainable():
            master.add_(0.01)
    lm.refresh()
    lm.save(tmp_path)
    theirs, report = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not any(report.values()), report
    ids = sequences(30)[0]
    with torch.no_grad():
        ours = logits(lm, pack([ids]))
        torch.testing.assert_close(ours, reference_logits(theirs, ids), atol=3e-5, rtol=1e-5)
        assert torch.equal(logits(load(tmp_path, dtype="float32"), pack([ids])), ours)
    assert load(tmp_path, dtype="float32").fingerprint() == lm.fingerprint() != pair[1].fingerprint()


def test_layers_run_in_pieces_are_the_whole(pair):
    _, lm = pair
    batch = pack(sequences(12, 7))
    with torch.no_grad():
        x = lm.decoder.run(lm.decoder.embed(batch), batch, 0, 1)
        x = lm.decoder.run(x, batch, 1, lm.decoder.spec.layers)
        assert torch.equal(lm.decoder.final(x), lm.decoder.hidden(batch))


def test_wanted_tokens_alone_are_those_of_the_whole_with_their_gradients(pair):
    _, lm = pair
    batch, wanted = pack(sequences(12, 7), [0, 0]), torch.tensor([3, 11, 3, 17])
    weights = lm.decoder.train_all()
    found = []
    for hidden in (lambda: lm.decoder.hidden(batch)[wanted], lambda: lm.decoder.hidden(batch, wanted=wanted)):
        out = hidden()
        grads = torch.autograd.grad(out.square().sum(), weights, allow_unused=True)
        found.append((out.detach(), grads))
    (whole, all_grads), (alone, own_grads) = found
    assert alone.shape == (4, lm.decoder.spec.hidden)
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-4)
    for a, b in zip(all_grads, own_grads, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(b, a, rtol=1e-3, atol=2e-4)
    x = lm.decoder.embed(batch)
    assert torch.equal(lm.decoder.run(x, batch, 1, 1, wanted=wanted), x[wanted])


def test_forward_with_and_without_gradient_is_the_same_bit_for_bit(tiny_model: Path):
    """The learner's ratio on its own first minibatch is exactly 1 (correctness 1)."""
    for dtype in ("float32", "bfloat16"):
        lm = load(tiny_model, dtype=dtype)  # type: ignore[arg-type]
        batch = pack(sequences(30, 12, start=[5, 6, 7]), [0, 0])
        with torch.no_grad():
            before = lm.decoder.hidden(batch)
        lm.decoder.train_all()
        after = lm.decoder.hidden(batch)
        assert after.requires_grad
        assert torch.equal(before, after)


def test_bfloat16_gradients_point_where_float32_ones_do(tiny_model: Path):
    grads = []
    ids = sequences(60)[0]
    for dtype in ("float32", "bfloat16"):
        lm = load(tiny_model, dtype=dtype)  # type: ignore[arg-type]
        masters = lm.trainable()
        targets = torch.from_numpy(ids[1:]).long()
        logp, _ = token_logprobs(lm.decoder.hidden(pack([ids]))[:-1], lm.decoder.head_weight(), targets)
        logp.sum().backward()
        assert all(m.grad is not None and m.grad.dtype == torch.float32 for m in masters)
        grads.append(torch.cat([m.grad.flatten() for m in masters]))  # type: ignore[union-attr]
    assert torch.cosine_similarity(*grads, dim=0) > 0.999


def test_updates_reach_the_weights_only_through_refresh(tiny_model: Path):
    lm = load(tiny_model)
    before = lm.fingerprint()
    for master in lm.trainable():
        master.data.add_(0.5)
    assert lm.fingerprint() == before
    lm.refresh()
    assert lm.fingerprint() != before


def test_what_the_fast_path_does_not_know_has_no_spec():
    assert decoder_spec(LlamaConfig(**SIZES)) is not None
    assert decoder_spec(LlamaConfig(**SIZES, mlp_bias=True)) is None
    assert decoder_spec(LlamaConfig(**SIZES, hidden_act="gelu")) is None
    dynamic = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    assert decoder_spec(LlamaConfig(**SIZES, rope_parameters=dynamic)) is None


def test_a_sliding_window_bounds_the_context():
    spec = decoder_spec(MistralConfig(**SIZES, sliding_window=64))
    assert spec is not None
    assert spec.context == 64
