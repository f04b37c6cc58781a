"""TRL's RewardTrainer, one step a turn: ``trl_reward.py MODEL DTYPE PAIRS``."""

import sys
import tempfile

from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer
from trl_turns import Turns
from workloads import REWARD_LEARNING_RATE, REWARD_MAX_TOKENS, REWARD_PAIRS, read_pairs

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
        callbacks=[Turns(REWARD_PAIRS)],
    ).train()
