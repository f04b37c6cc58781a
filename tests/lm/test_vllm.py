"""The vLLM engine, in the interpreter that CUSTODES_VLLM_PYTHON names (``benchmarks/peers/setup.sh vllm``)."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest

from custodes.lm.embedded import embedded_model
from custodes.lm.vllm import VllmEngine
from custodes.types import InputError

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("CUSTODES_VLLM_PYTHON", "")

PROGRAM = """
import json, sys
import numpy as np
from custodes.lm.vllm import VllmEngine
from custodes.types import InputError, Message, Sampling, Task

tasks = [Task(str(i), (Message("user", f"Name the number after {i}."),)) for i in range(3)]
engine = VllmEngine(sys.argv[1], dtype="float32", context=512, enforce_eager=True)
seen = {}

def tokens(episodes):
    return [e.token_ids[e.action_mask].tolist() for e in episodes]

drawn = engine.generate(tasks, Sampling(n=2, max_tokens=12, seed=1))
seen["order"] = [e.task.id for e in drawn]
seen["repeated"] = tokens(drawn) == tokens(engine.generate(tasks, Sampling(n=2, max_tokens=12, seed=1)))
seen["alone"] = tokens(drawn)[2:4] == tokens(engine.generate(tasks[1:2], Sampling(n=2, max_tokens=12, seed=1)))
seen["distinct"] = len({tuple(t) for t in tokens(drawn)})
seen["scored"] = max(np.abs(a.logprobs - b).max() for a, b in zip(drawn, engine.logprobs(drawn)))
seen["outside"] = max(np.abs(e.logprobs[~e.action_mask]).max() for e in drawn)
seen["only_choice"] = [
    float(np.abs(e.logprobs).max()) for e in engine.generate(tasks, Sampling(top_k=1, max_tokens=4))
]
seen["mean"] = {
    str(t): float(np.mean([e.logprobs[e.action_mask].mean() for e in engine.generate(tasks, Sampling(temperature=t, max_tokens=8))]))
    for t in (0.3, 1.0)
}
[long] = engine.generate(tasks[:1], Sampling(max_tokens=3, min_tokens=3))
seen["long"] = [long.outcome, long.actions]
[stopped] = engine.generate(tasks[:1], Sampling(temperature=0, max_tokens=40, stop=(".",)), ["The number is five"])
seen["stopped"] = [stopped.outcome, stopped.completion]
prompt = int(np.argmax(stopped.action_mask))
seen["prefix"] = engine.tokenizer.decode(stopped.token_ids[:prompt])[-18:]
for name, ask in {
    "too_long": lambda: engine.generate(tasks, Sampling(max_tokens=512)),
    "temperature": lambda: engine.logprobs(drawn, temperature=0.5),
}.items():
    try:
        ask()
    except InputError as error:
        seen[name] = str(error)
print(json.dumps(seen, default=float))
"""


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed here")
def test_without_vllm_the_error_names_the_install_command() -> None:
    with pytest.raises(InputError, match=r"needs vllm, .* pip install 'custodes\[distributed\]'"):
        VllmEngine("anything")


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="CUSTODES_VLLM_PYTHON does not name an interpreter that has vllm")
def test_vllm_engine() -> None:
    """One process for every claim, since loading vLLM takes most of the time."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "HF_HUB_OFFLINE": "1",
    }
    command = [PYTHON, "-c", PROGRAM, str(embedded_model())]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    seen = json.loads(result.stdout.splitlines()[-1])

    assert seen["order"] == ["0", "0", "1", "1", "2", "2"]
    assert seen["repeated"]
    assert seen["alone"]
    assert seen["distinct"] == 6
    assert seen["scored"] < 1e-3  # float32: one token at a time against all at once
    assert seen["outside"] == 0
    assert seen["only_choice"] == pytest.approx([0, 0, 0])  # renormalised on what top-k kept
    assert seen["mean"]["0.3"] > seen["mean"]["1.0"]  # colder draws are likelier under their own distribution
    assert seen["long"] == ["length", 3]
    outcome, text = seen["stopped"]
    assert outcome == "stop"
    assert text.startswith("The number is five")
    assert "." not in text
    assert seen["prefix"] == "The number is five"
    assert "exceed the context of 512 tokens" in seen["too_long"]
    assert "at temperature 1; 0.5" in seen["temperature"]
