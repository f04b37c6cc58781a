"""Critics side by side in a report; subtlety; scaling. On a tiny model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from serving import serving
from test_critic_tune import examples

from custodes.cli import main
from custodes.critic.examples import write_json_lines
from custodes.critic.jobs.scaling import _fitted, _power_law
from custodes.critic.rating import NITPICKS
from custodes.ledger import Ledger
from custodes.lm.engine import TorchEngine


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "bugs.jsonl"
    write_json_lines(file, [*examples(60, "train", 0), *examples(16, "held-out packages", 1)])
    natural = [
        {"id": "n1", "code": "def f(x):\n    return x - 1", "bug_lines": [2], "description": "One too few.", "question": "Adds one.", "split": "natural"},
        {"id": "n2", "code": "def g(x):\n    return x + 1", "bug_lines": [], "split": "natural"},
    ]  # fmt: skip
    with file.open("a") as more:
        more.writelines(json.dumps(row) + "\n" for row in natural)
    return file


@pytest.fixture(scope="module")
def tuned(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What critic tune leaves, never trained."""
    from custodes.lm.adapter import Adapter, AdapterConfig
    from custodes.lm.loading import load
    from custodes.reward import RewardModel, save_reward
    from custodes.reward.model import new_heads

    folder, lm = tmp_path_factory.mktemp("tuned"), load(tiny_model, dtype="float32")
    for name in ("warm-start", "rl"):
        Adapter(lm.decoder, AdapterConfig(rank=2)).save(folder / name, lm.name)
    save_reward(RewardModel(lm, new_heads([0], lm.decoder.spec.hidden, lm.decoder.device)), folder / "reward")
    return folder


