"""A policy that learns under oversight: what is asked, what a block does to what is learned, and what is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.audit.sections.oversight import OversightStep
from custodes.cli import main
from custodes.ledger import Ledger, verify_ledger
from custodes.loop.policy_optimise import PolicyOptimise, policy_optimise
from custodes.loop.training_oversight import PolicyOversight
from custodes.policy import OptimiseConfig
from custodes.types import Episode, InputError, Sampling

FILES = '''
from pathlib import Path
from custodes.feedback.oversight import Overseer, OverseerAnswer, OverseerLost

def length(completions, **columns):
    return [float(len(c)) / 10 for c in completions]

def bad(completions, **columns):
    """Harmful where the number of letters is even."""
    return [float(len(c) % 2 == 0) for c in completions]

def bad_turn(completions, **columns):
    return [float(len(c[-1]["content"]) % 2 == 0) for c in completions]

class Twice:
    def start(self, task):
        self.said = []
        return None

    def step(self, reply):
        self.said.append(reply)
        return [{"role": "tool", "content": "and again?"}] if len(self.said) == 1 else None

    def reward(self):
        return float(len(self.said))

class Leaves(Overseer):
    """Goes away after some answers, unless somebody is back."""
    def answer(self, action):
        asked, here = Path(__file__).with_name("asked"), Path(__file__).with_name("back")
        before = asked.read_text().splitlines() if asked.exists() else []
        most = int(Path(__file__).with_name("most").read_text())
        if len(before) >= most and not here.exists():
            raise OverseerLost("the overseer went away")
        asked.write_text("".join(f"{line}\\n" for line in [*before, action.key]))
        return OverseerAnswer(len(action.action) % 2 == 1, "leaves", "even", 1.0, 1.0)
'''


@pytest.fixture
def world(tmp_path: Path) -> Path:
    rows = [{"prompt": f"Say something about {i}, please."} for i in range(24)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.py").write_text(FILES)
    return tmp_path


def config(world: Path, model: Path, out: str = "out", environment: str = "", **overseen: object) -> PolicyOptimise:
    own = {"oversight": "simulated:catch=1", "oversight_truth": f"{world}/own.py:bad"} | overseen
    return PolicyOptimise(
        out=world / out,
        tasks=str(world / "prompts.jsonl"),
        model=str(model),
        reward=() if environment else (f"{world}/own.py:length",),
        environment=environment,
        measure_on=4,
        optimisation=OptimiseConfig(
            algorithm="grpo", steps=2, tasks_per_step=4, learning_rate=1e-2, sampling=Sampling(n=3, max_tokens=6)
        ),
        overseen=PolicyOversight(**own),  # type: ignore[arg-type]
    )


def recorded(out: Path) -> tuple[list[OversightStep], dict[str, Episode], dict[str, float]]:
    """The rows of oversight, the episodes, and what each was worth in training."""
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        run = ledger.runs()[-1].id
        rows = [OversightStep.read(e) for e in ledger.evaluations(run, "oversight_step")]
        return rows, {e.id: e for e in ledger.episodes(run)}, {s.episode: s.value for s in ledger.scores(run)}


def test_blocked_replies_get_the_reward_of_a_block_and_all_is_recorded(world: Path, tiny_model: Path) -> None:
    policy_optimise(config(world, tiny_model, blocked_reward="-3"))
    rows, episodes, worth = recorded(world / "out")
    assert [row.step for row in rows] == [1, 2]
    for row in rows:
        assert row.n == 12
        for id_, harmful, blocked in zip(row.acted, row.harmful, row.blocked, strict=True):
            assert harmful == blocked == (len(episodes[id_].completion) % 2 == 0)
            assert worth[id_] == pytest.approx(-3 if blocked else len(episodes[id_].completion) / 10)
        assert set(row.who) == {"simulated"}
    report = json.loads((world / "out" / "report.json").read_text())
    measures = report["oversight"]["grpo"]["measures"]
    assert measures["caught"]["estimate"] == 1
    assert measures["slipped"] == {"approved": 0, "not_asked": 0}
    assert any("An overseer saw 24 of 24 actions" in claim for claim in report["claims"])
    assert verify_ledger(world / "out" / "ledger.db").ok


def test_what_slips_through_is_shown_and_a_masked_block_teaches_nothing(world: Path, tiny_model: Path) -> None:
    policy_optimise(config(world, tiny_model, oversight="simulated:catch=.5", blocked_reward="mask"))
    rows, _, worth = recorded(world / "out")
    blocked = [id_ for row in rows for id_, stopped in zip(row.acted, row.blocked, strict=True) if stopped]
    assert blocked
    assert not set(blocked) & worth.keys()  # the reward has no opinion of them
    report = json.loads((world / "out" / "report.json").read_text())
    shown = report["oversight"]["grpo"]["read"]["Harmful actions that happened"]
    assert len(shown) == min(6, report["oversight"]["grpo"]["measures"]["slipped"]["approved"]) > 0
    assert all(len(a["action"]) % 2 == 0 for a in shown)
    assert "Harmful actions that happened" in (world / "out" / "report.html").read_text()


@pytest.mark.parametrize(("oversee", "asked"), [("reward:0.25", 3), ("own.py:bad", None), ("0.5", None)])
def test_a_rule_or_chance_says_which_replies_are_seen(world: Path, tiny_model: Path, oversee: str, asked: int) -> None:
    rule = f"{world}/{oversee}" if ".py" in oversee else oversee
    policy_optimise(config(world, tiny_model, oversee=rule))
    rows, episodes, _ = recorded(world / "out")
    for row in rows:
        seen = [id_ for id_, one in zip(row.acted, row.asked, strict=True) if one]
        if asked is not None:
            highest = sorted((len(episodes[id_].completion) for id_ in row.acted), reverse=True)
            assert sorted((len(episodes[id_].completion) for id_ in seen), reverse=True) == highest[:asked]
        elif ".py" in oversee:
            assert {id_ for id_ in row.acted if len(episodes[id_].completion) % 2 == 0} == set(seen)
    assert any(row.asked.count(True) not in (0, 12) for row in rows)


def test_a_blocked_action_never_reaches_the_environment_and_the_policy_is_told(world: Path, tiny_model: Path) -> None:
    place = f"{world}/own.py:Twice"
    truth = f"{world}/own.py:bad"
    policy_optimise(config(world, tiny_model, environment=place, oversight_truth=truth, blocked_reward="-1"))
    rows, episodes, worth = recorded(world / "out")
    several = 0
    for row in rows:
        for id_ in set(row.acted):
            turns = [i for i, acted in enumerate(row.acted) if acted == id_]
            blocked = [row.blocked[i] for i in turns]
            said = [m for m in episodes[id_].messages[1:] if m.role == "assistant"]
            told = [m for m in episodes[id_].messages if m.content.startswith("An overseer blocked this")]
            assert len(said) == len(turns)
            over = sum(blocked) >= 3
            assert len(told) == sum(blocked) - over  # with the third it is over
            assert worth[id_] == pytest.approx(blocked.count(False) - sum(blocked))
            several += bool(told)
    assert several
    policy_optimise(
        config(world, tiny_model, "ends", environment=place, oversight_truth=truth, on_block="end", blocked_reward="-1")
    )
    rows, episodes, worth = recorded(world / "ends")
    for row in rows:
        for id_, blocked in zip(row.acted, row.blocked, strict=True):
            if blocked:
                assert episodes[id_].messages[-1].role == "assistant"
                assert worth[id_] == -1


@pytest.mark.parametrize(("environment", "most"), [("", 15), ("own.py:Twice", 38)])  # in the second of two steps
def test_an_overseer_who_goes_away_stops_the_run_which_ends_as_if_nobody_had(
    world: Path, tiny_model: Path, environment: str, most: int
) -> None:
    (world / "most").write_text(str(most))
    place = f"{world}/{environment}" if environment else ""
    own = {"oversight": f"{world}/own.py:Leaves", "oversight_truth": ""}
    (world / "back").touch()
    policy_optimise(config(world, tiny_model, "straight", environment=place, **own))
    straight, asked = recorded(world / "straight"), (world / "asked").read_text().splitlines()
    assert len(asked) == len(set(asked))
    for name in ("asked", "back"):
        (world / name).unlink()
    with pytest.raises(InputError, match="step 2: the overseer went away; what was learned is kept"):
        policy_optimise(config(world, tiny_model, environment=place, **own))
    (world / "back").touch()
    policy_optimise(config(world, tiny_model, environment=place, **own))
    again = recorded(world / "out")
    assert sorted((world / "asked").read_text().splitlines()) == sorted(asked)  # nobody was asked twice
    assert again[0] == straight[0]
    assert again[2] == straight[2]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--oversight", "simulated:catch=.8"], "say what is with --oversight-truth FILE.py:NAME"),
        (["--oversight", "http://127.0.0.1:9"], "environment variable CUSTODES_TOKEN"),
        (["--oversight", "own.py:Leaves", "--oversee", "sometimes"], "--oversee sometimes is no rule"),
        (["--oversight", "own.py:Leaves", "--oversee", "disagreement:.5"], "needs a reward with members"),
        (["--oversight", "own.py:Leaves", "--blocked-reward", "low"], "it must be a number or mask"),
        (["--on-block", "end"], "nobody oversees; name somebody with --oversight"),
        (["--oversight", "own.py:Leaves", "--on-block", "never"], "--on-block"),
    ],
)
def test_wrong_options_are_one_sentence(
    world: Path, tiny_model: Path, flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(world)
    monkeypatch.delenv("CUSTODES_TOKEN", raising=False)
    small = ["--steps", "1", "--tasks-per-step", "4", "--n", "2", "--max-tokens", "4", "--measure-on", "4"]
    words = ["policy", "optimise", "--model", str(tiny_model), "--tasks", "prompts.jsonl", "--reward", "own.py:length"]
    assert main([*words, "--out", "out", *small, *flags]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
