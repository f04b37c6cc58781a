"""Who judges pairs of a policy's replies between rounds: simulated people, a model with a rubric, people on the server.

All are asked in the same way and may be asked again: what was answered is not answered anew. People take their time, so
an answer may be that it is not there yet.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from custodes import registry
from custodes.audit.rows import PolicyHeldout
from custodes.audit.sections.rounds import RoundAsked
from custodes.feedback.ai import judge_with_ai
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.rubric import Rubric, load_rubric
from custodes.feedback.simulated import SimulatedAnnotator, simulated_annotators
from custodes.job.parts import Parts
from custodes.job.workspace import Workspace
from custodes.lm.address import ENDPOINT, open_engine
from custodes.loop.round_options import RoundOptions
from custodes.loop.round_pairs import Pair
from custodes.types import Annotator, Engine, Episode, InputError, Reward

Truth = Callable[[Sequence[Episode]], Sequence[float]]
"""What simulated people see of replies: their gold, in units of which 0.25 is a typical difference."""

CROWD = {"expert": 4, "hasty": 2}
"""Natures of the simulated people where a command brings none of its own."""
POLL = 20.0
"""Seconds between two looks whether people have answered."""


@dataclass(frozen=True)
class PairAnswers:
    """What was said of the pairs, and by whom. A pair may have several judgments, or none that decides."""

    judgments: list[Comparison]
    annotators: list[Annotator]

    @property
    def seconds(self) -> float:
        """Of the annotators' time."""
        return float(sum(judgment.seconds or 0.0 for judgment in self.judgments))


@dataclass(frozen=True)
class Waiting:
    """Not everything is answered yet."""

    who: str
    answered: int
    wanted: int


class PairJudge(Protocol):
    """Judges pairs of replies."""

    name: str

    def ask(self, purpose: str, pairs: Sequence[Pair]) -> PairAnswers | Waiting:
        """What is said of ``pairs``; asked again with the same, nobody judges anything twice. Raises InputError."""
        ...


def open_judge(options: RoundOptions, rubric: Path | None, folder: Path, truth: Truth | None, seed: int) -> PairJudge:
    """The judge that ``options`` name. ``folder`` keeps a model's answers; ``rubric`` is for a judge behind an endpoint.

    Raises InputError for one that cannot be opened.
    """
    name = options.judge
    if name == "simulated":
        if truth is None:
            raise InputError("--judge simulated judges by gold; name a reward that is gold with --gold.")
        return SimulatedJudge(simulated_annotators(CROWD, seed=seed), truth, seed=seed)
    if name.startswith(ENDPOINT) or options.rubric_file:
        file, model = options.rubric_file or rubric, name if name.startswith(ENDPOINT) else options.judge_model
        if file is None:
            raise InputError(f"--judge {name} needs the principles that it judges by; give --rubric FILE.yaml.")
        return _RubricJudge(open_engine("torch", model, "--judge"), model, load_rubric(file), folder)
    kind, _, which = ("", "", "") if ".py" in name else name.partition(":")
    made = registry.judge.find(kind or name)
    if ".py" in name:
        return _OwnJudge(name, made)
    opened: PairJudge = made(which, options.db) if kind else made()
    return opened


class _OwnJudge:
    """A judge of one's own: where it fails is told with its line."""

    def __init__(self, spec: str, make: Callable[[], PairJudge]) -> None:
        self.spec = spec
        with registry.own_code(f"--judge {spec}"):
            self.judge = make()
        self.name = str(getattr(self.judge, "name", spec))

    def ask(self, purpose: str, pairs: Sequence[Pair]) -> PairAnswers | Waiting:
        with registry.own_code(f"--judge {self.spec}"):
            told = self.judge.ask(purpose, pairs)
        if not isinstance(told, PairAnswers | Waiting):
            raise InputError(f"--judge {self.spec} answered {type(told).__name__}; it must answer PairAnswers.")
        return told


