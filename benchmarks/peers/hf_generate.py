"""transformers' ``generate`` on the sampling workloads: ``hf_generate.py MODEL DTYPE``.

Mixed lengths run in batches of 32 in the order of request, each batch as long as its longest.
"""

import sys

import torch
from protocol import serve
from transformers import AutoModelForCausalLM, AutoTokenizer
from workloads import MIXED_BATCH, NEW_TOKENS, PROMPT, as_chat, mixed_lengths

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2])).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
inputs = tokenizer.apply_chat_template(
    as_chat(PROMPT), add_generation_prompt=True, return_tensors="pt", return_dict=True
)


def generate(batch: int, tokens: int) -> None:
    repeated = {name: tensor.repeat(batch, 1) for name, tensor in inputs.items()}
    model.generate(**repeated, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=tokens, min_new_tokens=tokens)


def work(workload: str) -> int:
    """Returns the tokens that were asked for."""
    if workload != "mixed":
        generate(int(workload), NEW_TOKENS)
        return int(workload) * NEW_TOKENS
    lengths = mixed_lengths()
    for start in range(0, len(lengths), MIXED_BATCH):
        batch = lengths[start : start + MIXED_BATCH]
        generate(len(batch), max(batch))
    return sum(lengths)


serve(work)
