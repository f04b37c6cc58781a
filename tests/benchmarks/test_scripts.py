"""The benchmarks run, on a model so small that the numbers mean nothing: what they measure may be renamed under them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, FOLDER / script, *options], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("sampling.py", ["--workloads", "8", "mixed", "--rounds", "1"]),
        ("rl_step.py", ["--rounds", "1"]),
        ("rl_step.py", ["--rounds", "1", "--algorithm", "ppo"]),
        ("reward_training.py", ["--rounds", "1", "--data", "PAIRS"]),
        ("preference_tuning.py", ["--rounds", "1", "--data", "PAIRS"]),
        ("preference_tuning.py", ["--rounds", "1", "--data", "PAIRS", "--method", "kto"]),
        ("fsbs.py", ["--rounds", "1"]),
        ("beside_work.py", ["--rounds", "1", "--busy", "1"]),
        ("adapter_decoding.py", ["--rounds", "1", "--batches", "4", "8"]),
    ],
)
def test_a_benchmark_of_ours_alone_ends_in_one_json_object(
    script: str, options: list[str], tiny_model: Path, tmp_path: Path
) -> None:
    pairs, model = tmp_path / "pairs.jsonl", tmp_path / "model"
    asked = [f"\n\nHuman: Why {n}?\n\nAssistant:" for n in range(48)]
    rows = [{"chosen": f"{prompt} So.", "rejected": f"{prompt} No."} for prompt in asked]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [str(pairs) if option == "PAIRS" else option for option in options]
    shutil.copytree(tiny_model, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    done = run(script, "--model", str(model), *options, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["ours"]
    assert told["versions"]["ours"].keys() >= {"custodes", "torch", "transformers"}


@pytest.mark.parametrize("script", ["sampling.py", "rl_step.py", "reward_training.py", "fsbs.py"])
def test_a_model_that_is_none_is_one_sentence(script: str) -> None:
    done = run(script, "--model", "notok")
    assert done.returncode == 2
    assert done.stderr.strip().startswith("no model 'notok'")
    assert done.stderr.count("\n") == 1


def test_every_peer_is_pinned() -> None:
    setup = (FOLDER / "peers/setup.sh").read_text().replace("\\\n", " ")
    installed = re.findall(r"pip install ([^\n]*)", setup)
    loose = [
        word
        for line in installed
        for word in re.sub(r"-r \S+|\"[^\"]*\"/\S+", "", line).replace('"$TORCH"', "").split()
        if not word.startswith("-") and "==" not in word
    ]
    assert len(installed) == 3
    assert not loose
    assert re.search(r"^TORCH=torch==", setup, re.MULTILINE)
    assert re.search(r"^VLLM=\d", setup, re.MULTILINE)


def test_labels_of_crowds_are_measured_beside_the_vote() -> None:
    done = run("label_crowds.py", "--replications", "1", "--crowds", "60 tasks, ten annotators")
    assert done.returncode == 0, done.stderr
    *_, row, last = done.stdout.splitlines()
    assert row.startswith("| 60 tasks, ten annotators | 0.")
    assert set(json.loads(last)["crowds"]["60 tasks, ten annotators"]) == {"majority", "dawid-skene", "mace", "glad"}