@dataclass
class SimulatedJudge:
    """Simulated annotators, ``overlap`` of them for each pair, drawn by the pair: the order of asking changes nothing."""

    annotators: Sequence[SimulatedAnnotator]
    truth: Truth
    overlap: int = 1
    seed: int = 0
    name: str = "simulated"

    def ask(self, purpose: str, pairs: Sequence[Pair]) -> PairAnswers | Waiting:
        episodes = {episode.id: episode for pair in pairs for episode in pair}
        gold = dict(zip(episodes, self.truth(list(episodes.values())), strict=True))
        judgments = []
        for first, second in pairs:
            key = "\0".join((str(self.seed), *sorted((first.id, second.id))))
            rng = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))
            for k in rng.choice(len(self.annotators), min(self.overlap, len(self.annotators)), replace=False):
                told = gold[first.id], gold[second.id]
                judgments.append(self.annotators[int(k)].compare(first.task, first, second, told))
        return PairAnswers(judgments, [one.annotator for one in self.annotators])


@dataclass
class _RubricJudge:
    """A language model that compares by a rubric, in both orders; its replies are kept as they come."""

    engine: Engine
    model: str
    rubric: Rubric
    folder: Path
    name: str = "ai"

    def ask(self, purpose: str, pairs: Sequence[Pair]) -> PairAnswers | Waiting:
        decides = {"model": self.model, "rubric": self.rubric.model_dump(mode="json"), "purpose": purpose}
        self.folder.mkdir(parents=True, exist_ok=True)
        with Parts.open(self.folder / "judge", decides) as parts:
            said = judge_with_ai(self.engine, pairs, self.rubric, self.name, parts=parts)
        overall = [judgment for judgment in said.judgments if judgment.axis == "overall"]
        return PairAnswers(overall, [said.annotator])


def answers(
    work: Workspace, judge: PairJudge, purpose: str, pairs: Sequence[Pair], axis: str, hours: float
) -> PairAnswers:
    """What the judge says of the pairs on ``axis``, once it is all there; recorded. People are waited for.

    Raises InputError, which says since when, where ``hours`` pass without all answers.
    """
    began, said = time.monotonic(), -1
    while isinstance(found := judge.ask(purpose, pairs), Waiting):
        since = _asked_since(work, purpose, len(pairs))
        told = (
            f"{found.who}: {found.answered:,} of {found.wanted:,} judgments of {purpose} are there; waiting since "
            f"{since:%Y-%m-%d %H:%M} UTC ({_age(since)})"
        )
        if time.monotonic() - began >= hours * 3600:
            raise InputError(f"{told}. The same command goes on waiting.")
        if found.answered != said:
            said = found.answered
            work.console.print(f"{told}. Ctrl-C leaves; the same command goes on.", soft_wrap=True, highlight=False)
        time.sleep(POLL)
    done = replace(found, judgments=[replace(judgment, axis=axis) for judgment in found.judgments])
    work.write([*done.annotators, *done.judgments])
    return done


def gold_as_seen(work: Workspace, gold: Reward) -> Truth:
    """Gold as simulated people see it: the base policy's held-out replies have mean 0.5 and standard deviation 0.25.

    These replies must be recorded before anybody is asked.
    """

    def truth(episodes: Sequence[Episode]) -> list[float]:
        rows = [row.metrics for row in work.ledger.evaluations(work.run, PolicyHeldout.NAME)]
        base = np.array(next(row for row in rows if row["step"] == 0)["gold"], float)
        seen = 0.5 + 0.25 * (gold.score(episodes).value - base.mean()) / (base.std() or 1.0)
        if not np.isfinite(seen).all():
            raise InputError(
                "--gold has no opinion of some replies, so nobody simulated can judge them; give one that has."
            )
        return [float(value) for value in seen]

    return truth


def preference(judgments: Sequence[Comparison], pair: Pair) -> int:
    """1 where the judgments of the pair favour its first reply, -1 its second, 0 where they leave it open."""
    first, second = pair[0].id, pair[1].id
    signs = [np.sign(j.strength) for j in judgments if j.episodes == (first, second)]
    signs += [-np.sign(j.strength) for j in judgments if j.episodes == (second, first)]
    return int(np.sign(sum(signs)))


def _now() -> datetime:
    """The time of day, UTC."""
    return datetime.now(UTC)


def _asked_since(work: Workspace, purpose: str, pairs: int) -> datetime:
    """When the pairs were first waited for."""
    id = f"asked-{purpose}"
    if not work.has(id):
        work.record(id, RoundAsked(since=_now().isoformat(), pairs=pairs), purpose)
    (asked,) = [e for e in work.ledger.evaluations(work.run, RoundAsked.NAME) if e.id == id]
    return datetime.fromisoformat(str(asked.metrics["since"]))


def _age(since: datetime) -> str:
    hours = (_now() - since).total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 24 else f"{hours:.1f} hours"
