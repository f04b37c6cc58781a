"""Alarms along an optimisation: recorded, obeyed where asked, the same after an interruption, refused where they cannot watch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from custodes.audit.sections.alarms import AlarmsSet, AlarmStep
from custodes.cli import main
from custodes.ledger import Ledger
from custodes.lm.loading import POLICY
from custodes.loop.alarm_watch import AlarmOptions
from custodes.loop.policy_optimise import PolicyOptimise, policy_optimise
from custodes.loop.round_options import RoundOptions
from custodes.policy import OptimiseConfig
from custodes.types import InputError, Sampling

FILES = '''
"""Rewards, and an alarm that rings at its third step."""
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from custodes.policy.alarm import Alarm, AlarmReading
from custodes.registry import alarm

CALLS = 0

def short(completions, **columns):
    return [-len(c) / 100 for c in completions]

def breaks(completions, **columns):
    global CALLS
    CALLS += 1
    if CALLS == 4 and not Path(__file__).with_name("mended").exists():
        raise ValueError("no more")
    return [-len(c) / 100 for c in completions]

@alarm
@dataclass(frozen=True)
class Third(Alarm):
    """Rings at the third step."""
    tolerance: float = 2.0
    unit: ClassVar[str] = "steps"
    tells: ClassVar[str] = "how many steps there were"
    cannot: ClassVar[str] = "anything else"

    def observe(self, look):
        return [float(len(look.episodes))]

    def calibrate(self, base, steps, level):
        return {"replies": float(sum(len(look.episodes) for look in base.looks))}

    def read(self, facts, seen, steps, level):
        return AlarmReading(float(len(seen)), 0.0, self.tolerance, f"{sum(x for (x,) in seen):g} replies")
'''


@pytest.fixture
def world(tmp_path: Path) -> Path:
    rows = [{"prompt": f"Say something about {i}, please."} for i in range(24)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.py").write_text(FILES)
    return tmp_path


def config(world: Path, model: Path, reward: str = "short", **more: object) -> PolicyOptimise:
    sampling = Sampling(n=3, max_tokens=8, seed=0)
    optimisation = OptimiseConfig(
        algorithm="grpo", steps=5, tasks_per_step=4, learning_rate=1e-2, sampling=sampling, checkpoint_every=2
    )
    options = {"out": world / "out", "evaluate_every": 9, "measure_on": 6, "optimisation": optimisation} | more
    return PolicyOptimise(
        tasks=str(world / "prompts.jsonl"), model=str(model), reward=(f"{world}/own.py:{reward}",), **options
    )  # type: ignore[arg-type]


def rows(out: Path, kind: type) -> list:
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        return [kind.read(e) for e in ledger.evaluations(run.id, kind.NAME)]


def decisions(out: Path) -> dict[str, str]:
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        return {d.what: d.why for d in ledger.decisions(run.id)}


def test_alarms_watch_every_run_and_say_why_where_they_cannot(tiny_model: Path, world: Path) -> None:
    (gain,) = policy_optimise(config(world, tiny_model)).seeds
    (made,) = rows(world / "out", AlarmsSet)
    assert set(made.alarm) == {"accuracy", "disagreement", "kl", "length", "repetition"}
    why = dict(zip(made.alarm, made.why_not, strict=True))
    assert "members" in why["disagreement"]
    assert "nobody labels" in why["accuracy"]
    assert why["length"] == ""
    seen = rows(world / "out", AlarmStep)
    assert [row.step for row in seen] == [1, 2, 3, 4, 5]
    assert "length" in seen[0].alarm
    assert "disagreement" not in seen[0].alarm
    assert gain.to_dict()["alarms"]["level"] == 0.05
    assert json.loads((world / "out/report.json").read_text())["alarms"]["grpo"]["alarms"]["length"]["trace"]
    assert "Alarms" in (world / "out/report.html").read_text()


def test_a_run_stops_at_the_step_of_its_alarm_and_says_on_what_evidence(tiny_model: Path, world: Path) -> None:
    own = AlarmOptions(stop_at=(f"{world}/own.py:Third",))
    (gain,) = policy_optimise(config(world, tiny_model, watching=own)).seeds
    assert (gain.steps, gain.stopped) == (3, "stop")
    why = next(why for what, why in decisions(world / "out").items() if "stopped the optimisation after step 3" in what)
    assert "36 replies" in why
    assert "at most 5.0\xa0% of runs" in why
    (again,) = policy_optimise(config(world, tiny_model, watching=own)).seeds  # a second call changes nothing
    assert (again.steps, again.kl) == (gain.steps, gain.kl)
    assert len(rows(world / "out", AlarmStep)) == 3


@pytest.mark.parametrize("stop", [False, True])
def test_an_interrupted_run_ends_as_the_straight_one(tiny_model: Path, world: Path, stop: bool) -> None:
    own = AlarmOptions(stop_at=(f"{world}/own.py:Third:3",) if stop else ())
    straight = config(world, tiny_model, out=world / "straight", watching=own)
    policy_optimise(straight)
    broken = replace(config(world, tiny_model, "breaks", watching=own))
    with pytest.raises(InputError, match="no more"):
        policy_optimise(broken)
    (world / "mended").touch()
    policy_optimise(broken)
    assert rows(world / "out", AlarmStep) == rows(world / "straight", AlarmStep)
    assert len(rows(world / "out", AlarmStep)) == (4 if stop else 5)
    weights = [next((world / out / POLICY).glob("*.safetensors")).read_bytes() for out in ("out", "straight")]
    assert weights[0] == weights[1]


def test_accuracy_is_watched_where_somebody_labels(
    tiny_model: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = RoundOptions(judge="simulated", probe_labels=4)
    monkeypatch.setattr("custodes.policy.alarms.accuracy.FEWEST_LABELS", 5)
    policy_optimise(config(world, tiny_model, relabelling=judged, gold=f"{world}/own.py:short"))
    (made,) = rows(world / "out", AlarmsSet)
    facts = dict(zip(made.alarm, made.facts, strict=True))["accuracy"]
    assert facts["accuracy"] > 0.5  # the reward is the judges' gold, seen with noise
    labels = [row.observed[row.alarm.index("accuracy")] for row in rows(world / "out", AlarmStep)]
    assert 1 <= sum(map(len, labels)) <= 20
    assert {x for of_step in labels for x in of_step} <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--stop-at", "lenght"], "did you mean 'length'"),
        (["--stop-at", "length:0.5"], "must be 1 or more"),
        (["--stop-at", "length", "--watch", "length:2"], "named twice"),
        (["--stop-at", "disagreement"], "has no members"),
        (["--stop-at", "accuracy"], "nobody labels"),
        (["--stop-at", "kl", "--algorithm", "best_of_n"], "draws from the model as it came"),
        (["--alarm-tasks", "0"], "alarm_tasks"),
        (["--alarm-tasks", "4", "--stop-at", "length"], "limits need 8"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    tiny_model: Path, world: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    small = ["--steps", "2", "--tasks-per-step", "4", "--n", "3", "--max-tokens", "8", "--measure-on", "6"]
    words = ["--model", tiny_model, "--tasks", world / "prompts.jsonl", "--out", world / "out", *small]
    algorithm = [] if "--algorithm" in options else ["--algorithm", "grpo"]
    given = ["policy", "optimise", "--reward", f"{world}/own.py:short", *algorithm, *words, *options]
    assert main([str(word) for word in given]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "kl\nx", ":3"])
def test_what_names_no_alarm_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="there is no alarm"):
        AlarmOptions(watch=(name,))
