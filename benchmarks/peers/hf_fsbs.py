"""Force sampling beam search with transformers' ``generate`` called for every beam: ``hf_fsbs.py MODEL DTYPE``."""

import sys

import torch
from protocol import serve
from transformers import AutoModelForCausalLM, AutoTokenizer
from workloads import (
    FSBS_BEAMS,
    FSBS_OPENING,
    FSBS_ROUNDS,
    FSBS_SAMPLES,
    FSBS_TOKENS,
    as_chat,
    distinct_words,
    review_prompt,
)

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2])).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
prompt = tokenizer.apply_chat_template(as_chat(review_prompt()), add_generation_prompt=True, tokenize=False)


def work(_: str) -> float:
    starts = [FSBS_OPENING]
    for _ in range(FSBS_ROUNDS):
        drawn = [text for start in starts for text in continuations(start)]
        best = sorted(drawn, key=distinct_words, reverse=True)[:FSBS_BEAMS]
        starts = [f"{text.rpartition(chr(10) * 2)[0] or text}\n\n{FSBS_OPENING}" for text in best]
    return 60.0


def continuations(start: str) -> list[str]:
    inputs = tokenizer(prompt + start, return_tensors="pt", add_special_tokens=False)
    limits = {"max_new_tokens": FSBS_TOKENS, "min_new_tokens": FSBS_TOKENS}
    ids = model.generate(
        **inputs, do_sample=True, temperature=1.0, top_k=0, num_return_sequences=FSBS_SAMPLES, **limits
    )
    return [start + tokenizer.decode(row[inputs["input_ids"].shape[1] :], skip_special_tokens=True) for row in ids]


serve(work)
