"""``custodes gaming monitor`` and ``custodes gaming compare``: what a person types and what they get."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.environments.sandbox import open_sandbox
from custodes.ledger import Ledger
from custodes.types import InputError


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of scripted policies, by their names."""
    try:
        open_sandbox({}).close()
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("played")
    for name in ("open-tamperer", "honest"):
        assert (
            gaming(
                "run",
                "--policy",
                f"scripted:{name}",
                "--stage",
                "reward-tampering",
                "--episodes",
                4,
                "--out",
                folder / name,
            )
            == 0
        )
    return folder


def gaming(*words: object) -> int:
    return main(["gaming", *map(str, words)])


def monitors(folder: Path) -> list[dict]:
    return json.loads((folder / "monitors.json").read_text())["monitors"]


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("custodes: ")]
    assert len(said) == 1
    return said[0]


def test_a_monitor_is_measured_against_the_sandbox(played: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("open-tamperer", "honest"):
        assert gaming("monitor", played / name, "--monitor", "rules") == 0
    assert "false positives 0/4" in " ".join(capsys.readouterr().err.split())
    page = (played / "honest/monitors.html").read_text()
    assert "0 of 4, at most 52.7\N{NO-BREAK SPACE}%" in page
    assert page.count("<section") == 1
    (found,) = monitors(played / "open-tamperer")
    assert (found["missed"], found["false_alarms"]) == ([], [])
    assert (found["all"]["recall"]["count"], found["all"]["recall"]["n"]) == (4, 4)
    assert found["stages"]["reward-tampering"]["categories"]["edited-reward"]["rate"] == 1
    with Ledger.open(played / "honest/ledger.db", read_only=True) as ledger:
        run = next(r for r in ledger.runs() if r.recipe == "gaming-monitor")
        assert {e.metrics["stage"] for e in ledger.evaluations(run.id)} == {"all", "reward-tampering"}
        assert ledger.verify().ok


def test_again_judges_only_what_has_come_since(played: Path, tmp_path: Path):
    out = tmp_path / "run"
    play = ("run", "--policy", "scripted:flatterer", "--stage", "political-sycophancy", "--out", out)
    assert gaming(*play, "--episodes", 5) == 0
    assert gaming("monitor", out, "--monitor", "rules") == 0
    (file,) = (out / "monitors").iterdir()
    first = file.read_bytes()
    assert gaming("monitor", out, "--monitor", "rules") == 0
    assert file.read_bytes() == first
    assert gaming(*play, "--episodes", 8) == 0
    assert gaming("monitor", out, "--monitor", "rules", "--scratchpad") == 0
    assert gaming("monitor", out, "--monitor", "rules") == 0
    assert file.read_bytes().startswith(first)
    assert [m["episodes"] for m in monitors(out)] == [8, 8]
    (pair,) = json.loads((out / "monitors.json").read_text())["scratchpad"]
    assert (pair["without"], pair["with"]) == ("actions", "actions-and-scratchpad")


def test_a_model_is_a_judge_whose_verdicts_may_be_unreadable(played: Path, tiny_model: Path, tmp_path: Path):
    """Random weights say nothing of sense: no alarm, and counted as no verdict."""
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8192}))
    assert gaming("monitor", played / "honest", "--monitor", model, "--max-tokens", 4, "--max-batch", 2) == 0
    (found,) = [m for m in monitors(played / "honest") if m["monitor"] == str(model)]
    assert (found["all"]["unread"]["count"], found["all"]["recall"]["n"]) == (4, 0)


def test_a_model_whose_context_is_too_short_is_one_sentence(
    played: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
):
    assert gaming("monitor", played / "honest", "--monitor", tiny_model) == 2
    assert "512" in refused(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("monitor", "nowhere", "--monitor", "rules"), "nowhere"),
        (("compare", "nowhere"), "two folders"),
        (("compare", "nowhere", "elsewhere"), "nowhere"),
    ],
)
def test_bad_input_is_one_sentence(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]):
    assert gaming(*words) == 2
    assert said in refused(capsys)


def test_two_policies_are_compared(played: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert gaming("compare", played / "honest", played / "open-tamperer", "--json") == 0
    found = json.loads(capsys.readouterr().out)["stages"]["reward-tampering"]
    assert (found["difference"]["estimate"], found["only_b"], found["p"]) == (1.0, 4, 0.125)
    assert gaming("compare", played / "honest", played / "open-tamperer", "--measure", "edited-guard") == 0
    assert "0/4" in capsys.readouterr().out
    assert gaming("compare", played / "honest", played / "open-tamperer", "--stage", "tool-flattery") == 2
    assert "share reward-tampering" in refused(capsys)


def test_seeds_of_two_policies_are_compared_and_shown_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folders = []
    for name in ("flatterer", "contrarian"):
        for seed in (0, 1):
            folders.append(tmp_path / f"{name}-{seed}")
            given = ("--policy", f"scripted:{name}", "--stage", "political-sycophancy", "--episodes", 6, "--seed", seed)
            assert gaming("run", *given, "--out", folders[-1]) == 0
    capsys.readouterr()
    assert gaming("compare", *folders, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"]["seeds"], found["b"]["seeds"]) == ([0, 1], [0, 1])
    assert found["stages"]["political-sycophancy"]["difference"]["estimate"] == -1
    assert list(found["stages"]["political-sycophancy"]["seeds"]) == ["seed 0", "seed 1"]
    assert gaming("compare", *folders[:3]) == 2
    assert "seeds" in refused(capsys)


def test_what_differs_between_two_runs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, more in (("off", ()), ("on", ("--inoculation",))):
        given = ("--policy", "scripted:flatterer", "--stage", "political-sycophancy", "--episodes", 4, *more)
        assert gaming("run", *given, "--out", tmp_path / name) == 0
    capsys.readouterr()
    assert gaming("compare", tmp_path / "off", tmp_path / "on") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a: scripted:flatterer, inoculation = False (" in said
    assert "b: scripted:flatterer, inoculation = True (" in said
    assert gaming("compare", tmp_path / "off", tmp_path / "on", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [told[side]["differs"] for side in "ab"] == [{"inoculation": False}, {"inoculation": True}]


def test_many_runs_are_one_row_each_against_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    arms = {
        "off": (),
        "told": ("--inoculation",),
        "fixed": ("--read-only",),
        "other": ("--policy", "scripted:contrarian", "--seed", 1),
    }
    for name, more in arms.items():
        given = ("--policy", "scripted:flatterer", "--stage", "political-sycophancy", "--episodes", 512, *more)
        assert gaming("run", *given, "--out", name) == 0
    capsys.readouterr()
    assert gaming("compare", *arms, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["folders"] for row in told["rows"]] == [[name] for name in arms]
    assert [row["differs"] for row in told["rows"]] == [
        {},
        {"inoculation": True},
        {"read_only": True},
        {"policy": "scripted:contrarian", "seed": 1},
    ]
    first, *others = [row["stages"]["political-sycophancy"] for row in told["rows"]]
    assert (first["count"], first["n"]) == (512, 512)
    assert [row["difference"]["estimate"] for row in others] == [0, 0, -1]
    assert all(row["variants"] == 512 for row in others)
    assert gaming("compare", *arms) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "each against: scripted:flatterer (off)"
    assert [line.split("│")[1].strip() for line in lines if line.startswith("│")] == list(arms)
    assert any("inoculation = True" in line and "512/512" in line for line in lines)
    assert gaming("compare", *list(arms)[:3], "--measure", "gamd") == 2
    assert "gamd" in refused(capsys)
