from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import KINDS, sequences, write_model

from custodes.lm import kernels, steps
from custodes.lm.decode import Cache, Prompt, Stepper
from custodes.lm.decoder import rms_norm, swiglu
from custodes.lm.kernels import native
from custodes.lm.loading import LanguageModel, load
from custodes.lm.logprobs import token_logprobs
from custodes.lm.packing import pack
from custodes.lm.precision import DtypeName

needs_compiler = pytest.mark.skipif(native(torch.bfloat16) is None, reason="no C compiler here")


def wide_model(
    folder: Path, tokenizer: Path, kind: str, heads: int, kv_heads: int, dtype: DtypeName = "bfloat16"
) -> LanguageModel:
    """head_dim 32, which the compiled step needs."""
    architecture, changes = KINDS[kind]
    shape = {"hidden_size": 16 * heads, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": 32}
    write_model(folder, tokenizer, architecture, **changes | shape)
    return load(folder, dtype=dtype)


def decoded(lm: LanguageModel, stepper: Stepper, prompts: list[np.ndarray], replies: np.ndarray) -> torch.Tensor:
    """Logits (B, steps, V) of decoding ``replies`` (B, steps) after ``prompts``."""
    cache = Cache(lm.decoder, len(prompts), max(map(len, prompts)), replies.shape[1], stepper.native is not None)
    for slot, prompt in enumerate(prompts):
        keys: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        with torch.no_grad():
            lm.decoder.hidden(pack([prompt]), None, lambda _, k, v: (keys.append(k), values.append(v)))  # noqa: B023
        cache.admit(slot, Prompt(torch.stack(keys), torch.stack(values), torch.zeros(0)))
    lengths = torch.tensor([len(p) for p in prompts])
    steps = [stepper.step(torch.from_numpy(replies[:, t]).long(), lengths + t, cache) for t in range(replies.shape[1])]
    return torch.stack(steps, 1).float()


@needs_compiler
@pytest.mark.parametrize(
    ("dtype", "mean", "largest"), [("bfloat16", 0.03, 0.6), ("float32", 1e-5, 1e-4)]
)  # 8 and 24 bits
@pytest.mark.parametrize(
    ("kind", "heads", "kv_heads"),
    [
        ("llama", 3, 1),
        ("llama", 2, 2),
        ("qwen3", 5, 1),
        ("qwen2", 8, 2),
        ("llama", 2, 1),
        *(("llama", n, 1) for n in (6, 7, 8, 9)),
    ],  # per group 3, 1, 5, 4, 2 and so on
)
def test_compiled_steps_agree_with_torch_and_with_the_learner(
    tmp_path: Path,
    tiny_model: Path,
    kind: str,
    heads: int,
    kv_heads: int,
    dtype: DtypeName,
    mean: float,
    largest: float,
):
    lm = wide_model(tmp_path, tiny_model, kind, heads, kv_heads, dtype)
    prompts, replies = sequences(40, 3, 64, 33), np.stack(sequences(40, 40, 40, 40, seed=1))
    compiled, plain = Stepper(lm.decoder), Stepper(lm.decoder)
    assert compiled.native is not None
    plain.native = None
    ours, reference = (decoded(lm, s, prompts, replies) for s in (compiled, plain))
    batch = pack([np.concatenate(pair) for pair in zip(prompts, replies, strict=True)])
    with torch.no_grad():
        hidden = lm.decoder.hidden(batch)
        learner = torch.stack([hidden[batch.rows[i, len(p) : len(p) + 40]] for i, p in enumerate(prompts)])
        learner = (learner @ lm.decoder.head_weight().T).float()
    for other in (reference, learner):
        difference = ours.log_softmax(-1) - other.log_softmax(-1)
        assert difference.abs().mean() < mean
        assert difference.abs().max() < largest


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.01), (torch.float32, 2e-6)])
def test_single_steps_agree_with_torch(dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    compiled = native(dtype)
    assert compiled is not None
    monkeypatch.setattr(steps, "native", lambda dtype: None)
    x, delta, weight, out = random(5, 96), random(5, 96), random(96), torch.empty(5, 96, dtype=dtype)
    total = x + delta
    compiled.add_norm(x, delta, weight, out, 1e-5)
    assert torch.equal(x, total)
    torch.testing.assert_close(out, rms_norm(total, weight, 1e-5), atol=tolerance, rtol=tolerance)
    compiled.add_norm(x, None, weight, out, 1e-5)
    assert torch.equal(x, total)

    gate_up, mixed = random(5, 64) * 8, torch.empty(5, 32, dtype=dtype)
    compiled.swiglu(gate_up, mixed)
    torch.testing.assert_close(mixed, swiglu(gate_up), atol=tolerance, rtol=tolerance)


def test_without_a_compiler_sampling_goes_on(tmp_path: Path, tiny_model: Path):
    wide_model(tmp_path, tiny_model, "llama", 2, 1)
    program = f"""
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.lm.kernels import DEFINES, native
from custodes.types import Message, Sampling, Task
assert all(native(dtype) is None for dtype in DEFINES)
task = Task("t", (Message("user", "Hello"),))
replies = TorchEngine(load({str(tmp_path)!r})).generate([task], Sampling(max_tokens=8, n=3))
assert len(replies) == 3 and all(r.actions for r in replies)
"""
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"CUSTODES_NATIVE": "0"}, check=True, timeout=120)


