"""How fast a local model proposes tests of functions, beside what the machine's products give; and a whole review with it.

    OMP_NUM_THREADS=2 python benchmarks/proposals.py --model MODEL --json

Thirty documented functions of the standard library are asked about, six samples each, so that 180 replies are alive at once. A reply
goes on for --tokens tokens, whatever it says. Told: tokens a second in decoding, the arithmetic of its matrix products a second, and the largest rate
at which this machine multiplies matrices of these shapes. Then Python's module ``statistics`` is reviewed with evidence as
``custodes critique --model`` does, loading of the model left out, and once more without a model, for what running alone takes.
"""

from __future__ import annotations

import argparse
import ast
import random
import statistics
import time

import torch
from harness import run
from result import print_result
from review_speed import library_functions

from custodes.critic.choice import CriticChoice
from custodes.critic.loading import open_proposer
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.proposals import ProposalOptions, Proposer
from custodes.critic.review.running import RunOptions
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel
from custodes.types import Message, Sampling, Task

ASKED, SAMPLES = 30, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder or a .gguf file")
    parser.add_argument("--tokens", type=int, default=96, help="of each reply whose decoding is timed")
    parser.add_argument("--lines", type=int, default=50, help="the longest function, in lines")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    chosen = parser.parse_args()
    proposer = open_proposer(CriticChoice(model=chosen.model), ProposalOptions())
    assert proposer is not None
    assert isinstance(proposer.engine, TorchEngine)
    functions = documented_functions(chosen.lines)
    told = {"benchmark": "proposals", **decoding(proposer.engine, functions[:ASKED], chosen.tokens)}
    (seconds, ran), (alone, _) = reviewed(proposer), reviewed(None)
    told |= {"functions_run": ran, "review_seconds": seconds, "running_alone_seconds": alone}
    told["threads"] = torch.get_num_threads()
    print(
        f"{told['tokens_a_second']} tokens a second, {told['gflops']} of {told['largest_gflops']} GFLOP/s; "
        f"{ran} functions run and asked about in {seconds} s, run alone in {alone} s"
    )
    if chosen.json:
        print_result(told)


def documented_functions(lines: int) -> list[str]:
    """Functions of the standard library with three lines of documentation, of other names each, drawn by a fixed seed."""
    found = dict[str, str]()
    for f in library_functions():
        node = ast.parse(f.code).body[0]
        said = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
        if said and said.count("\n") >= 2 and "." not in f.qualname and f.end - f.start < lines:
            found.setdefault(f.qualname, f.code)
    return random.Random(0).sample(list(found.values()), ASKED)


def decoding(engine: TorchEngine, functions: list[str], tokens: int) -> dict[str, float]:
    """Rates of decoding alone: a run of one token, which computes the prompts, is taken off."""
    tasks = [Task(str(i), (Message("user", code),)) for i, code in enumerate(functions)]
    seconds = []
    for longest in (1, 1, tokens + 1):  # the first warms up
        began = time.perf_counter()
        engine.generate(tasks, Sampling(n=SAMPLES, max_tokens=longest, min_tokens=longest))
        seconds.append(time.perf_counter() - began)
    rate = SAMPLES * len(tasks) * tokens / (seconds[2] - seconds[1])
    flops = 2.0 * sum(rows * columns for rows, columns in shapes(engine.lm))
    return {
        "batch": SAMPLES * len(tasks),
        "tokens_a_second": round(rate),
        "gflops": round(rate * flops / 1e9),
        "largest_gflops": round(largest_product(engine.lm, SAMPLES * len(tasks)) / 1e9),
        "prompt_seconds": round(seconds[1], 1),
    }


def shapes(lm: LanguageModel) -> list[tuple[int, int]]:
    """(rows, columns) of every matrix that a token is multiplied by."""
    weights = (w.value for layer in lm.decoder.layers for w in layer.weights.values())  # type: ignore[union-attr]
    return [tuple(w.shape) for w in (*weights, lm.decoder.head_weight()) if w.dim() == 2]


def largest_product(lm: LanguageModel, batch: int) -> float:
    """FLOP/s of products of a batch with the model's largest matrix in a layer, and with a square of 4,096: the better median."""
    best = 0.0
    for rows, columns in {max(shapes(lm)[:-1], key=lambda s: s[0] * s[1]), (4096, 4096)}:
        x, weight = torch.randn(batch, columns).to(lm.decoder.dtype), torch.randn(rows, columns).to(lm.decoder.dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 128)
        seconds = []
        for _ in range(51):
            began = time.perf_counter()
            torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
            seconds.append(time.perf_counter() - began)
        best = max(best, 2.0 * batch * rows * columns / statistics.median(seconds))
    return best


def reviewed(proposer: Proposer | None) -> tuple[float, int]:
    """Seconds of a review with evidence, and the functions that were run."""
    began = time.perf_counter()
    result = review([statistics.__file__], None, ReviewOptions(), run=RunOptions(), proposer=proposer)
    return round(time.perf_counter() - began, 1), sum(run.ran for run in result.runs)


if __name__ == "__main__":
    run(main)
