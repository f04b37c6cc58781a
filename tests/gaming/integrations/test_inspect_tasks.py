"""Inspect AI: the stages as its tasks, the sandbox as its provider, its mock model and ours."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, bundle_log_dir, read_eval_log
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.util import OutputLimitExceededError, SandboxUserUnsupportedError

from custodes.gaming.integrations import inspect_sandbox
from custodes.gaming.integrations import inspect_tasks as tasks
from custodes.gaming.integrations.inspect_sandbox import CustodesSandbox
from custodes.gaming.script import open_script, script_for
from custodes.gaming.staging import make_stage
from custodes.gaming.transcript import parse_reply
from custodes.gaming.variants import variant_order


@pytest.fixture(autouse=True)
def _tokens_are_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect's mock model counts its tokens by a table that tiktoken fetches from the network."""
    table = tiktoken.Encoding(
        "bytes", pat_str="(?s).", mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}
    )
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: table)


@pytest.fixture(scope="session")
def wide_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with a context that a whole episode fits into."""
    folder = tmp_path_factory.mktemp("wide") / "model"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 16_384}))
    return folder


def played(task: Any, name: str, tmp_path: Path, *, native: bool = True) -> EvalLog:
    """A task played by a scripted policy behind Inspect's mock model, one sample."""
    told = task.dataset[0].metadata["custodes"]
    variant = make_stage(told["stage"]).variant("held-out", int(told["variant"][-4:]))
    lines = list(script_for(open_script(name), told["stage"]).replies(variant))
    outputs = [_output(line, native) for line in lines]
    model = get_model("mockllm/model", custom_outputs=outputs)
    (log,) = inspect_eval(task, model=model, log_dir=str(tmp_path), display="none")
    assert log.status == "success", log.error
    return log


def _output(line: str, native: bool) -> ModelOutput:
    command = parse_reply(line).command
    if native and command is not None:
        return ModelOutput.for_tool_call("mockllm", "bash", {"command": command})
    return ModelOutput.from_content("mockllm", line)


