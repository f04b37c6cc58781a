"""Tuning on preferences (DPO) and on labels (KTO), replies per second.

    python benchmarks/preference_tuning.py --json
    python benchmarks/preference_tuning.py --peer trl --peer-python .peers/bin/python --json
    python benchmarks/preference_tuning.py --method kto --peer trl --peer-python .peers/bin/python --json

All weights train against a frozen copy, 16 replies an update: 8 pairs of DPO, or 8 pairs as desirable and undesirable replies of
KTO, in whose reference point each side adds 16 mismatched replies. The pairs are real dialogues of at most 256 tokens a side; both
sides read them by the same chat template, and no epoch is cut.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

from harness import Turns, dtype_name, open_peer, options, refuse, report, run, summary
from workloads import PAIRS_FILE, REWARD_MAX_TOKENS, TUNE_LEARNING_RATE, TUNE_REPLIES

from custodes.feedback.formats import read_preferences
from custodes.lm.loading import LanguageModel, load, model_folder
from custodes.policy.methods import Dpo, Kto
from custodes.policy.tuning import TuneMethod, tune
from custodes.types import Example, PreferencePair

PEERS = {"trl": ["trl_tune.py"]}


def main() -> None:
    parser = options(__doc__, PEERS)
    parser.add_argument("--method", choices=("dpo", "kto"), default="dpo")
    parser.add_argument("--data", type=Path, default=PAIRS_FILE, help="JSON lines (.gz) with chosen and rejected")
    parser.set_defaults(rounds=5)  # batches differ in length
    chosen = parser.parse_args()
    lm = load(chosen.model)
    pairs = short_pairs(lm, chosen.data, TUNE_REPLIES // 2 * (chosen.rounds + 2))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        file.write_text("".join(json.dumps(row_of(pair)) + "\n" for pair in pairs))
        arguments = (str(model_folder(chosen.model)), dtype_name(lm), str(file), chosen.method)
        with open_peer(chosen, PEERS, *arguments) as peer:
            turns = Turns(chosen.method, peer, chosen.rounds)
            train(lm, chosen.method, pairs, turns)
    report(
        summary([turns]),
        benchmark="preference_tuning",
        peer=chosen.peer,
        unit="replies per second",
        as_json=chosen.json,
    )


def train(lm: LanguageModel, name: str, pairs: list[PreferencePair], turns: Turns) -> None:
    """One update a turn."""
    method: TuneMethod = Dpo(batch=TUNE_REPLIES // 2, learning_rate=TUNE_LEARNING_RATE)
    examples: list[PreferencePair] | list[Example] = pairs
    if name == "kto":
        method = Kto(batch=TUNE_REPLIES, learning_rate=TUNE_LEARNING_RATE)
        examples = [Example(p.prompt, said, said is p.chosen) for p in pairs for said in (p.chosen, p.rejected)]

    def on_step(*_: object) -> None:
        turns.end(TUNE_REPLIES)
        turns.begin()

    turns.begin()
    tune(lm, examples, method, on_step=on_step, progress=False)


def short_pairs(lm: LanguageModel, file: Path, count: int) -> list[PreferencePair]:
    """The first ``count`` pairs of which both sides are one reply that says something and fits, with an end of turn."""
    if not file.is_file():
        refuse(f"{file} does not exist; give JSON lines with chosen and rejected (preference_tuning.py --data).")
    kept = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = read_preferences(file)
    for pair in pairs:
        lengths = [len(lm.chat.conversation((*pair.prompt, *said))) for said in (pair.chosen, pair.rejected)]
        says = all(len(said) == 1 and said[0].content.strip() for said in (pair.chosen, pair.rejected))
        if max(lengths) < REWARD_MAX_TOKENS and says:
            kept.append(pair)
        if len(kept) == count:
            return kept
    refuse(f"{file} holds {len(kept)} pairs of at most {REWARD_MAX_TOKENS} tokens a side; {count} are needed.")


def row_of(pair: PreferencePair) -> dict[str, list[dict[str, object]]]:
    sides = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
    return {name: [message.to_dict() for message in said] for name, said in sides.items()}


if __name__ == "__main__":
    run(main)
