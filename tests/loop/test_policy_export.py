"""A policy as others load it: transformers, peft, and GGUF read back by our own loader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from custodes.cli import main
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.types import Message, Sampling, Task

PROMPT = (Message("user", "Who watches the watchers?"),)


@pytest.fixture
def policy(tiny_model: Path, tmp_path: Path) -> LanguageModel:
    lm = load(tiny_model, dtype="float32")
    lm.adapter = Adapter(lm.decoder, AdapterConfig(rank=4))
    generator = torch.Generator().manual_seed(1)
    for parameter in lm.adapter.parameters():
        parameter.data.normal_(0, 0.1, generator=generator)
    lm.adapter.refresh()
    lm.save(tmp_path / "run/policy")
    return lm


def export(*words: object) -> int:
    return main([str(word) for word in ("policy", "export", *words, "--dtype", "float32")])


def last_logits(model: object, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids).logits[0, -1]  # type: ignore[operator]


def test_merged_it_is_a_model_that_transformers_loads(policy: LanguageModel, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert export("--model", tmp_path / "run", "--out", tmp_path / "merged", "--merge") == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    ids = torch.from_numpy(policy.encode(PROMPT)).long()[None]
    asked = [m.to_dict() for m in PROMPT]
    assert tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False) == ids[0].tolist()
    greedy = TorchEngine(policy).generate([Task("t", PROMPT)], Sampling(temperature=0, max_tokens=6))[0]
    ones = torch.ones_like(ids)
    sampled = model.generate(
        ids, attention_mask=ones, max_new_tokens=greedy.actions, do_sample=False, eos_token_id=None
    )[0].tolist()
    assert sampled == greedy.token_ids.tolist()


def test_the_adapter_is_one_of_peft(policy: LanguageModel, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    assert export("--model", tmp_path / "run", "--out", tmp_path / "adapter") == 0
    model = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter", dtype=torch.float32)
    assert export("--model", tmp_path / "run", "--out", tmp_path / "merged", "--merge") == 0
    from transformers import AutoModelForCausalLM

    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    ids = torch.from_numpy(policy.encode(PROMPT)).long()[None]
    torch.testing.assert_close(last_logits(model, ids), last_logits(merged, ids), rtol=1e-4, atol=1e-4)


def test_a_gguf_file_is_read_back_as_the_same_model(
    policy: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))
    assert export("--model", tmp_path / "run", "--out", tmp_path / "policy.gguf", "--gguf") == 0
    assert export("--model", tmp_path / "run", "--out", tmp_path / "merged", "--merge") == 0
    found, merged = load(tmp_path / "policy.gguf", dtype="float32"), load(tmp_path / "merged", dtype="float32")
    for text in ("Who watches the watchers?", "A small model, 12 345 times: <|im_end|>"):
        asked = (Message("user", text),)
        assert found.encode(asked).tolist() == merged.encode(asked).tolist()
    assert found.end_ids == merged.end_ids
    for name, tensor in merged.decoder.state().items():
        torch.testing.assert_close(found.decoder.state()[name], tensor.to(torch.bfloat16).float(), rtol=0, atol=0)


def test_what_is_there_is_not_written_over(
    policy: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    assert export("--model", tmp_path / "run", "--out", tmp_path / "taken") == 2
    assert "exists; choose another --out" in capsys.readouterr().err
    assert export("--model", tmp_path / "run", "--out", tmp_path / "policy.bin", "--gguf") == 2
    assert "must end in .gguf" in capsys.readouterr().err
