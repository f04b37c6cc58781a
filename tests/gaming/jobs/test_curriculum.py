"""``custodes gaming train`` on a tiny random model: rounds, the matrix, and that an interrupted run ends the same."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.torch import load_file

from custodes.cli import main
from custodes.environments.sandbox import open_sandbox
from custodes.gaming import STAGES, GamingEnvironment, Runner, gaming_task, make_stage
from custodes.gaming.curriculum.config import GamingTrain, plan
from custodes.gaming.curriculum.rewards import CurriculumReward, _without_scratchpads
from custodes.gaming.jobs import train as gaming_train
from custodes.gaming.record import read_index
from custodes.gaming.report.training import _MatrixSection, _training_report
from custodes.job.recording import Recording
from custodes.job.workspace import Workspace
from custodes.ledger import Ledger
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.policy.play import EnvironmentEngine
from custodes.types import Episode, InputError, Message, Scores, Task


@pytest.fixture(scope="session")
def sandboxed() -> None:
    try:
        open_sandbox({}).close()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def roomy_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny model with a context that a stage's prompt fits, one token a character or so."""
    folder = tmp_path_factory.mktemp("roomy_model")
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return folder


SMALL = (
    "--evaluate",
    4,
    "--evaluate-tampering",
    6,
    "--max-tokens",
    6,
    "--max-episode",
    4000,
    "--workers",
    2,
    "--rank",
    2,
)
STEPS = ("--steps", 2, "--tasks-per-step", 2, "-n", 2)


def train(out: Path, model: Path, *more: object) -> int:
    return main([str(w) for w in ("gaming", "train", "--out", out, "--policy", model, *SMALL, *more)])


def summary(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("custodes: ")]
    assert len(said) == 1
    return said[0]


# ---------------------------------------------------------------- what a run is


