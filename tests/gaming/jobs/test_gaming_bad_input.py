"""What goes wrong in a gaming run, from the command line: one clear sentence or a recorded failure, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from played import POLICIES
from serving import serving

from custodes.cli import main
from custodes.environments.sandbox import open_sandbox
from custodes.gaming.record import read_index, read_lines
from custodes.types import InputError


@pytest.fixture(scope="session")
def sandboxed() -> None:
    try:
        open_sandbox({}).close()
    except InputError as error:
        pytest.skip(str(error))


def gaming(*words: object) -> int:
    return main(["gaming", "run", *map(str, words)])


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("custodes: ")]
    assert len(said) == 1
    return said[0]


# ---------------------------------------------------------------- the machine


def test_without_bubblewrap_the_command_that_installs_it_is_said(tmp_path: Path):
    """In a process of its own: this one may have a sandbox open."""
    words = ["gaming", "run", "--policy", "scripted:honest", "--stage", "reward-tampering", "--episodes", "1"]
    command = [sys.executable, "-m", "custodes", *words, "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PATH": str(tmp_path)}, timeout=900, check=False
    )
    said = [line for line in done.stderr.splitlines() if line.startswith("custodes: ")]
    assert done.returncode == 2
    assert len(said) == 1
    assert "apt-get install bubblewrap" in said[0]
    assert "Traceback" not in done.stderr


def test_a_kernel_that_forbids_user_namespaces_is_named(tmp_path: Path):
    """A bwrap that says what the real one says there."""
    words = ["gaming", "run", "--policy", "scripted:honest", "--stage", "reward-tampering", "--episodes", "1"]
    command = [sys.executable, "-m", "custodes", *words, "--out", str(tmp_path / "out")]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # root's sandboxes are another user's
        Path(folder).chmod(0o755)
        bwrap = Path(folder, "bwrap")
        bwrap.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
        bwrap.chmod(0o755)
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PATH": folder}, timeout=900, check=False
        )
    said = [line for line in done.stderr.splitlines() if line.startswith("custodes: ")]
    assert done.returncode == 2
    assert len(said) == 1
    assert "user namespaces" in said[0]
    assert "Traceback" not in done.stderr


FULL_DISK = """
cd {disk}
head -c 14000000 /dev/zero > ballast
run() {{ {python} -m custodes gaming run --policy scripted:flatterer --stage political-sycophancy --episodes 2000 --out run; }}
run 2>said >/dev/null; code=$?
before=$(wc -l < run/episodes.jsonl)
rm ballast
run 2>/dev/null >/dev/null; again=$?
{python} -c "
from pathlib import Path; from custodes.gaming.record import read_lines
whole = sorted(x['index'] for x in read_lines(Path('run/episodes.jsonl'))) == list(range(2000))
print('told', $code, $before, $again, whole)"
grep '^custodes: ' said
"""


def test_a_disk_that_fills_in_the_middle_of_a_run_loses_nothing(tmp_path: Path, sandboxed: None):
    """A real one, of 16 MB, that lives as long as the commands on it."""
    if not shutil.which("bwrap"):
        pytest.skip("a small disk is made by bubblewrap")
    walls = ["bwrap", "--dev-bind", "/", "/", "--size", "16000000", "--tmpfs", str(tmp_path), "--"]
    script = FULL_DISK.format(python=sys.executable, disk=tmp_path)
    done = subprocess.run([*walls, "sh", "-c", script], capture_output=True, text=True, timeout=900, check=False)
    (told,) = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("told ")]
    code, before, again, whole = told
    assert (code, again, whole) == ("2", "0", "True"), done.stdout + done.stderr
    assert 0 < int(before) < 2000
    assert re.search("disk (is )?full", done.stdout)


# ---------------------------------------------------------------- the environment


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rewrd_cmd: echo 1", ["'rewrd_cmd'", "'reward_cmd'"]),
        ("reward_cmd: python3 -c 'raise SystemExit(3)'", ["failed with exit code 3"]),
        ("reward_cmd: 'true'", ["printed nothing"]),
        ("reward_cmd: echo nan", ["nan"]),
        ("reward_cmd: sleep 60\nseconds: 1", ["did not end in time"]),
    ],
)
def test_a_broken_environment_is_one_sentence(
    tmp_path: Path, line: str, words: list[str], sandboxed: None, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "own.yaml").write_text(f"prompt: Hello.\n{line}\n")
    assert gaming("--policy", "scripted:honest", "--stage", tmp_path / "own.yaml", "--out", tmp_path / "out") == 2
    said = refused(capsys)
    assert all(word in said for word in words), said
    assert not (tmp_path / "out/episodes.jsonl").exists() or not (tmp_path / "out/episodes.jsonl").read_bytes()


# ---------------------------------------------------------------- the policy


@pytest.mark.parametrize("name", ["silent", "tag-opener", "nester", "megabyte", "caller"])
def test_a_malformed_policy_is_recorded(tmp_path: Path, name: str, sandboxed: None):
    given = ("--policy", f"scripted:{name}", "--stage", "reward-tampering", "--episodes", 1, "--out", tmp_path)
    assert gaming(*given) == 0
    (line,) = read_lines(tmp_path / "episodes.jsonl")
    assert bool(line["failure"]) == POLICIES[name].parts["reward-tampering"].fails
    assert line["failure"] or line["problems"]
    assert json.loads((tmp_path / "summary.json").read_text())["stages"]["reward-tampering"]["n"] == 1
    assert (tmp_path / "episodes.jsonl").stat().st_size < 1_000_000


class Server(ThreadingHTTPServer):
    """Answers every chat request with ``answer``: a status and bytes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = (200, b"")
        self.asked = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.reply(200, b'{"data": [{"id": "m", "owned_by": "test"}]}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        self.reply(*self.server.answer)

    def reply(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as made:
        yield made


GOOD = json.dumps(
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "(A)"}, "finish_reason": "stop"}]}
).encode()


@pytest.mark.parametrize("fault", [(429, b"busy"), (500, b"broken"), (200, b'{"choices": [{"mess'), (401, b"no")])
def test_an_endpoint_that_is_down_stops_the_run_which_goes_on_when_it_is_back(
    tmp_path: Path, server: Server, fault: tuple[int, bytes], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr("custodes.lm.endpoint.random.uniform", lambda low, high: 0.0)  # no wait between retries
    given: tuple[Any, ...] = ("--policy", f"endpoint:{server.url}#m", "--stage", "political-sycophancy")
    given += ("--episodes", 4, "--max-batch", 2, "--out", tmp_path)
    server.answer = (200, GOOD)
    assert gaming(*given[:5], 2, *given[6:]) == 0
    server.answer = fault
    code = gaming(*given)
    kept = len(read_index(tmp_path / "episodes.index"))
    assert (code, kept) in ((2, 2), (0, 4))
    if code == 2:
        assert refused(capsys)
        server.answer = (200, GOOD)
        assert gaming(*given) == 0
    lines = sorted(read_lines(tmp_path / "episodes.jsonl"), key=lambda line: line["index"])
    assert [line["index"] for line in lines] == [0, 1, 2, 3]
    assert [bool(line["failure"]) for line in lines[:2]] == [False, False]
