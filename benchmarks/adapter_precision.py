"""What becomes of an adapter's small updates in bfloat16: merged into the weights, applied beside them, and exactly.

    python benchmarks/adapter_precision.py
    python benchmarks/adapter_precision.py --json

One run of GRPO trains an adapter of the embedded model. After 1, 2, 8 and 32 updates its A and B are used in three ways:
merged into bfloat16 weights, beside them as this project does, and in float32. Each policy answers the same held-out
prompts. Columns: ``gain`` is the reward above the base model's, with its standard error; ``kl`` is in nats per reply from the
base in the same precision, between whole next-token distributions; ``kept`` is the slope of what the policy changed in the
log-probabilities of the base's replies on what the exact policy changed (1: all of it, 0: nothing); ``off`` is the KL
from the exact policy on these replies, in nats per token. The base in bfloat16 shows what ``off`` is without an adapter.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from workloads import distinct_words

from custodes.lm.adapter import Adapter, AdapterConfig, merged
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.lm.packing import pack, split_by_budget
from custodes.policy import OptimiseConfig, optimise
from custodes.types import Episode, Message, Sampling, Scores, Task

SUBJECTS = [
    "rain",
    "bread",
    "trains",
    "glass",
    "bees",
    "salt",
    "maps",
    "clocks",
    "snow",
    "paint",
    "rope",
    "wool",
    "ink",
    "moss",
    "tea",
    "coal",
    "lamps",
    "boats",
    "seeds",
    "bells",
]
PACK_TOKENS = 512


class DistinctWords:
    """The reward, as a :class:`custodes.types.Reward`."""

    def score(self, episodes: list[Episode]) -> Scores:
        return Scores(np.array([distinct_words(episode.completion) for episode in episodes]))


@dataclass(frozen=True)
class Row:
    updates: int
    policy: str
    gain: float
    gain_error: float
    kl: float
    kept: float
    off: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--updates", type=int, nargs="+", default=[1, 2, 8, 32])
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--prompts", type=int, default=20, help="held-out prompts")
    parser.add_argument("--n", type=int, default=4, help="replies to each")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()

    lm, wide = (load(chosen.model, dtype=dtype) for dtype in ("bfloat16", "float32"))
    lm.adapter = Adapter(lm.decoder, AdapterConfig(first_layer=lm.decoder.spec.layers // 2))
    snapshots = train(lm, chosen.updates, chosen.learning_rate, chosen.max_tokens)
    tasks = [Task(s, (Message("user", f"Say something about {s}."),)) for s in SUBJECTS[: chosen.prompts]]
    sampling = Sampling(n=chosen.n, max_tokens=chosen.max_tokens, seed=1)
    base = replace(lm, adapter=None)
    replies = TorchEngine(base).generate(tasks, sampling)
    before = {lm.decoder.dtype: distributions(base, replies), wide.decoder.dtype: distributions(wide, replies)}
    rows = [
        Row(0, "base, bfloat16", 0.0, 0.0, 0.0, 1.0, divergence(*(before[t] for t in (torch.float32, torch.bfloat16))))
    ]
    for updates, tensors in snapshots.items():
        policies = as_policies(lm, wide, tensors)
        exact = distributions(policies["exact"], replies)
        for name, policy in policies.items():
            own, start = distributions(policy, replies), before[policy.decoder.dtype]
            moved, true = (x.chosen - y.chosen for x, y in ((own, start), (exact, before[torch.float32])))
            gain, error = gains(TorchEngine(policy).generate(tasks, sampling), replies, chosen.n)
            drawn = TorchEngine(policy).generate(tasks, replace(sampling, seed=2))
            root = wide if policy.decoder.dtype == torch.float32 else base
            kl = divergence(distributions(policy, drawn), distributions(root, drawn)) * np.mean(
                [e.actions for e in drawn]
            )
            rows.append(
                Row(updates, name, gain, error, float(kl), float(moved @ true / (true @ true)), divergence(exact, own))
            )
            if not chosen.json:
                print(rows[-1], flush=True)
    show(rows, chosen.json)


def train(lm: LanguageModel, updates: list[int], rate: float, max_tokens: int) -> dict[int, dict[str, Tensor]]:
    """A and B after each number of updates, by one run."""
    snapshots: dict[int, dict[str, Tensor]] = {}
    tasks = [Task(str(i), (Message("user", f"Tell me about the number {i}."),)) for i in range(64)]
    config = OptimiseConfig(
        algorithm="grpo",
        steps=max(updates),
        tasks_per_step=4,
        sampling=Sampling(n=8, max_tokens=max_tokens),
        learning_rate=rate,
        kl_coefficient=0.0,
        kl_in="k3",
    )

    def keep(metrics: dict[str, float], *_: object) -> None:
        if int(metrics["step"]) in updates:
            assert lm.adapter is not None
            snapshots[int(metrics["step"])] = {name: t.clone() for name, t in lm.adapter.tensors().items()}

    optimise(
        lm, tasks, DistinctWords(), config, engine=TorchEngine(lm, policy="benchmark"), on_step=keep, progress=False
    )
    return snapshots


def as_policies(lm: LanguageModel, wide: LanguageModel, tensors: dict[str, Tensor]) -> dict[str, LanguageModel]:
    """The same adapter in three ways."""
    assert lm.adapter is not None
    policies = {}
    for name, of in (("beside, bfloat16", lm), ("exact", wide)):
        adapter = Adapter(of.decoder, lm.adapter.config)
        adapter.restore(tensors, "the snapshot")
        policies[name] = replace(of, adapter=adapter.requires_grad_(False))
    beside = policies["beside, bfloat16"]
    assert beside.adapter is not None
    whole = replace(beside, decoder=merged(beside.decoder, beside.adapter), adapter=None)
    return {"merged, bfloat16": whole, **policies}


@dataclass(frozen=True)
class Distributions:
    """Of every action: log-probabilities (M, V), and those of the actions themselves (M,)."""

    table: Tensor
    chosen: NDArray[np.float64]


@torch.no_grad()
def distributions(lm: LanguageModel, episodes: list[Episode]) -> Distributions:
    tables, chosen = [], []
    for part in split_by_budget([len(e.token_ids) for e in episodes], PACK_TOKENS):
        own = [episodes[i] for i in part]
        batch = pack([e.token_ids for e in own])
        at = [np.flatnonzero(e.action_mask) for e in own]
        before = torch.cat([batch.rows[i, torch.from_numpy(a - 1)] for i, a in enumerate(at)])
        hidden = lm.decoder.hidden(batch, lm.adapter, wanted=before).float()
        table = (hidden @ lm.decoder.head_weight().float().T).log_softmax(-1)
        targets = np.concatenate([e.token_ids[a] for e, a in zip(own, at, strict=True)]).astype(np.int64)
        chosen.append(table.gather(-1, torch.from_numpy(targets)[:, None]).squeeze(-1).double().numpy())
        tables.append(table)
    return Distributions(torch.cat(tables), np.concatenate(chosen))


def divergence(p: Distributions, q: Distributions) -> float:
    """KL(p || q), nats per token."""
    parts = zip(p.table.split(256), q.table.split(256), strict=True)
    return float(sum((a.exp() * (a - b)).sum().double() for a, b in parts) / len(p.table))


def gains(episodes: list[Episode], base: list[Episode], n: int) -> tuple[float, float]:
    """Mean reward above the base's and its standard error, over prompts."""
    rewards = [DistinctWords().score(e).value.reshape(-1, n).mean(1) for e in (episodes, base)]
    difference = rewards[0] - rewards[1]
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def show(rows: list[Row], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"benchmark": "adapter_precision", "rows": [asdict(row) for row in rows]}, indent=2))
        return
    print("| updates | policy | gain | KL | kept | off |\n|---|---|---|---|---|---|")
    for r in rows:
        print(
            f"| {r.updates} | {r.policy} | {r.gain:+.2f} ± {r.gain_error:.2f} | {r.kl:.3f} | {r.kept:.2f} | {r.off:.5f} |"
        )


if __name__ == "__main__":
    main()