@needs_compiler
@pytest.mark.parametrize(("dtype", "cosine", "size"), [("bfloat16", 0.99, 0.05), ("float32", 1 - 1e-6, 1e-5)])
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_gradients_through_compiled_steps_agree_with_torch(
    tmp_path: Path,
    tiny_model: Path,
    kind: str,
    dtype: DtypeName,
    cosine: float,
    size: float,
    monkeypatch: pytest.MonkeyPatch,
):
    ids = sequences(50)[0]
    targets = torch.from_numpy(ids[1:]).long()
    grads = []
    for compiled in (True, False):
        if not compiled:
            monkeypatch.setattr(steps, "native", lambda dtype: None)
        lm = wide_model(tmp_path, tiny_model, kind, 4, 2, dtype)
        masters = lm.trainable()
        logp, _ = token_logprobs(lm.decoder.hidden(pack([ids]))[:-1], lm.decoder.head_weight(), targets)
        logp.sum().backward()
        grads.append([m.grad.flatten() for m in masters])  # type: ignore[union-attr]
    for ours, reference in zip(*grads, strict=True):
        assert torch.cosine_similarity(ours, reference, dim=0) > cosine
        assert float(ours.norm()) == pytest.approx(float(reference.norm()), rel=size)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder without a library, and nothing known yet of compilers."""
    monkeypatch.setattr(kernels, "cache_folder", lambda: tmp_path / "cache")
    for known in (kernels._compiler, kernels._say_slow):
        known.cache_clear()
    yield tmp_path / "cache" / "kernels"
    for known in (kernels._compiler, kernels._say_slow):
        known.cache_clear()


def test_no_compiler_is_said_once(empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.warns(UserWarning, match="no C compiler here.*several times slower") as said:
        assert [native.__wrapped__(dtype) for dtype in kernels.DEFINES] == [None, None]
    assert len(said) == 1


def test_a_compiler_that_fails_is_said_once(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    """It knows its version and nothing else."""
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ntest "$1" = --version && echo broken && exit 0\necho no headers >&2; exit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.warns(UserWarning, match=r"could not build the compiled steps \(no headers\)") as said:
        assert [native.__wrapped__(dtype) for dtype in kernels.DEFINES] == [None, None]
    assert len(said) == 1
    assert not list(empty_cache.iterdir())


def test_turned_off_by_its_user_nothing_is_said(empty_cache: Path, monkeypatch: pytest.MonkeyPatch, recwarn):
    monkeypatch.setenv("CUSTODES_NATIVE", "0")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert native.__wrapped__(torch.bfloat16) is None
    assert not recwarn.list


@needs_compiler
@pytest.mark.parametrize("damage", ["truncated", "empty", "changed"])
def test_a_damaged_library_in_the_cache_is_built_again(empty_cache: Path, damage: str):
    """In a process of its own: a library that is loaded stays loaded."""
    program = """
from custodes.lm import kernels
import pathlib, sys, torch
kernels.cache_folder = lambda: pathlib.Path(sys.argv[1])
compiled = kernels.native(torch.float32)
out = torch.empty(2, 32)
compiled.swiglu(torch.ones(2, 64), out)
assert torch.allclose(out, torch.sigmoid(torch.tensor(1.0)).expand(2, 32)), out
"""
    command = [sys.executable, "-W", "error::UserWarning", "-c", program, str(empty_cache.parent)]
    subprocess.run(command, check=True, timeout=300)
    (library,) = empty_cache.iterdir()
    whole = library.read_bytes()
    middle = len(whole) // 2
    left = {"truncated": whole[:middle], "empty": b"", "changed": whole[:middle] + b"?" * 64 + whole[middle + 64 :]}
    library.unlink()  # not written over: this process may have it mapped
    library.write_bytes(left[damage])
    subprocess.run(command, check=True, timeout=300)
    (library,) = empty_cache.iterdir()
    assert library.name == kernels._named(library.name.split("-")[1], library.read_bytes())


def test_head_dimensions_that_do_not_fit_the_tiles_take_the_torch_path(tiny_model: Path):
    lm = load(tiny_model)
    assert lm.decoder.spec.head_dim % 32
    assert Stepper(lm.decoder).native is None
