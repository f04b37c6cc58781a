"""From a preference file to a reward with uncertainty.

The preferences here are made up: judges who like answers that say "please".

    python examples/reward_from_preferences.py
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path

from custodes.feedback.formats import read_preferences
from custodes.lm.loading import load
from custodes.reward import RewardConfig, calibrate, evaluate_reward, train_reward
from custodes.types import Message

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="smollm2-135m")
lm = load(parser.parse_args().model)

rng = random.Random(0)
things = ["the salt", "a map", "your name", "some time", "the key", "a pen", "an answer", "more light"]
rows = []
for i in range(96):
    thing = rng.choice(things)
    rude, kind = f"Give me {thing} now.", f"Please give me {thing}."
    rows.append({"prompt": f"Ask for {thing} (number {i}).", "chosen": kind, "rejected": rude})
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "preferences.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = read_preferences(file)

train, spare, held_out = pairs[:64], pairs[64:80], pairs[80:]
options = RewardConfig(members=2, combine="cautious", epochs=2, batch_pairs=8, first_layer=-1)
reward = train_reward(lm, train, options)
calibrate(reward, spare)  # another part, so that what is measured on the third has not been fitted to it
print(f"Accuracy on held-out pairs: {evaluate_reward(reward, held_out).accuracy}")

question = Message("user", "Ask for a chair.")
answers = ["Please give me a chair.", "Give me a chair now."]
scores = reward.score_messages([(question, Message("assistant", text)) for text in answers])
for text, value, std in zip(answers, scores.value, scores.std if scores.std is not None else [], strict=True):
    print(f"{value:+.2f} ± {std:.2f}  {text}")
