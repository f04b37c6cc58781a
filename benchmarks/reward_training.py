"""Bradley-Terry reward training, pairs per second.

    python benchmarks/reward_training.py --json
    python benchmarks/reward_training.py --peer trl --peer-python .peers/bin/python --json

All weights train, 16 pairs an update, at most 256 tokens a side. The pairs are real dialogues of which both
sides have at most 256 tokens as plain text: TRL leaves out longer ones. TRL reads them as that plain text;
ours reads them in the model's chat template, which adds some 30 tokens, cut to 256.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

from harness import Turns, dtype_name, open_peer, options, refuse, report, run, summary
from workloads import PAIRS_FILE, REWARD_LEARNING_RATE, REWARD_MAX_TOKENS, REWARD_PAIRS, read_pairs

from custodes.feedback.formats import read_preferences
from custodes.lm.loading import LanguageModel, load, model_folder
from custodes.reward.config import RewardConfig
from custodes.reward.train import train_reward

PEERS = {"trl": ["trl_reward.py"]}


def main() -> None:
    parser = options(__doc__, PEERS)
    parser.add_argument("--data", type=Path, default=PAIRS_FILE, help="JSON lines (.gz) with chosen and rejected")
    parser.set_defaults(rounds=5)  # batches differ in length
    chosen = parser.parse_args()
    lm = load(chosen.model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        count = REWARD_PAIRS * (chosen.rounds + 2)
        file.write_text("".join(json.dumps(pair) + "\n" for pair in short_pairs(lm, chosen.data, count)))
        with open_peer(chosen, PEERS, str(model_folder(chosen.model)), dtype_name(lm), str(file)) as peer:
            turns = Turns("bradley-terry", peer, chosen.rounds)
            train(lm, file, turns)
    report(
        summary([turns]), benchmark="reward_training", peer=chosen.peer, unit="pairs per second", as_json=chosen.json
    )


def train(lm: LanguageModel, file: Path, turns: Turns) -> None:
    """One update a turn."""
    config = RewardConfig(
        full=True,
        epochs=1,
        batch_pairs=REWARD_PAIRS,
        learning_rate=REWARD_LEARNING_RATE,
        max_length=REWARD_MAX_TOKENS,
    )

    def on_step(*_: object) -> None:
        turns.end(REWARD_PAIRS)
        turns.begin()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some prompts are cut is said above
        pairs = read_preferences(file)
        turns.begin()
        train_reward(lm, pairs, config, on_step=on_step, progress=False)


def short_pairs(lm: LanguageModel, file: Path, count: int) -> list[dict[str, str]]:
    """The first ``count`` pairs that TRL would keep: it adds an end of turn to each side."""
    if not file.is_file():
        refuse(f"{file} does not exist; give JSON lines with chosen and rejected (reward_training.py --data).")
    kept = []
    for pair in read_pairs(file):
        if all(len(lm.tokenizer(pair[side])["input_ids"]) < REWARD_MAX_TOKENS for side in ("chosen", "rejected")):
            kept.append(pair)
        if len(kept) == count:
            return kept
    refuse(f"{file} holds {len(kept)} pairs of at most {REWARD_MAX_TOKENS} tokens a side; {count} are needed.")


if __name__ == "__main__":
    run(main)
