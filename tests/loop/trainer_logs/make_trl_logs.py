"""Makes the logs in this folder: TRL's GRPOTrainer on the tiny model of the tests, with a reward for long replies.

Run from the repository's root, with the environment of ``benchmarks/peers/setup.sh peers``:

    python -c "from pathlib import Path; from tests.conftest import write_tiny_model; write_tiny_model(Path('/tmp/tiny'))"
    .peers/bin/python tests/loop/trainer_logs/make_trl_logs.py /tmp/tiny
"""

import shutil
import sys
import tempfile
from pathlib import Path

from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

HERE = Path(__file__).parent


def long(completions, **_):
    """More characters, more reward."""
    return [len(completion[0]["content"]) / 10 for completion in completions]


with tempfile.TemporaryDirectory() as folder:
    config = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=32,
        num_generations=4,
        max_completion_length=24,
        max_steps=24,
        beta=0.01,
        learning_rate=2e-2,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=10,
        logging_steps=1,
        log_completions=True,
        use_cpu=True,
        report_to=[],
        save_steps=24,
        seed=0,
        model_init_kwargs={"dtype": "float32"},
    )
    prompts = [{"prompt": [{"role": "user", "content": f"Say something about {i}."}]} for i in range(64)]
    GRPOTrainer(
        model=sys.argv[1],
        reward_funcs=long,
        args=config,
        train_dataset=Dataset.from_list(prompts),
        processing_class=AutoTokenizer.from_pretrained(sys.argv[1]),
    ).train()
    shutil.copy(Path(folder, "checkpoint-24/trainer_state.json"), HERE / "trainer_state.json")
    shutil.rmtree(HERE / "completions", ignore_errors=True)
    shutil.copytree(Path(folder, "completions"), HERE / "completions")