def test_everybody_is_measured_on_the_same_functions(
    data: Path,
    tuned: Path,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["critic", "evaluate", "--data", str(data), "--model", str(tiny_model), "--writer", str(tuned)]
    shorter = ["--questions", "4", "--max-tokens", "16", "--split", "held-out packages", "--modifiers", "-2,0.5"]
    options = [*command, "--out", str(tmp_path), *shorter, "--json"]
    assert main(options) == 0
    told = json.loads(capsys.readouterr().out)
    found = told["splits"]["held-out packages"]["policies"]
    assert found["n"] == 4

    def of_search(name: str) -> list[str]:
        percentiles = [
            p for p in found["policies"] if re.fullmatch(rf"{re.escape(name)}, (\d+th(, )?)+ percentile .*", p)
        ]
        assert re.findall(r"\d+(?=th)", " ".join(percentiles)) == ["10", "25", "50", "75"]
        return [name, *percentiles, f"{name}, modifier -2", f"{name}, modifier +0.5"]

    assert list(found["policies"]) == [
        "base",
        "warm start",
        "RL",
        *of_search("RL + search"),
        *of_search("RL + search, quotes proposed"),
        *of_search("RL + search, only quotes proposed"),
        *of_search("RL + best of 28"),
        "scorer of lines, strictness -1",
        "scorer of lines",
        "scorer of lines, strictness +1",
        "person (simulated)",
        "person (simulated) with RL",
    ]
    assert {point["policy"] for point in found["frontier"]} == set(found["policies"])
    assert "RL + best of 28 - RL + search" in found["paired"]
    assert any("best of as many plain samples" in one["finding"] for one in found["paper"])
    drawn = {name: of["tokens"]["estimate"] for name, of in found["policies"].items() if "tokens" in of}
    assert set(drawn) == {name for name in found["policies"] if "scorer" not in name and "person" not in name}
    assert drawn["RL"] <= 16
    assert 28 * 8 - 16 <= drawn["RL + best of 28"] <= 28 * 8  # as many as a search may draw
    assert drawn["RL + best of 28"] == pytest.approx(drawn["RL + search"], rel=0.1)
    assert drawn["RL + best of 28, modifier -2"] == drawn["RL + best of 28"]
    proposed = found["policies"]["RL + search, quotes proposed"]
    assert proposed["findings"]["estimate"] >= 1  # what is proposed stands in the code
    assert set(told["splits"]["held-out packages"]["operators"]) == {"sign"}
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 1 + 2
    assert "Nitpicks by category" in page
    assert "A model as judge" not in page
    assert all(set(of["nitpick_categories"]) == set(NITPICKS) for of in found["policies"].values())
    assert "http" not in page.replace("http://www.w3.org", "")
    assert json.loads((tmp_path / "report.json").read_text()) == {k: v for k, v in told.items() if k != "notes"}

    with Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        searches = list(ledger.evaluations(run.id, "searched"))
        assert len(searches) == 4 * 4
        tried = [len(s.metrics["score"]) for s in searches]  # another modifier needs no new search
        assert tried[:8] == [28] * 8
        assert all(n in (4, 12, 20, 28) for n in tried[8:12])  # as many rounds as quotes are proposed
        assert all(14 <= n <= 28 for n in tried[12:])  # whole critiques may be twice as long as a continuation
    # again, as after an interruption: nothing is drawn or searched a second time, and the report is the same
    monkeypatch.setattr("custodes.critic.jobs.evaluate.force_sampling_beam_search", None)
    monkeypatch.setattr("custodes.critic.jobs.evaluate.best_of", None)
    monkeypatch.setattr(TorchEngine, "generate", None)
    (tmp_path / "report.json").unlink()
    assert main(options[:-1]) == 0  # however it is printed
    assert json.loads((tmp_path / "report.json").read_text()) == {k: v for k, v in told.items() if k != "notes"}


def test_one_round_with_proposed_quotes_alone_gives_single_findings(
    data: Path, tuned: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["critic", "evaluate", "--data", str(data), "--model", str(tiny_model), "--writer", str(tuned), "--json"]
    shorter = ["--questions", "3", "--max-tokens", "16", "--split", "held-out packages", "--out", str(tmp_path)]
    assert main([*command, *shorter, "--searches", "only-proposed", "--quotes", "1"]) == 0
    found = json.loads(capsys.readouterr().out)["splits"]["held-out packages"]["policies"]
    searched = {name: of["findings"] for name, of in found["policies"].items() if "search" in name}
    assert len(searched) == 2  # the search, and all four percentiles in one
    assert {one["estimate"] for one in searched.values()} == {1.0}


def test_a_report_of_a_scorer_alone_has_every_split_beside_the_others_but_training(
    data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["critic", "evaluate", "--data", str(data), "--model", str(tiny_model), "--out", str(tmp_path)]
    assert main([*command, "--questions", "4"]) == 0
    said = capsys.readouterr().out
    assert "natural: likeliest line is the bug's" in said
    assert "train:" not in said
    told = json.loads((tmp_path / "report.json").read_text())
    assert list(told["splits"]) == ["held-out packages", "natural"]
    assert told["splits"]["natural"]["lines"]["at_1"]["n"] == 1
    assert "person (simulated) with scorer of lines" in said


def test_what_cannot_be_reported_is_one_sentence(
    data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["critic", "evaluate", "--data", str(data), "--model", str(tiny_model)]
    assert main([*command, "--writer", str(tmp_path)]) == 2
    assert "name its folder with --out" in capsys.readouterr().err
    assert main([*command, "--writer", str(tmp_path), "--out", str(tmp_path / "r")]) == 2
    assert "holds no critic that writes" in capsys.readouterr().err
    assert main([*command, "--searches", "free,deep"]) == 2
    assert "no search 'deep'; write free, proposed, only-proposed, best-of" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--out", str(tmp_path / "r"), "--judge", "smollm2-135m"]) == 2
    assert "name their folder with --writer" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--modifiers", "-1,much"]) == 2
    assert "write numbers with commas between" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--split", "none", "--out", str(tmp_path / "r")]) == 2
    assert "no row of split 'none'" in capsys.readouterr().err


# ---------------------------------------------------------------- a model as judge


class Judge(BaseHTTPRequestHandler):
    """Answers yes, no and neither in turn, until it has answered ``most`` questions."""

    answered: list[str] = []  # noqa: RUF012
    most = 1000

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "m", "owned_by": "somebody"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if len(self.answered) >= self.most:
            self._send(400, {"error": "no more"})
            return
        self.answered.append(body["messages"][0]["content"])
        said = ("Yes.", "no", "Well, it depends.")[len(self.answered) % 3]
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        self._send(200, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    def _send(self, status: int, answer: object) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def judge() -> Iterator[tuple[str, type[Judge]]]:
    kind = type("Own", (Judge,), {"answered": []})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), kind)) as made:
        yield f"endpoint:http://127.0.0.1:{made.server_address[1]}/v1#m", kind


def test_a_judge_is_set_beside_the_rules_and_what_it_said_is_not_asked_again(
    data: Path,
    tuned: Path,
    tiny_model: Path,
    tmp_path: Path,
    judge: tuple[str, type[Judge]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("custodes.critic.judge.CHUNK_TASKS", 3)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    spec, server = judge
    options = ["--questions", "12", "--max-tokens", "16", "--split", "held-out packages", "--searches", "only-proposed"]
    command = ["critic", "evaluate", "--data", str(data), "--model", str(tiny_model), "--writer", str(tuned)]
    command = [*command, *options, "--modifiers", "-30,30", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "judge " not in capsys.readouterr().out
    without = json.loads((tmp_path / "report.json").read_text())
    monkeypatch.setattr("custodes.critic.jobs.evaluate.force_sampling_beam_search", None)
    monkeypatch.setattr(TorchEngine, "generate", None)

    # a judge that dies on the way: what it said stays
    server.most = 3
    assert main([*command, "--judge", spec]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the judge does not answer: every request to http://127.0.0.1" in said
    assert f"What is done stays in {tmp_path}" in said
    assert json.loads((tmp_path / "report.json").read_text()) == without

    server.most = 1000
    assert main([*command, "--judge", spec]) == 0
    assert len(server.answered) == len(set(server.answered))  # nothing twice
    said = capsys.readouterr().out
    assert f"judge {spec} agrees with the rules" in said
    assert "Cohen's kappa" in said
    told = json.loads((tmp_path / "report.json").read_text())
    found = told["splits"]["held-out packages"]["policies"].pop("judge")
    assert told == without  # the rules count as before
    assert found["comments"] + found["unread"] >= len(server.answered) > 4
    assert 0 < found["unread"] <= 1 + found["comments"] / 2
    assert 0 < found["share"]["estimate"] < 1  # of comments of which the rules find none a description
    everybody = told["splits"]["held-out packages"]["policies"]["policies"]
    assert list(found["cbi"]) == [name for name in everybody if "scorer" not in name and "person" not in name]
    assert max(by["estimate"] for by in found["cbi"].values()) > 0
    page = (tmp_path / "report.html").read_text()
    assert "A model as judge of descriptions" in page
    assert "could not be read" in page
    with Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        (run,) = ledger.runs()
        (row,) = ledger.evaluations(run.id, "judge")
        assert row.metrics["unread"] == found["unread"]
        answers = [e for e in ledger.episodes(run.id) if e.task.environment == "critic-judge"]
        assert len(answers) == len(server.answered)

    server.most = 0  # dead, and not needed: it has said everything
    assert main([*command, "--judge", spec]) == 0
    again = json.loads((tmp_path / "report.json").read_text())
    assert again["splits"]["held-out packages"]["policies"]["judge"] == found


def test_a_judge_that_is_nowhere_is_said_before_anything_is_written(
    data: Path,
    tuned: Path,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def at_once(seconds: float) -> None:
        pass

    monkeypatch.setattr("custodes.lm.endpoint.asyncio.sleep", at_once)
    monkeypatch.setattr(TorchEngine, "generate", None)
    command = ["critic", "evaluate", "--data", str(data), "--model", str(tiny_model), "--writer", str(tuned)]
    command = [*command, "--split", "held-out packages", "--out", str(tmp_path / "r"), "--judge"]
    assert main([*command, "endpoint:http://127.0.0.1:9/v1#m"]) == 2
    assert "the judge does not answer: nothing answers at http://127.0.0.1:9/v1" in " ".join(
        capsys.readouterr().err.split()
    )
    assert main([*command, "endpoint:http://127.0.0.1:9/v1"]) == 2
    assert "write endpoint:URL#MODEL" in " ".join(capsys.readouterr().err.split())


def test_a_local_model_is_a_judge_too(
    data: Path, tuned: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--questions", "3", "--max-tokens", "8", "--split", "held-out packages", "--searches", "only-proposed"]
    command = ["critic", "evaluate", "--data", str(data), "--model", str(tiny_model), "--writer", str(tuned), *options]
    assert main([*command, "--out", str(tmp_path), "--judge", str(tiny_model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["splits"]["held-out packages"]["policies"]["judge"]
    assert found["judge"] == str(tiny_model)
    assert found["comments"] + found["unread"] > 0


def test_subtlety_by_operator_and_against_another_file(
    data: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.jsonl"
    write_json_lines(other, examples(16, "train", 7))
    command = ["critic", "subtlety", "--data", str(data), "--model", str(tiny_model), "--split", "train"]
    assert main([*command, "--against", str(other), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["operators"]["sign"]["discrimination"]["n"] == 45
    assert told["against"] == "other.jsonl"
    difference = told["difference"]["at_1"]
    assert difference["low"] <= difference["estimate"] <= difference["high"]
    assert difference["estimate"] == pytest.approx(told["all"]["at_1"]["estimate"] - told["other"]["at_1"]["estimate"])
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("all ")
    clean = tmp_path / "clean.jsonl"
    clean.write_text('{"code": "a = 1", "bug_lines": []}\n')
    assert main(["critic", "subtlety", "--data", str(clean), "--model", str(tiny_model)]) == 2
    assert "needs both clean functions" in capsys.readouterr().err


# ---------------------------------------------------------------- scaling


def test_a_power_law_is_recovered() -> None:
    sizes = [100, 200, 400, 800]
    a, b = _power_law(sizes, np.stack([1 - 2.0 * np.array(sizes, float) ** -p for p in (0.3, 0.1)], 1))
    assert a == pytest.approx([2, 2])
    assert b == pytest.approx([0.3, 0.1])


def test_the_exponents_interval_is_above_zero_where_more_is_better_and_holds_zero_where_it_is_not() -> None:
    better = [[k % 10 < right for k in range(400)] for right in (2, 4, 6, 8)]
    same = [[(k * 7 + j) % 10 < 5 for k in range(400)] for j in range(4)]
    assert _fitted([1, 2, 4, 8], better, "x")["exponent"]["low"] > 0
    flat = _fitted([1, 2, 4, 8], same, "x")["exponent"]
    assert flat["low"] < 0 < flat["high"]


def test_four_sizes_are_trained_measured_fitted_and_not_trained_again(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "rows.jsonl", tmp_path / "s"
    write_json_lines(data, [*examples(48, "train", 0), *examples(16, "held-out packages", 1)])
    small = [
        "--batch",
        "8",
        "--width",
        "64",
        "--reader-layers",
        "1",
        "--passes",
        "1",
        "--calibrate-on",
        "0.2",
        "--dtype",
        "float32",
        "--largest",
        "16",
    ]
    command = ["critic", "scaling", "--data", str(data), "--out", str(out), "--model", str(tiny_model), *small]

    def trained() -> list[int]:
        return [(f / "reader.safetensors").stat().st_mtime_ns for f in sorted(out.glob("*-examples"))]

    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sizes"] == [2, 4, 8, 16]
    of = told["splits"]["held-out packages"]
    assert set(of) == {"localisation", "cbi"}
    assert [p["n"] for p in of["localisation"]["points"]] == [12] * 4
    for included, located in zip(of["cbi"]["points"], of["localisation"]["points"], strict=True):
        assert included["estimate"] <= located["estimate"]
    before = trained()
    assert main(command) == 0
    assert trained() == before
    assert (out / "report.html").read_text().count("<svg") == 2
    assert main([*command, "--batch", "4"]) == 2
    assert "holds a run with batch = 8, now it is 4" in capsys.readouterr().err


def test_too_few_rows_for_four_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json_lines(tmp_path / "few.jsonl", examples(4, "train", 0))
    assert main(["critic", "scaling", "--data", str(tmp_path / "few.jsonl"), "--out", str(tmp_path / "s")]) == 2
    assert "4 sizes need at least 8" in capsys.readouterr().err


def test_running_is_a_critic_on_the_same_rows(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its findings are rated by running, stand in every table, and are not looked for again."""
    text = 'def twice(x: int) -> int:\n    """Two times x.\n\n    >>> twice(3)\n    6\n    """\n    return '
    rows = [
        {"id": "a", "code": f"{text}x + 2", "bug_lines": [7], "description": "Adds.", "fixed": f"{text}x * 2"},
        {"id": "b", "code": f"{text}x * 2", "bug_lines": []},
        {"id": "c", "code": f"{text}x + 3", "bug_lines": [7], "description": "Hidden by the example.", "fixed": f"{text}x * 2"},
    ]  # fmt: skip
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["critic", "evaluate", "--data", str(data), "--model", str(tiny_model), "--evidence"]
    assert main(command) == 2
    assert "--evidence is a row of the report: name its folder with --out." in capsys.readouterr().err
    assert main([*command[:-1], "--out", str(tmp_path / "out"), "--proposer", "smollm2-135m"]) == 2
    assert "add --evidence" in capsys.readouterr().err
    for _ in range(2):
        assert main([*command, "--inputs", "5", "--out", str(tmp_path / "out"), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["splits"]["train"]["policies"]
        assert told["policies"]["running"]["cbi"]["estimate"] == 0.5
        assert told["policies"]["running"]["hallucinations"]["estimate"] == 0
        assert told["policies"]["person (simulated) with running"]["cbi"]["estimate"] >= 0.5
        assert told["runs"] == "3 of 3 functions were run"
        assert told["elo"]["cbi"]["running"]["estimate"] > 0
    assert "3 of 3 functions were run" in (tmp_path / "out" / "report.html").read_text()
