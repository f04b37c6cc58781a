"""TRL's GRPOTrainer, one on-policy step a turn: ``trl_grpo.py MODEL DTYPE``."""

import sys
import tempfile
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from trl_turns import Turns
from workloads import (
    GRPO_COMPLETIONS,
    GRPO_KL,
    GRPO_LEARNING_RATE,
    GRPO_MAX_TOKENS,
    GRPO_PROMPTS,
    as_chat,
    distinct_words,
    grpo_prompt,
)


def reward(completions: list[Any], **_: Any) -> list[float]:
    return [distinct_words(completion[0]["content"]) for completion in completions]


with tempfile.TemporaryDirectory() as folder:
    config = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=GRPO_PROMPTS * GRPO_COMPLETIONS,
        num_generations=GRPO_COMPLETIONS,
        max_completion_length=GRPO_MAX_TOKENS,
        max_steps=10_000,
        beta=GRPO_KL,
        learning_rate=GRPO_LEARNING_RATE,
        bf16=sys.argv[2] == "bfloat16",
        use_cpu=True,
        report_to=[],
        gradient_checkpointing=False,
        save_strategy="no",
        model_init_kwargs={"dtype": "float32"},
    )
    GRPOTrainer(
        model=sys.argv[1],
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": as_chat(grpo_prompt(i))} for i in range(64)]),
        processing_class=AutoTokenizer.from_pretrained(sys.argv[1]),
        callbacks=[Turns(1)],
    ).train()
