"""Tiny random models with ten chat templates, written from their documented formats, and tokenizers of the same kinds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Who watches the watchers, and who watches those who watch?",
    "system user assistant model [INST] [/INST] <|user|> <|assistant|> <<SYS>> <</SYS>>",
    "\n\n",
    "a\nb",
]
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Format:
    """What the documentation of a chat format says."""

    end: str  # ends a turn
    eos: str  # ends a text, by the tokenizer's settings
    bos: str = ""
    tokens: tuple[str, ...] = ()  # further control tokens
    tags: tuple[str, ...] = ()  # tokens of their own that are no control tokens
    pieces: bool = False  # SentencePiece's form of words; else bytes
    pad: str = ""
    swallows: bool = False  # control tokens take the white space after them
    system: bool = True  # takes a system turn
    alternates: bool = True  # refuses two turns of one speaker


CHAT = ("<|im_start|>", "<|im_end|>")
HEADER = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|finetune_right_pad_id|>")
PHI = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|placeholder1|>")
GEMMA = ("<start_of_turn>", "<end_of_turn>", "<pad>")
FORMATS = {
    "chatml": Format("<|im_end|>", "<|endoftext|>", tokens=CHAT, alternates=False),
    "llama2": Format("</s>", "</s>", "<s>", pieces=True),
    "llama3": Format("<|eot_id|>", "<|end_of_text|>", "<|begin_of_text|>", HEADER, alternates=False),
    "mistral-0.1": Format("</s>", "</s>", "<s>", pieces=True, system=False),
    "mistral-0.3": Format("</s>", "</s>", "<s>", ("[INST]", "[/INST]"), pieces=True),
    "gemma2": Format("<end_of_turn>", "<eos>", "<bos>", GEMMA, pieces=True, pad="<pad>", system=False),
    "gemma3": Format("<end_of_turn>", "<eos>", "<bos>", GEMMA, pieces=True, pad="<pad>"),
    "qwen3": Format("<|im_end|>", "<|endoftext|>", "", CHAT, ("<think>", "</think>"), alternates=False),
    "phi3": Format(
        "<|end|>", "<|endoftext|>", "<s>", PHI, pieces=True, pad="<|endoftext|>", swallows=True, alternates=False
    ),
    "zephyr": Format("</s>", "</s>", "<s>", pieces=True, pad="</s>", alternates=False),
}


def write_chat_model(folder: Path, name: str) -> Path:
    """A folder with a two-layer random Llama, the template ``name`` and its tokenizer; no generation settings."""
    form = FORMATS[name]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(form)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": form.eos,
        "clean_up_tokenization_spaces": False,
    }
    settings |= {"bos_token": form.bos} if form.bos else {}
    settings |= {"pad_token": form.pad} if form.pad else {}
    settings |= {"unk_token": "<unk>"} if form.pieces else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text((TEMPLATES / f"{name}.jinja").read_text())
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(form.bos) if form.bos else None,
        eos_token_id=tokenizer.token_to_id(form.eos),
        pad_token_id=tokenizer.token_to_id(form.pad) if form.pad else None,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    return folder


@cache
def _tokenizer(form: Format) -> Tokenizer:
    control = list(dict.fromkeys([*(["<unk>"] if form.pieces else []), form.bos, form.eos, form.end, *form.tokens]))
    control = [token for token in control if token]
    if form.pieces:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(content=" ", left=1, right=0),
            ]
        )
        bytes_ = [f"<0x{b:02X}>" for b in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[*control, *bytes_], show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=360, special_tokens=control, initial_alphabet=alphabet, show_progress=False
        )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    stored = json.loads(tokenizer.to_str())
    stored["added_tokens"] = [token for token in stored["added_tokens"] if token["content"] in control]
    tokenizer = Tokenizer.from_str(json.dumps(stored))
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False, rstrip=form.swallows) for token in control]
    )
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in form.tags])
    return tokenizer
