"""Speed of sampling with an adapter beside the weights, in turns with the same adapter merged into them.

    python benchmarks/adapter_decoding.py --json

"ours" is the rate with the adapter beside, "peer" the rate with it merged: the ratio is what exactness costs. The adapter
is the demo's: rank 16 on the upper half of the layers, with random factors, since zeros would cost the same.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from harness import Turns, options, report, run, screen, summary
from workloads import NEW_TOKENS, PROMPT

from custodes.lm.adapter import Adapter, AdapterConfig, merged
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.types import Message, Sampling, Task

BATCHES = ("8", "32", "128")


def main() -> None:
    parser = options(__doc__, {"merged": []})
    parser.add_argument("--batches", nargs="+", default=BATCHES, help="sequences sampled at once")
    parser.set_defaults(rounds=5)
    chosen = parser.parse_args()
    base = load(chosen.model)
    adapter = Adapter(base.decoder, AdapterConfig(first_layer=base.decoder.spec.layers // 2), seed=0)
    with torch.no_grad():
        for factor in adapter.parameters():
            factor.normal_(std=0.01)
    sides = {"ours": replace(base, adapter=adapter), "peer": replace(base, decoder=merged(base.decoder, adapter))}
    finished = []
    for batch in chosen.batches:
        finished.append(turns := Turns(f"{batch} sequences", None, chosen.rounds))
        for _ in range(chosen.rounds + 1):  # the first of each is not counted
            for who, lm in sides.items():
                turns.rates[who].append(rate(lm, int(batch)))
                screen.print(f"  {turns.workload}: {who} {turns.rates[who][-1]:,.1f}", highlight=False)
    report(summary(finished), benchmark="adapter_decoding", peer="merged", unit="tokens/s", as_json=chosen.json)


def rate(lm: LanguageModel, batch: int) -> float:
    began = time.perf_counter()
    sampling = Sampling(n=batch, max_tokens=NEW_TOKENS, min_tokens=NEW_TOKENS)
    episodes = TorchEngine(lm).generate([Task("poem", (Message("user", PROMPT),))], sampling)
    return sum(e.actions for e in episodes) / (time.perf_counter() - began)


if __name__ == "__main__":
    run(main)
