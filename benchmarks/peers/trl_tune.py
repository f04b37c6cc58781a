"""TRL's DPOTrainer or KTOTrainer, one step a turn: ``trl_tune.py MODEL DTYPE PAIRS dpo|kto``."""

import json
import sys
import tempfile
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl_turns import Turns
from workloads import REWARD_MAX_TOKENS, TUNE_LEARNING_RATE, TUNE_REPLIES

path, dtype, pairs, method = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(path)
model, reference = (AutoModelForCausalLM.from_pretrained(path, dtype="float32") for _ in range(2))
rows = [json.loads(line) for line in Path(pairs).read_text().splitlines()]
if method == "kto":
    rows = [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for row in rows
        for side in ("chosen", "rejected")
    ]
kind, trainer = (KTOConfig, KTOTrainer) if method == "kto" else (DPOConfig, DPOTrainer)
with tempfile.TemporaryDirectory() as folder:
    config = kind(
        output_dir=folder,
        per_device_train_batch_size=TUNE_REPLIES if method == "kto" else TUNE_REPLIES // 2,
        max_steps=10_000,
        max_length=REWARD_MAX_TOKENS,
        bf16=dtype == "bfloat16",
        use_cpu=True,
        report_to=[],
        gradient_checkpointing=False,
        save_strategy="no",
        learning_rate=TUNE_LEARNING_RATE,
    )
    trainer(
        model=model,
        ref_model=reference,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[Turns(TUNE_REPLIES)],
    ).train()