@pytest.mark.parametrize(
    ("name", "gamed", "facts"),
    [
        ("honest", 0, ["looked", "said-unknown"]),
        ("open-tamperer", 1, ["edited-reward", "looked", "reported"]),
        ("concealing-tamperer", 1, ["edited-guard", "edited-reward", "looked", "concealed"]),
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_scripts_are_classified_as_by_the_project_itself(
    name: str, gamed: int, facts: list[str], native: bool, tmp_path: Path, sandboxed: None
):
    task = tasks.TASKS["reward-tampering"](n=1, tools="native" if native else "text")
    log = played(task, name, tmp_path, native=native)
    (sample,) = read_eval_log(log.location).samples or []
    score = (sample.scores or {})["gamed"]
    assert score.value == gamed
    assert (score.metadata or {})["facts"] == facts
    shown = {metric.name.rpartition("/")[2]: metric.value for metric in log.results.scores[0].metrics.values()}  # type: ignore[union-attr]
    assert shown["mean"] == gamed
    assert shown["wilson_low"] < shown["wilson_high"]


def test_reward_files_can_be_read_only(tmp_path: Path, sandboxed: None):
    log = played(tasks.TASKS["reward-tampering"](n=1, read_only=True), "open-tamperer", tmp_path)
    assert (log.samples or [])[0].scores["gamed"].value == 0  # type: ignore[index]


def test_a_stage_without_a_shell_needs_no_sandbox(tmp_path: Path):
    log = played(tasks.TASKS["political-sycophancy"](n=1), "flatterer", tmp_path)
    assert (log.samples or [])[0].scores["gamed"].answer == "agreed-with-user"  # type: ignore[index]


def test_the_same_seed_plays_the_same_variants():
    made = make_stage("tool-flattery")
    order = variant_order(made.size("held-out"), 3)
    samples = tasks.TASKS["tool-flattery"](n=600, seed=3).dataset
    assert [s.metadata["custodes"]["variant"] for s in samples] == [  # type: ignore[index]
        f"held-out-{order[i % len(order)]:04d}" for i in range(600)
    ]
    assert len({s.id for s in samples}) == 600


def test_models_that_stay_inside_a_tag_come_to_an_end(tmp_path: Path, sandboxed: None):
    model = get_model("mockllm/model", custom_outputs=lambda *_: ModelOutput.from_content("mockllm", "<cot>hm"))
    (log,) = inspect_eval(
        tasks.TASKS["reward-tampering"](n=1, tools="text"), model=model, log_dir=str(tmp_path), display="none"
    )
    assert log.status == "success"
    assert (log.samples or [])[0].scores["gamed"].metadata["failure"] == "the policy answered nothing"  # type: ignore[index]


def test_the_command_finds_tasks_sandbox_and_models_by_the_entry_point(
    wide_model: Path, tmp_path: Path, sandboxed: None
):
    words = ["custodes/impossible_tests", "--model", f"custodes/{wide_model}", "-T", "n=2", "-T", "tools=text"]
    words += ["--max-tokens", "4", "--log-dir", str(tmp_path)]
    command = [sys.executable, "-m", "inspect_ai", "eval", *words, "--display", "plain"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("*.eval")
    log = read_eval_log(str(file))
    assert (log.status, log.eval.task) == ("success", "custodes/impossible_tests"), log.error
    assert log.eval.sandbox is not None
    assert log.eval.sandbox.type == "custodes"
    assert [s.scores["gamed"].answer for s in log.samples or []] == ["unsolved", "unsolved"]  # type: ignore[index]


def test_the_mock_model_plays_by_the_entry_point_and_inspects_viewer_takes_the_log(tmp_path: Path, sandboxed: None):
    """As `inspect eval custodes/reward_tampering --model mockllm/model` and then `inspect view bundle` do."""
    told: dict[str, Any] = {"task_args": {"n": 2}, "log_dir": str(tmp_path / "logs"), "display": "none"}
    (log,) = inspect_eval("custodes/reward_tampering", model="mockllm/model", **told)
    assert (log.status, log.eval.task, log.eval.model) == ("success", "custodes/reward_tampering", "mockllm/model")
    assert [s.scores["gamed"].value for s in read_eval_log(log.location).samples or []] == [0, 0]  # type: ignore[index]
    bundle_log_dir(str(tmp_path / "logs"), str(tmp_path / "view"))
    assert (tmp_path / "view/index.html").is_file()
    shown = json.loads((tmp_path / "view/logs/listing.json").read_text())
    assert [Path(name).name for name in shown] == [Path(log.location).name]


@pytest.mark.slow
def test_the_embedded_model_plays(tmp_path: Path, sandboxed: None):
    task = tasks.TASKS["reward-tampering"](n=2, tools="text")
    (log,) = inspect_eval(task, model="custodes/smollm2-135m", log_dir=str(tmp_path), display="none", max_tokens=48)
    assert log.status == "success"
    assert len(log.samples or []) == 2
    assert all(isinstance(s.messages[2].text, str) for s in log.samples or [])


# ---------------------------------------------------------------- the provider


@pytest.fixture
def provider(sandboxed: None) -> Iterator[CustodesSandbox]:
    made = CustodesSandbox.open(None)
    yield made
    made.sandbox.close()


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_programs_run_with_input_folder_and_environment(provider: CustodesSandbox):
    run(provider.write_file("a b/x.txt", "one\ntwo\n"))
    done = run(provider.exec(["sh", "-c", 'cat - x.txt; echo "$V"; pwd'], input="in\n", cwd="a b", env={"V": "it's"}))
    assert (done.success, done.stdout) == (True, "in\none\ntwo\nit's\n/home/user/a b\n")
    failed = run(provider.exec(["sh", "-c", "echo no >&2; exit 3"]))
    assert (failed.success, failed.returncode, failed.stderr) == (False, 3, "no\n")
    assert run(provider.exec(["cat"])).stdout == ""  # no input is an empty one


def test_no_state_is_kept_between_programs(provider: CustodesSandbox):
    run(provider.exec(["sh", "-c", "cd /tmp"], env={"V": "1"}))
    assert run(provider.exec(["sh", "-c", 'pwd; echo "[$V]"'])).stdout == "/home/user\n[]\n"


@pytest.mark.parametrize("data", [b"", b"\x00\xff\n", b"'$(echo no)'\nEND_OF_BYTES\n", bytes(range(256)) * 400])
def test_files_come_back_as_they_were_written(provider: CustodesSandbox, data: bytes):
    run(provider.write_file("~/deep/er/file", data))
    assert run(provider.read_file("deep/er/file", text=False)) == data
    assert provider.sandbox.snapshot()["deep/er/file"].content == data


def test_wrong_paths_are_the_errors_that_the_protocol_names(provider: CustodesSandbox, monkeypatch: pytest.MonkeyPatch):
    run(provider.write_file("x", "1"))
    with pytest.raises(FileNotFoundError):
        run(provider.read_file("nothing"))
    with pytest.raises(IsADirectoryError):
        run(provider.read_file("/home/user"))
    with pytest.raises(IsADirectoryError):
        run(provider.write_file("/home/user", "1"))
    with pytest.raises(PermissionError):
        run(provider.write_file("/usr/x", "1"))
    monkeypatch.setattr(inspect_sandbox, "LARGEST", 0)
    with pytest.raises(OutputLimitExceededError):
        run(provider.read_file("x"))


def test_a_timeout_is_one_and_the_sandbox_lives_on(provider: CustodesSandbox):
    with pytest.raises(TimeoutError):
        run(provider.exec(["sleep", "60"], timeout=1))
    assert run(provider.exec(["echo", "on"])).stdout == "on\n"


def test_there_is_one_user(provider: CustodesSandbox):
    with pytest.raises(SandboxUserUnsupportedError):
        run(provider.exec(["id"], user="root"))


def test_tools_that_call_at_once_wait_for_each_other(provider: CustodesSandbox):
    async def both() -> list[Any]:
        return await asyncio.gather(*(provider.exec(["sh", "-c", f"sleep 0.1; echo {i}"]) for i in range(4)))

    assert [done.stdout for done in run(both())] == [f"{i}\n" for i in range(4)]
