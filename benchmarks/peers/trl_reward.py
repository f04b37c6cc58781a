"""TRL's RewardTrainer, one step a turn: ``trl_reward.py MODEL DTYPE PAIRS``."""

import sys
import tempfile
from typing import Any

from datasets import Dataset
from protocol import Clock
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl import RewardConfig, RewardTrainer
from workloads import REWARD_LEARNING_RATE, REWARD_MAX_TOKENS, REWARD_PAIRS, read_pairs


class Turns(TrainerCallback):
    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.clock = Clock()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.clock.wait_and_start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.clock.stop(REWARD_PAIRS)


path, dtype, pairs = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1, dtype="float32")
model.config.pad_token_id = tokenizer.pad_token_id
with tempfile.TemporaryDirectory() as folder:
    config = RewardConfig(
        output_dir=folder,
        per_device_train_batch_size=REWARD_PAIRS,
        max_steps=10_000,
        max_length=REWARD_MAX_TOKENS,
        bf16=dtype == "bfloat16",
        use_cpu=True,
        report_to=[],
        gradient_checkpointing=False,
        save_strategy="no",
        learning_rate=REWARD_LEARNING_RATE,
    )
    RewardTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(read_pairs(pairs)),
        processing_class=tokenizer,
        callbacks=[Turns()],
    ).train()
