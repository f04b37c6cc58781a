"""What every test may use: a tiny random model with a real tokenizer, in the Hugging Face layout."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a busy machine is no defect
settings.load_profile("patient")

HOME = tempfile.mkdtemp(prefix="custodes-tests-")
"""Where commands that write no file of their own are recorded, and where keys would be: not in the person's home."""
os.environ |= {"XDG_STATE_HOME": f"{HOME}/state", "XDG_CONFIG_HOME": f"{HOME}/config"}
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Write one short sentence about the number seven.",
    "Who watches the watchers, and who watches those who watch?",
    "A small model with random weights says little, but it says it fast.",
    "system user assistant",
]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a two-layer random Llama and a byte-level tokenizer; pad and eos are both <|im_end|>."""
    folder = tmp_path_factory.mktemp("tiny_model")
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_writer() -> Callable[..., None]:
    """:func:`write_tiny_model`, for models of another shape."""
    return write_tiny_model


def write_tiny_model(folder: Path, *, hidden: int = 32, layers: int = 2, seed: int = 0) -> None:
    """Write the tiny model into ``folder``."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(SENTENCES, vocab_size=320, special_tokens=["<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(CHATML)
    end = tokenizer.token_to_id("<|im_end|>")
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
        initializer_range=0.2,  # far from uniform, so that a wrong position or mask shows
    )
    random_state = torch.get_rng_state()
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    torch.set_rng_state(random_state)
