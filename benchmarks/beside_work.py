"""Speed beside other work: the demo's sampling and reward training, quiet and while other processes are busy, in turns.

    python benchmarks/beside_work.py --json
    GOMP_SPINCOUNT=300000 python benchmarks/beside_work.py --json      # how threads wait by default without Custodes

"ours" is the rate beside the busy processes, "peer" the quiet one: the ratio is what is left. The machine must be quiet otherwise.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness import Turns, options, report, run, screen, summary
from workloads import NEW_TOKENS, PROMPT

from custodes.environments import instruction_tasks
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.reward.config import RewardConfig
from custodes.reward.train import train_reward
from custodes.types import Message, PreferencePair, Sampling, Task

BATCH, PAIRS = 32, 32


def main() -> None:
    parser = options(__doc__, {"quiet": []})
    parser.add_argument("--busy", type=int, default=2, help="busy processes beside the work")
    parser.set_defaults(rounds=5)
    chosen = parser.parse_args()
    lm = load(chosen.model)
    work = {"sampling, tokens/s": lambda: sample(lm), "reward training, pairs/s": reward_training(lm)}
    finished = []
    for name, do in work.items():
        finished.append(turns := Turns(name, None, chosen.rounds))
        for _ in range(chosen.rounds + 1):  # the first of each is not counted
            measure(turns, "peer", do)
            with busy(chosen.busy):
                measure(turns, "ours", do)
    report(summary(finished), benchmark="beside_work", peer="quiet", unit="per second", as_json=chosen.json)


def measure(turns: Turns, who: str, do: Callable[[], int]) -> None:
    began = time.perf_counter()
    amount = do()
    rate = amount / (time.perf_counter() - began)
    turns.rates[who].append(rate)
    screen.print(f"  {turns.workload}: {'quiet' if who == 'peer' else 'beside others'} {rate:,.1f}", highlight=False)


def sample(lm: LanguageModel) -> int:
    episodes = TorchEngine(lm).generate(
        [Task("poem", (Message("user", PROMPT),))], Sampling(n=BATCH, max_tokens=NEW_TOKENS, min_tokens=NEW_TOKENS)
    )
    return sum(e.actions for e in episodes)


def reward_training(lm: LanguageModel) -> Callable[[], int]:
    """The demo's reward, on answers of its length; returns the work that trains one."""
    tasks = instruction_tasks(PAIRS // 4, seed=0)
    answers = TorchEngine(lm).generate(tasks, Sampling(n=8, max_tokens=NEW_TOKENS, min_tokens=NEW_TOKENS))
    sides = [(Message("assistant", e.completion or "none"),) for e in answers]
    prompts = [e.task.messages for e in answers]
    pairs = [PreferencePair(prompts[i], sides[i], sides[i + 1]) for i in range(0, len(sides), 2)]
    config = RewardConfig(
        members=4, ensemble="heads", first_layer=-(lm.decoder.spec.layers // 3), epochs=1, learning_rate=5e-4
    )

    def train() -> int:
        train_reward(lm, pairs, config)
        return len(pairs)

    return train


@contextmanager
def busy(processes: int) -> Iterator[None]:
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    run(main)