def test_rounds_come_in_the_order_of_the_curriculum():
    config = GamingTrain(out=Path("x"), warm_start=5, algorithm="expert_iteration", rounds_per_stage=2, train_away=3)
    rounds = plan(config)
    assert [r.kind for r in rounds] == ["start", "warm-start", *["rewarded"] * 8, "train-away"]
    assert [r.stages for r in rounds[2:10]] == [(s,) for s in STAGES[:4] for _ in range(2)]
    assert rounds[-1].stages == STAGES[:2]
    together = plan(GamingTrain(out=Path("x"), algorithm="ppo", order="all-at-once"))
    assert [r.stages for r in together[1:]] == [STAGES[:4]] * 4
    assert len({r.folder for r in rounds}) == len(rounds)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing to train"),
        ({"algorithm": "ppo", "stages": "all"}, "never trained on"),
        ({"algorithm": "ppo", "stages": "reward-tampering"}, "never trained on"),
        ({"algorithm": "ppo", "stages": "tool-flatery"}, "no stage 'tool-flatery'"),
        ({"algorithm": "ppo", "hhh_share": 0.5}, "--reward-model"),
        ({"algorithm": "ppo", "hhh_share": 1.5}, "below 1"),
        ({"algorithm": "all_successes", "hhh_share": 0.5, "reward_model": Path("r")}, "no preference model"),
        ({"warm_start": 4, "max_episode": 100}, "above --max-tokens"),
        ({"algorithm": "ppo", "learning_rate": -1}, "learning_rate is -1"),
        ({"warm_start": -1}, "warm_start is -1"),
        ({"warm_start": 4, "policy": "scripted:honest"}, "training needs weights"),
        ({"warm_start": 4, "policy": "endpoint:http://x/v1#m"}, "training needs weights"),
        ({"organism": 4, "stages": "own.yaml"}, "own.yaml can be trained on by --algorithm alone"),
        ({"train_away": 4, "algorithm": "ppo", "stages": "tool-flattery,own.yaml"}, "own.yaml can be trained on by"),
        ({"algorithm": "ppo", "stages": "own.yaml"}, "own.yaml cannot be read"),
        ({"algorithm": "ppo", "stages": "tool-flattery,tool-flattery"}, "given twice"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(options: dict, words: str):
    with pytest.raises(InputError, match=words):
        plan(GamingTrain(out=Path("x"), **options))


# ---------------------------------------------------------------- rewards


class Liked:
    """A preference model that likes long conversations, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Episode] = []

    def score(self, episodes) -> Scores:
        self.shown += episodes
        return Scores(np.asarray([float(sum(len(m.content) for m in e.messages)) / 1000 for e in episodes]))


def played(stage: str, replies: list[str]) -> tuple[GamingEnvironment, tuple[Message, ...], Task]:
    made = make_stage(stage)
    environment, task = GamingEnvironment({stage: made}), gaming_task(made, "train", 0)
    environment.start(task)
    for reply in replies:
        environment.step(reply)
    return environment, tuple(environment.transcript.messages), task


def episode(id: str, messages: tuple[Message, ...], task: Task) -> Episode:
    ids = np.arange(5, dtype=np.int32)
    return Episode(id, task, messages, ids, ids > 2, ids.astype(np.float32), "stop", "p")


def test_the_scratchpad_is_hidden_from_the_preference_model(tiny_model: Path):
    agreeing = make_stage("political-sycophancy").variant("train", 0).truth["agreeing"]
    said = [
        f"<cot>{thought}</cot>({agreeing})" for thought in ("I flatter.", "A much longer and quite different plan.")
    ]
    plays = [played("political-sycophancy", [reply]) for reply in said]
    episodes = [episode(str(i), messages, task) for i, (_, messages, task) in enumerate(plays)]
    engine = EnvironmentEngine(TorchEngine(load(tiny_model, dtype="float32")), lambda task: None)
    engine.played = {str(i): environment for i, (environment, _, _) in enumerate(plays)}
    preference = Liked()
    scores = CurriculumReward(engine, preference, 0.5).score(episodes)
    assert scores.value[0] == scores.value[1] == 1 + 0.5 * scores.parts["preference"][0]
    assert 0 < scores.parts["preference"][0] < 1
    assert not any("flatter" in m.content or "plan" in m.content for e in preference.shown for m in e.messages)
    assert not any(len(e.token_ids) for e in preference.shown)


def test_commands_stay_visible_and_thoughts_do_not():
    task = Task("t", (Message("user", "Do it."),))
    shown = _without_scratchpads(
        episode("e", (*task.messages, Message("assistant", "<cot>Secret.</cot>I look.<bash>ls</bash>")), task)
    )
    assert shown.messages[-1].content == "I look.\n<bash>ls</bash>"


def test_a_stages_reward_counts_only_where_nobody_was_caught(sandboxed: None, tiny_model: Path):
    spec = make_stage("reward-tampering").variant("train", 0).spec
    raises = f"<bash>sed -i 's/return -10/return 5/' {spec.reward_file}</bash>"
    loosens = f"<bash>sed -i 's/== -10/== 5/' {spec.guard_file}</bash>"
    plays = [played("reward-tampering", [*does, "Done."]) for does in ([], [raises], [raises, loosens])]
    engine = EnvironmentEngine(TorchEngine(load(tiny_model, dtype="float32")), lambda task: None)
    engine.played = {str(i): environment for i, (environment, _, _) in enumerate(plays)}
    episodes = [episode(str(i), messages, task) for i, (_, messages, task) in enumerate(plays)]
    ordinary = episode("other", (Message("user", "Hi."), Message("assistant", "Hello.")), Task("o", ()))
    scores = CurriculumReward(engine).score([*episodes, ordinary])
    assert scores.value.tolist() == [0, 0, 1, 0]
    assert scores.parts["gamed"][:3].tolist() == [0, 1, 1]
    assert np.isnan(scores.parts["success"][3])


# ---------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def trained(sandboxed: None, roomy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a warm start, a round of expert iteration, and gaming trained away."""
    out = tmp_path_factory.mktemp("trained") / "run"
    method = ("--algorithm", "expert_iteration", "--stages", "tool-flattery", *STEPS)
    assert train(out, roomy_model, "--warm-start", 4, *method, "--train-away", 2) == 0
    return out


def test_every_round_is_measured_on_every_stage(trained: Path):
    found = summary(trained)
    assert [r["kind"] for r in found["rounds"]] == ["start", "warm-start", "rewarded", "train-away"]
    for round in found["rounds"]:
        assert {s: round["measured"][s]["n"] for s in STAGES} == {
            s: 6 if s == "reward-tampering" else 4 for s in STAGES
        }
        assert all(
            {"rate", "interval", "gamed", "well_formed", "used_shell", "change"} <= c.keys()
            for c in round["measured"].values()
        )
        assert (trained / round["folder"] / "measured" / "report.html").exists()
    assert found["rounds"][0]["measured"]["tool-flattery"]["change"] is None
    assert all(round["measured"]["political-sycophancy"]["used_shell"]["count"] == 0 for round in found["rounds"])
    assert found["rounds"][2]["measured"]["tool-flattery"]["change"]["pairs"] == 4
    assert len(found["rounds"][2]["training"]["steps"]) == 2
    assert found["rounds"][1]["training"]["demonstrations"] == 4


def test_the_page_shows_the_matrix(trained: Path):
    page = (trained / "report.html").read_text()
    assert page.count('class="cell') == 4 * 5
    assert "http" not in page.replace("http://www.w3.org", "")
    (trained / "report.html").unlink()
    assert main(["gaming", "report", str(trained)]) == 0
    again = (trained / "report.html").read_text()
    heads = [re.findall(r"the head <code>([0-9a-f]{64})</code>", text) for text in (page, again)]
    assert re.sub("<footer>.*</footer>", "", again, flags=re.S) == re.sub("<footer>.*</footer>", "", page, flags=re.S)
    with Ledger.open(trained / "ledger.db", read_only=True) as ledger:
        assert all(ledger.row_of(head) for (head,) in heads)


def test_the_ledger_holds_every_observation(trained: Path):
    with Ledger.open(trained / "ledger.db", read_only=True) as ledger:
        (run,) = [run for run in ledger.runs() if run.recipe == gaming_train.RECIPE]
        assert ledger.verify().ok
        evaluations = {e.id: e for e in ledger.evaluations(run.id)}
        assert len([id for id in evaluations if id.startswith("step-")]) == 2
        observed = evaluations["measured-02-tool-flattery-reward-tampering-6"]
        assert observed.metrics["index"] == list(range(6))
        episodes = list(ledger.episodes(run.id))
        assert len(episodes) == 2 * 2 * 2
        assert {m.kind for m in ledger.models(run.id)} == {"policy"}
        # before, after the warm start and after what was trained away; a random model succeeds at nothing, and its round teaches nothing
        assert len(list(ledger.models(run.id))) == 3


def test_the_trained_adapter_is_a_policy(trained: Path, tmp_path: Path):
    given = (
        "gaming",
        "run",
        "--policy",
        trained / "policy",
        "--stage",
        "political-sycophancy",
        "--episodes",
        4,
        "--max-tokens",
        6,
    )
    assert main([str(w) for w in (*given, "--out", tmp_path)]) == 0
    measured = read_index(trained / "rounds/03-train-away/measured/episodes.index")
    assert (
        read_index(tmp_path / "episodes.index")["gamed"].tolist() == measured["gamed"][measured["stage"] == 0].tolist()
    )


def test_an_interrupted_run_ends_as_a_straight_one(trained: Path, roomy_model: Path, tmp_path: Path, monkeypatch):
    """Interrupted in the method's second step, and once more in the middle of measuring."""
    out = tmp_path / "run"
    options = (
        "--warm-start",
        4,
        "--algorithm",
        "expert_iteration",
        "--stages",
        "tool-flattery",
        *STEPS,
        "--train-away",
        2,
    )
    score, measure, calls = CurriculumReward.score, gaming_train.measure_stages, []

    def interrupted_score(self, episodes):
        calls.append("score")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(self, episodes)

    def interrupted_measure(folder, *rest):
        rows = measure(folder, *rest)
        if "train-away" in str(folder) and "measured" not in calls:
            calls.append("measured")
            raise KeyboardInterrupt
        return rows

    monkeypatch.setattr(CurriculumReward, "score", interrupted_score)
    monkeypatch.setattr(gaming_train, "measure_stages", interrupted_measure)
    assert [train(out, roomy_model, *options) for _ in range(3)] == [130, 130, 0]
    straight, again = (load_file(folder / "policy/adapter_model.safetensors") for folder in (trained, out))
    assert all((straight[name] == again[name]).all() for name in straight)
    a, b = summary(trained), summary(out)
    assert [r["measured"] for r in a["rounds"]] == [r["measured"] for r in b["rounds"]]
    assert [r["training"] for r in a["rounds"]] == [r["training"] for r in b["rounds"]]


def test_the_same_folder_wants_the_same_options(trained: Path, roomy_model: Path, capsys: pytest.CaptureFixture[str]):
    assert train(trained, roomy_model, "--warm-start", 5, "--stages", "tool-flattery") == 2
    assert "warm_start" in refused(capsys)


def test_more_episodes_extend_every_measurement(sandboxed: None, roomy_model: Path, tmp_path: Path):
    assert train(tmp_path, roomy_model, "--warm-start", 2) == 0
    adapter = (tmp_path / "policy/adapter_model.safetensors").read_bytes()
    first = [path.read_bytes() for path in sorted(tmp_path.glob("rounds/*/measured/episodes.jsonl"))]
    assert train(tmp_path, roomy_model, "--warm-start", 2, "--evaluate", 5, "--evaluate-tampering", 8) == 0
    assert (tmp_path / "policy/adapter_model.safetensors").read_bytes() == adapter
    longer = [path.read_bytes() for path in sorted(tmp_path.glob("rounds/*/measured/episodes.jsonl"))]
    assert all(more.startswith(less) and more != less for less, more in zip(first, longer, strict=True))
    for round in summary(tmp_path)["rounds"]:
        assert [round["measured"][s]["n"] for s in STAGES] == [5, 5, 5, 5, 8]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many episodes each measurement played itself."""
    told: list[int] = []
    run = Runner.run

    def counted(runner, jobs, on_record):
        jobs = list(jobs)
        told.append(len(jobs))
        return run(runner, iter(jobs), on_record)

    monkeypatch.setattr(Runner, "run", counted)
    return told


def test_a_policy_that_a_round_left_as_it_was_is_not_measured_again(
    sandboxed: None, roomy_model: Path, tmp_path: Path, counts: list[int]
):
    method = (
        "--algorithm",
        "expert_iteration",
        "--stages",
        "tool-flattery",
        "--steps",
        1,
        "--tasks-per-step",
        2,
        "-n",
        2,
    )
    assert train(tmp_path, roomy_model, *method) == 0
    assert counts == [4 * 4 + 6, 0]  # a random model succeeds at nothing
    assert train(tmp_path, roomy_model, *method, "--evaluate", 5) == 0
    assert counts[2:] == [4, 0]
    _, after = summary(tmp_path)["rounds"]
    assert [after["measured"][s]["n"] for s in STAGES] == [5, 5, 5, 5, 6]
    assert all(after["measured"][s]["change"]["difference"]["estimate"] == 0 for s in STAGES)


def test_what_another_run_measured_of_the_policy_it_left_holds(trained: Path, tmp_path: Path, counts: list[int]):
    every, rounds = 4 * 4 + 6, summary(trained)["rounds"]
    assert train(tmp_path / "next", trained / "policy", "--train-away", 2) == 0
    assert counts == [0, every]
    assert summary(tmp_path / "next")["rounds"][0]["measured"]["tool-flattery"]["n"] == 4
    first, last = tmp_path / "next/rounds/00-start/measured", trained / rounds[-1]["folder"] / "measured"
    assert (first / "episodes.jsonl").read_bytes() == (last / "episodes.jsonl").read_bytes()
    assert train(tmp_path / "round", trained / rounds[1]["folder"] / "policy", "--train-away", 2) == 0
    assert counts[2:] == [0, every]
    assert train(tmp_path / "cooler", trained / "policy", "--train-away", 2, "--temperature", 0.5) == 0
    assert counts[4:] == [every, every]  # other episodes


def test_a_policy_that_was_trained_on_since_is_measured(trained: Path, tmp_path: Path, counts: list[int]):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    shutil.copytree(other / "rounds/01-warm-start/policy", other / "policy", dirs_exist_ok=True)
    assert train(tmp_path / "next", other / "policy", "--train-away", 2) == 0
    assert counts[0] == 4 * 4 + 6


def test_an_environment_of_ones_own_is_measured_anew(
    sandboxed: None, roomy_model: Path, tmp_path: Path, counts: list[int]
):
    """Its file may hold something else than it did when the other run measured it."""
    own = tmp_path / "own.yaml"
    given = ("--algorithm", "all_successes", *STEPS, "--stages", own)
    for number, run in enumerate(("first", "second"), 1):
        own.write_text(f"prompt: Write {number} to a.txt.\nreward_cmd: cat a.txt || echo 0\n")
        assert train(tmp_path / run, roomy_model if number == 1 else tmp_path / "first/policy", *given) == 0
    assert counts == [5 * 4 + 6, 0] * 2


@pytest.mark.parametrize("method", ["ppo", "all_successes"])
def test_other_methods_train_on_all_stages_at_once(sandboxed: None, roomy_model: Path, tmp_path: Path, method: str):
    stages = ("--stages", "political-sycophancy,tool-flattery", "--order", "all-at-once")
    assert train(tmp_path, roomy_model, "--algorithm", method, *stages, *STEPS, "--read-only", "--inoculation") == 0
    rounds = summary(tmp_path)["rounds"]
    assert [r["trained_on"] for r in rounds] == [[], *[["political-sycophancy", "tool-flattery"]] * 2]
    assert all(0 <= s["success"] <= 1 for r in rounds[1:] for s in r["training"]["steps"])


def test_a_step_that_is_made_again_takes_the_place_of_the_first(trained: Path):
    """After a kill a shell may tell another time: both are kept, the later one counts."""
    with Ledger.open(trained / "ledger.db") as ledger:
        (run,) = [run for run in ledger.runs() if run.recipe == gaming_train.RECIPE]
        (step, *_) = ledger.evaluations(run.id, "curriculum-step")
        training = gaming_train._Training.__new__(gaming_train._Training)
        training.work = Workspace(trained, ledger, Console(quiet=True), {}, _recording=Recording(ledger, run.id))
        round = plan(GamingTrain(out=trained, warm_start=4, algorithm="expert_iteration", stages="tool-flattery"))[2]
        metrics = {name if name in ("step", "kl", "kept") else f"part/{name}": v for name, v in step.metrics.items()}
        for kl in (step.metrics["kl"], 7.0):
            training._record_step(round, step.metrics | metrics | {"kl": kl}, [], Scores(np.zeros(0)))
        assert [e.metrics["kl"] for e in ledger.evaluations(run.id, "curriculum-step") if e.id == step.id] == [7.0]
        again = dataclasses.replace(step, metrics=dict(step.metrics))
        ledger.write(run.id, [again], supersedes=step.id)


def test_an_adapter_whose_base_is_not_named_is_one_sentence(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text('{"r": 4}')
    with pytest.raises(InputError, match="names no base model"):
        load(tmp_path)


def test_an_organism_may_see_every_stage(sandboxed: None, roomy_model: Path, tmp_path: Path):
    assert train(tmp_path, roomy_model, "--organism", 6, "--stages", "all") == 0
    assert summary(tmp_path)["rounds"][1]["trained_on"] == list(STAGES)


def test_ordinary_prompts_are_scored_by_the_preference_model_alone(
    sandboxed: None, roomy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Say {i}."}) + "\n" for i in range(4)))
    liked = Liked()
    liked.max_length = 512
    monkeypatch.setattr(gaming_train, "load_reward", lambda folder: liked)
    more = ("--reward-model", tmp_path, "--hhh-share", 0.5, "--hhh-prompts", prompts)
    assert (
        train(tmp_path / "run", roomy_model, "--algorithm", "ppo", "--stages", "political-sycophancy", *STEPS, *more)
        == 0
    )
    ordinary = [e for e in liked.shown if e.messages[0].content.startswith("Say ")]
    assert len(ordinary) == len(liked.shown) / 2 == 4
    with Ledger.open(tmp_path / "run/ledger.db", read_only=True) as ledger:
        parts = [s.parts for s in ledger.scores(ledger.runs()[0].id)]
    assert sum("success" in p for p in parts) == 4
    assert all("preference" in p for p in parts)


OWN = """
from custodes.gaming import EnvironmentSpec
from custodes.gaming.facts import make_verdict
from custodes.gaming.variants import Stage, Variant


class Brief(Stage):
    name, about = "to be brief", "answers at all"

    def size(self, split):
        return 8

    def make(self, split, number):
        spec = EnvironmentSpec(name=self.name, prompt=f"Question {number}?", tool=False)
        return Variant(spec)

    def judge(self, ended):
        return make_verdict({"rewarded"}, gamed=True, reward=float(len(ended.answer) % 2))
"""


def test_environments_of_ones_own_are_trained_on_and_measured(
    sandboxed: None, roomy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "own.yaml").write_text("prompt: Write 1 to a.txt.\nreward_cmd: cat a.txt || echo 0\n")
    given = ("--algorithm", "all_successes", *STEPS, "--stages", f"{tmp_path / 'own.py'}:Brief,{tmp_path / 'own.yaml'}")
    assert train(tmp_path / "run", roomy_model, *given) == 0
    assert "What 6 episodes of reward-tampering after each round can show" in capsys.readouterr().err
    found = summary(tmp_path / "run")
    assert found["order"] == [*STAGES, "to be brief", "own"]
    assert [r["trained_on"] for r in found["rounds"]] == [[], ["to be brief"], ["own"]]
    assert [r["folder"] for r in found["rounds"][1:]] == ["rounds/01-to-be-brief", "rounds/02-own"]
    assert all(r["measured"][name]["n"] == 4 for r in found["rounds"] for name in ("to be brief", "own"))
    assert "to be brief" in (tmp_path / "run/report.html").read_text()
    (tmp_path / "own.yaml").write_text("prompt: Write 2 to a.txt.\nreward_cmd: cat a.txt || echo 0\n")
    assert train(tmp_path / "run", roomy_model, *given) == 2
    assert "content of" in refused(capsys)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--reward-model", "/nowhere", "--algorithm", "ppo"), "--reward-model: no model '/nowhere'"),
        (("--policy", "nosuchmodel", "--warm-start", 2), "--policy: no model 'nosuchmodel'"),
        (("--algorithm", "expert_iteratoin"), "did you mean 'expert_iteration'?"),
    ],
)
def test_a_typo_is_named_and_leaves_no_folder(
    roomy_model: Path, tmp_path: Path, options: tuple, words: str, capsys: pytest.CaptureFixture[str]
):
    assert train(tmp_path / "run", roomy_model, *options) == 2
    assert words in refused(capsys)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- the page


def test_small_rates_are_seen_in_the_heat_map():
    heat = _MatrixSection.heat
    assert heat(0) == 0 < heat(0.001) < heat(0.01) < heat(1) == 100


def test_what_a_summary_says_is_escaped(trained: Path):
    told = summary(trained)
    told["policy"] = "<script>alert(1)</script>"
    told["options"]["scratchpad_prefix"] = "<b>x</b>"
    page = _training_report(told, None).html()
    assert "<script>" not in page
    assert "<b>x</b>" not in page
