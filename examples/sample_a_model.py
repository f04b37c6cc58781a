"""Sample several replies per prompt, force the beginning of an answer, and look at log-probabilities.

python examples/sample_a_model.py
"""

from __future__ import annotations

import argparse

from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.types import Message, Sampling, Task

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="smollm2-135m")
lm = load(parser.parse_args().model)
engine = TorchEngine(lm)

tasks = [Task(text, (Message("user", text),)) for text in ("Name a river.", "Who watches the watchers?")]
for episode in engine.generate(tasks, Sampling(n=3, temperature=0.8, max_tokens=24, seed=1)):
    mean = episode.logprobs[episode.action_mask].mean()
    print(f"{episode.task.id}  [{episode.outcome}, {mean:.2f} nats per token]  {episode.completion!r}")

(forced,) = engine.generate(tasks[:1], Sampling(temperature=0, max_tokens=12), prefixes=["The longest river in"])
print(f"Greedy, with its beginning given: {forced.completion!r}")
