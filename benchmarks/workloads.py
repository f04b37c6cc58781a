"""The work that the benchmarks time, the same for this project and for its peers.

Read by both interpreters, so it imports the standard library alone.
"""

import gzip
import inspect
import json
import random
from pathlib import Path

# Sampling: copies of one chat prompt, 64 new tokens each, temperature 1, the full vocabulary.
PROMPT = "Please rate this poem from 1 to 5 and say why: Roses are red, violets are blue, I like cheese, and so do you."
NEW_TOKENS = 64
MIXED_BATCH = 32  # requests that a peer without continuous batching computes together

# One on-policy GRPO step: 4 prompts x 8 completions, full fine-tune, KL to the reference.
GRPO_PROMPTS = 4
GRPO_COMPLETIONS = 8
GRPO_MAX_TOKENS = 48
GRPO_KL = 0.04
GRPO_LEARNING_RATE = 1e-6

# One PPO step: 32 episodes, adapters.
PPO_PROMPTS = 8
PPO_COMPLETIONS = 4
PPO_MAX_TOKENS = 64

# Bradley-Terry reward training, full fine-tune, 16 pairs a step, sequences cut at 256 tokens.
REWARD_PAIRS = 16
REWARD_MAX_TOKENS = 256
REWARD_LEARNING_RATE = 1e-5

# DPO and KTO, full fine-tune against a frozen copy, 16 replies a step, sequences of at most 256 tokens.
TUNE_REPLIES = 16
TUNE_LEARNING_RATE = 1e-6
PAIRS_FILE = Path(__file__).parents[2] / "shared" / "data" / "hh_rlhf" / "harmless_base_dev.jsonl.gz"

# Force sampling beam search over a function of about 300 tokens.
ANSWER = inspect.getsource(random.Random.choices)
FSBS_ROUNDS = 4
FSBS_SAMPLES = 4
FSBS_BEAMS = 2
FSBS_TOKENS = 48
FSBS_OPENING = "```python\n"


def mixed_lengths() -> list[int]:
    """New tokens of each of 256 requests, 8 to 256, in the order of request."""
    draw = random.Random(0)
    return [draw.randint(8, 256) for _ in range(256)]


def grpo_prompt(number: int) -> str:
    return f"Write one short sentence about the number {number}."


def review_prompt() -> str:
    return f"Review this code. Quote each line that is wrong and say why.\n\n```python\n{ANSWER}```"


def as_chat(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def distinct_words(text: str) -> float:
    """The reward of the GRPO step: cheap, so that it does not count."""
    return float(len(set(text.split())))


def read_pairs(path: str | Path) -> list[dict[str, str]]:
    """Preference pairs, one JSON object a line with "chosen" and "rejected"."""
    with (gzip.open if str(path).endswith(".gz") else open)(path, "rt") as lines:
        return [json.loads(line) for line in lines]
