"""A model, prompts and a reward: what reaches the reward, what is recorded, what goes wrong and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.ledger import Ledger, verify_ledger
from custodes.lm.loading import load
from custodes.loop.policy_optimise import PolicyOptimise, policy_optimise
from custodes.policy import OptimiseConfig
from custodes.types import InputError, Sampling

REWARDS = '''
"""Rewards of every temper."""
import time
from pathlib import Path

CALLS = 0

def short(completions, topic, **columns):
    assert all(isinstance(c, str) for c in completions), completions
    assert all(isinstance(t, str) for t in topic)
    return [-len(c) / 100 for c in completions]

def talks(prompts, completions, **columns):
    assert all(isinstance(m, dict) for p in prompts for m in p)
    return [float(len(c[-1]["content"])) for c in completions]

def some(completions, **columns):
    return [None if i % 3 == 0 else float(len(c)) for i, c in enumerate(completions)]

def none(completions, **columns):
    return [None for _ in completions]

def broken(completions, **columns):
    global CALLS
    CALLS += 1
    if CALLS > 2 and not Path(__file__).with_name("mended").exists():
        raise ValueError("no more")
    return [float(len(c)) for c in completions]

def fewer(completions, **columns):
    return [1.0]

def wrong(completions, **columns):
    return [float("nan") for _ in completions]

def hangs(completions, **columns):
    time.sleep(60)
'''


def optimisation(**more: object) -> OptimiseConfig:
    sampling = Sampling(n=3, max_tokens=8, seed=int(more.pop("seed", 0)))  # type: ignore[call-overload]
    options = {"algorithm": "grpo", "steps": 3, "tasks_per_step": 4, "learning_rate": 1e-2, "sampling": sampling}
    return OptimiseConfig(**options | more)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    rows = [{"prompt": f"Say something about {i}, please.", "topic": f"t{i}"} for i in range(24)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    talks = [{"prompt": [{"role": "user", "content": f"Talk of {i}."}]} for i in range(24)]
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in talks))
    (tmp_path / "rewards.py").write_text(REWARDS)
    return tmp_path


def config(world: Path, model: Path, reward: str = "short", **more: object) -> PolicyOptimise:
    own = {"optimisation": optimisation(), "evaluate_every": 2, "measure_on": 6} | more
    return PolicyOptimise(
        out=Path(own.pop("out", world / "out")),
        tasks=str(own.pop("tasks", world / "prompts.jsonl")),
        model=str(model),
        reward=(f"{world}/rewards.py:{reward}",) if reward else (),
        **own,  # type: ignore[arg-type]
    )


def flags(world: Path, model: Path, *more: object) -> list[str]:
    small = [
        "--steps",
        "3",
        "--tasks-per-step",
        "4",
        "--n",
        "3",
        "--max-tokens",
        "8",
        "--measure-on",
        "6",
        "--learning-rate",
        "1e-2",
    ]
    words = [
        "policy",
        "optimise",
        "--model",
        model,
        "--tasks",
        world / "prompts.jsonl",
        "--out",
        world / "out",
        *small,
        *more,
    ]
    return [str(word) for word in words]


def evaluations(out: Path, name: str) -> list[dict]:
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        return [e.metrics for e in ledger.evaluations(ledger.runs()[-1].id, name)]


def test_the_policy_is_measured_recorded_and_loads(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (gain,) = policy_optimise(config(world, tiny_model)).seeds
    out = world / "out"
    said = capsys.readouterr().err
    assert "an adapter of rank 16 from layer 1 up, at 0.01, in micro-batches of 2,048 tokens." in said
    assert gain.difference.n == 4  # a fifth of 24 prompts
    assert gain.difference.estimate == pytest.approx(gain.after.estimate - gain.before.estimate)
    lm = load(out / "policy")
    assert lm.adapter is not None
    assert lm.adapter.first_layer == 1  # the upper half of two layers
    assert load(out).fingerprint() == lm.fingerprint()  # the run's folder stands for its policy
    assert verify_ledger(out / "ledger.db").ok
    assert [row["step"] for row in evaluations(out, "policy_heldout")] == [0, 2, 3]
    assert [row["step"] for row in evaluations(out, "policy_step")] == [1, 2, 3]
    assert json.loads((out / "result.json").read_text())["difference"]["estimate"] == gain.difference.estimate
    report = json.loads((out / "report.json").read_text())
    assert len(report["optimisation"]["grpo"]["points"]) == 3
    assert any("reward rose" in claim or "reward" in claim for claim in report["claims"])
    (kept,) = (out / "sources").iterdir()
    assert kept.read_text() == REWARDS


def test_best_of_n_is_an_algorithm_with_a_measured_kl_and_its_own_bound_beside_it(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = config(world, tiny_model, optimisation=optimisation(algorithm="best_of_n"))
    (gain,) = policy_optimise(own).seeds
    assert "Best of 3 replies of the base model is at most 0.432 nats from it, a bound" in capsys.readouterr().err
    (search,) = evaluations(own.out, "best_of_n")
    assert [len(row) for row in search["proxy"]] == [3] * 4
    assert all("kl" not in row or row["kl"] is None for row in evaluations(own.out, "policy_step"))
    last = evaluations(own.out, "policy_heldout")[-1]
    assert gain.kl.estimate == pytest.approx(sum(last["kl"]) / len(last["kl"]))
    assert gain.kl.estimate != 0
    report = json.loads((own.out / "report.json").read_text())
    assert [p["n"] for p in report["optimisation"]["best_of_n"]["best_of_n"]["points"]] == [1, 2, 3]
    assert "KL at most, nats" in (own.out / "report.html").read_text()
    assert policy_optimise(own).to_dict()["runs"][0]["kl"] == gain.to_dict()["kl"]


def test_run_again_it_only_says_what_it_came_to(world: Path, tiny_model: Path) -> None:
    first = policy_optimise(config(world, tiny_model))
    steps = (world / "out" / "optimisation" / "metrics.jsonl").read_text()
    assert policy_optimise(config(world, tiny_model)).to_dict() == first.to_dict()
    assert (world / "out" / "optimisation" / "metrics.jsonl").read_text() == steps
    with pytest.raises(InputError, match="holds a run with measure_on = 6, now it is 5"):
        policy_optimise(config(world, tiny_model, measure_on=5))


def test_messages_reach_a_function_where_prompts_are_messages(world: Path, tiny_model: Path) -> None:
    (gain,) = policy_optimise(config(world, tiny_model, "talks", tasks=world / "talks.jsonl")).seeds
    assert gain.steps == 3


def test_none_is_no_opinion_and_teaches_nothing(world: Path, tiny_model: Path) -> None:
    policy_optimise(config(world, tiny_model, "some"))
    metrics = [json.loads(line) for line in (world / "out/optimisation/metrics.jsonl").read_text().splitlines()]
    assert all(m["no_opinion"] == pytest.approx(1 / 3) for m in metrics)
    assert all(m["proxy"] > 1 for m in metrics)  # a 0 for each None would show here
    with pytest.raises(InputError, match="has no opinion on any"):
        policy_optimise(config(world, tiny_model, "none", out=world / "other"))


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("fewer", r"returned 1 values for 4 completions \(the first is of episode \w+\)"),
        ("wrong", r"returned nan for completion 0 \(episode \w+\)"),
        ("hangs", r"did not answer in 0\.3 s, for episode \w+ \(task \w+\)"),
        ("absent", "has no 'absent'"),
    ],
)
def test_a_reward_that_fails_is_one_sentence_with_the_episode(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], reward: str, said: str
) -> None:
    import re

    own = ("--reward", f"{world}/rewards.py:{reward}", "--reward-timeout", 0.3, "--algorithm", "grpo")
    assert main(flags(world, tiny_model, *own)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("custodes:")]
    assert len(lines) == 1
    assert re.search(said, lines[0])


def test_a_reward_that_breaks_on_the_way_is_mended_and_nothing_is_lost(world: Path, tiny_model: Path) -> None:
    straight = config(world, tiny_model, "broken", out=world / "straight")
    (world / "mended").touch()
    expected = policy_optimise(straight).seeds[0]
    (world / "mended").unlink()
    interrupted = config(world, tiny_model, "broken", out=world / "stopped")
    (world / "rewards.py").write_text(REWARDS + "\n# begun anew\n")
    with pytest.raises(
        InputError,
        match=r"step 2: reward broken raised ValueError: no more at .*line 27, for episode \w+ .* the same command goes on",
    ):
        policy_optimise(interrupted)
    steps = (world / "stopped/optimisation/metrics.jsonl").read_text().splitlines()
    assert len(steps) == 1
    (world / "rewards.py").write_text(REWARDS.replace("CALLS > 2", "CALLS > 200"))
    found = policy_optimise(interrupted).seeds[0]
    assert found.difference.estimate == expected.difference.estimate
    assert load(world / "stopped").fingerprint() == load(world / "straight").fingerprint()
    assert len(list((world / "stopped/sources").iterdir())) == 2  # both versions that scored are kept
    assert verify_ledger(world / "stopped/ledger.db").ok


def test_killed_it_goes_on_to_the_same_policy(world: Path, tiny_model: Path) -> None:
    own = ("--reward", f"{world}/rewards.py:short", "--algorithm", "ppo", "--steps", 6, "--checkpoint-every", 1)
    words = [sys.executable, "-m", "custodes", *flags(world, tiny_model, *own)]
    straight = [*words, "--out", str(world / "straight")]
    subprocess.run(straight, check=True, capture_output=True)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    while process.poll() is None and not (world / "out/optimisation/checkpoints/step-000002").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(words, check=True, capture_output=True)
    assert load(world / "out").fingerprint() == load(world / "straight").fingerprint()
    assert verify_ledger(world / "out/ledger.db").ok


def test_rewards_are_mixed_with_weights_by_name(world: Path, tiny_model: Path) -> None:
    own = config(world, tiny_model)
    two = (f"{world}/rewards.py:short", "numeric_answer")
    mixed = PolicyOptimise(out=own.out, tasks=own.tasks, reward=two, weights="numeric_answer=0", model=own.model,
                           optimisation=own.optimisation, measure_on=6)  # fmt: skip
    policy_optimise(mixed)
    metrics = json.loads((own.out / "optimisation/metrics.jsonl").read_text().splitlines()[0])
    assert metrics["part/short"] == pytest.approx(metrics["proxy"])
    assert "part/numeric_answer" not in metrics  # these prompts have no answers: it has no opinion


def test_gold_is_measured_and_never_optimised_against(world: Path, tiny_model: Path) -> None:
    (gain,) = policy_optimise(config(world, tiny_model, gold=f"{world}/rewards.py:short")).seeds
    assert gain.gold is not None
    assert gain.gold.estimate == pytest.approx(gain.difference.estimate)
    assert gain.overoptimisation is not None
    assert gain.overoptimisation.sentence in gain.to_dict()["overoptimisation"]["sentence"]


def test_held_out_prompts_of_a_file_of_their_own_and_near_duplicates_are_said(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "Say something about 3, please!", "topic": "x"}, {"prompt": "What is a fox?", "topic": "y"}]
    (world / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (gain,) = policy_optimise(config(world, tiny_model, eval_tasks=str(world / "held.jsonl"))).seeds
    assert gain.difference.n == 2
    said = capsys.readouterr().err
    assert "1 of 2 held-out prompts are nearly the same as a training prompt" in said
    assert "'Say something about 3, please!'" in said


def test_held_out_prompts_that_a_reward_learned_from_are_said(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [{"prompt": f"Say {w}.", "chosen": w, "rejected": f"not {w}"} for w in ("fox", "quick", "brown", "seven")]
    (world / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (world / "held.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in ("Say fox.", "Say nothing.")))
    learn = ["reward", "train", "--judgments", world / "pairs.jsonl", "--model", tiny_model, "--out", world / "learned"]
    assert main([str(word) for word in [*learn, "--held-out", "0", "--rank", "2", "--epochs", "1"]]) == 0
    own = config(world, tiny_model, eval_tasks=str(world / "held.jsonl"))
    policy_optimise(replace(own, reward=(str(world / "learned"),)))
    assert "1 of 2 held-out prompts are among those that the reward" in " ".join(capsys.readouterr().err.split())


ENVIRONMENT = '''
from custodes.types import Message

class Twice:
    """Asks again, and pays for the length of what is said the second time."""

    def start(self, task):
        self.said = []

    def step(self, reply):
        self.said.append(reply)
        return [{"role": "tool", "content": "and again?"}] if len(self.said) == 1 else None

    def reward(self):
        return float(len(self.said[1])) if len(self.said) == 2 else None

class Fails(Twice):
    def step(self, reply):
        raise KeyError("tool")

class Bare:
    pass
'''


def test_an_environment_of_several_turns_pays_its_own_reward(world: Path, tiny_model: Path) -> None:
    (world / "place.py").write_text(ENVIRONMENT)
    own = config(world, tiny_model, reward="", environment=f"{world}/place.py:Twice")
    (gain,) = policy_optimise(own).seeds
    assert gain.before.estimate > 0
    with Ledger.open(own.out / "ledger.db", read_only=True) as ledger:
        episode = next(iter(ledger.episodes(ledger.runs()[-1].id)))
    assert [m.role for m in episode.messages] == ["user", "assistant", "tool", "assistant"]
    again = policy_optimise(own).seeds[0]
    assert again.before == gain.before
    with pytest.raises(
        InputError, match=r"environment .*place\.py:Fails failed in step at .*line 19 \(KeyError: 'tool'\)"
    ):
        policy_optimise(config(world, tiny_model, reward="", environment=f"{world}/place.py:Fails", out=world / "b"))
    with pytest.raises(InputError, match="has no start and no step"):
        policy_optimise(config(world, tiny_model, environment=f"{world}/place.py:Bare", out=world / "c"))


def test_every_weight_learns_where_that_is_asked(world: Path, tiny_model: Path) -> None:
    (gain,) = policy_optimise(config(world, tiny_model, full=True)).seeds
    assert gain.kl.estimate != 0
    assert load(world / "out").adapter is None
    assert (world / "out/policy/model.safetensors").exists()


def test_several_seeds_are_runs_of_their_own(world: Path, tiny_model: Path) -> None:
    done = policy_optimise(config(world, tiny_model, seeds=2, optimisation=optimisation(steps=1)))
    assert [gain.seed for gain in done.seeds] == [0, 1]
    assert done.over_seeds is not None
    assert done.over_seeds.n == 2
    assert (world / "out/seed-1/report.html").exists()
    assert json.loads((world / "out/seeds.json").read_text())["over_seeds"]["n"] == 2


def test_a_dry_run_counts_and_writes_nothing(world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--reward", f"{world}/rewards.py:short", "--algorithm", "grpo", "--dry-run")
    assert main(flags(world, tiny_model, *own, "--json")) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["train"], plan["held_out"], plan["steps"]) == (20, 4, 3)
    assert plan["replies"] == 3 * 4 * 3 + 2 * 4
    assert plan["seconds_of_a_step"] > 0
    assert plan["peak_memory_gb"] < plan["memory_gb"]
    assert not (world / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--engine", "vllm"], "--engine vllm cannot be optimised yet"),
        (["--engine", "endpoint"], "--engine endpoint cannot be optimised yet"),
        (
            ["--reward", "numeric_anser"],
            "numeric_anser is no folder, and there is no reward 'numeric_anser'; did you mean 'numeric_answer'",
        ),
        (["--reward", "endpoint:http://localhost:1/v1#m"], "give the principles that it grades by with --rubric"),
        (["--weights", "1,2"], "are 2 numbers for 1 rewards"),
        (["--weights", "nothing=2"], "names of short"),
        (["--tasks-per-step", "50"], "20 prompts to train on and 50 per step"),
        (["--environment", "place.py"], "names no class; write FILE.py:Name"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    reward = [] if "--reward" in more else ["--reward", f"{world}/rewards.py:short"]
    assert main(flags(world, tiny_model, "--algorithm", "grpo", *reward, *more)) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_optimise_against_is_refused(world: Path, tiny_model: Path) -> None:
    with pytest.raises(InputError, match="nothing to optimise against"):
        policy_optimise(config(world, tiny_model, reward=""))


def test_the_rewards_may_be_given_one_by_one(world: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--reward", f"{world}/rewards.py:short", "--reward", "numeric_answer", "--algorithm", "grpo", "--steps", 1)
    assert main(flags(world, tiny_model, *own, "--json")) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["steps"] == 1
    assert textwrap.shorten(run["report"], 200).endswith("report.html")


def test_gold_without_an_opinion_and_replies_without_room_are_told(world: Path, tiny_model: Path) -> None:
    with pytest.raises(InputError, match=r"^gold has no opinion on any of \d+ held-out replies"):
        policy_optimise(config(world, tiny_model, gold=f"{world}/rewards.py:none"))
    long = optimisation(sampling=Sampling(n=2, max_tokens=600))
    with pytest.raises(InputError, match="context is 512 tokens, and --max-tokens leaves none of them to prompts"):
        policy_optimise(config(world, tiny_model, out=world / "long", optimisation=long))
