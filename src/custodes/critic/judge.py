"""A model as judge of critiques, beside the rules: what ``custodes critic evaluate --judge`` asks.

The model reads each comment on the lines of a bug and says whether the comment describes that bug. The rules go on
counting what is included; how far the two agree is measured.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from custodes.critic.examples import Bug
from custodes.critic.families import clusters
from custodes.critic.policies import ReviewQuestion
from custodes.critic.rating import Rated, RatedFinding, describes
from custodes.job.workspace import CHUNK_TASKS, Workspace
from custodes.ledger import Evaluation
from custodes.lm.address import ENDPOINT, open_endpoint
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import DtypeName, load
from custodes.stats import Interval, jackknife, rate
from custodes.types import Engine, Episode, InputError, Message, Sampling, Task, hash_shown

if TYPE_CHECKING:
    from custodes.lm.endpoint import EndpointEngine

JUDGED = "judged"
"""Name of the evaluation rows that say which episodes are a judge's answers."""
QUESTION = (
    "A bug was put into some code. What it is:\n\n{bug}\n\nA reviewer, who was not told, wrote this comment on the same "
    "lines:\n\n{comment}\n\nDoes the comment describe this bug? Answer with one word, yes or no."
)
MAX_SHOWN = 2_000
"""Characters of a description or a comment that a judge is shown."""


def _description_task(comment: str, bug: Bug) -> Task:
    """What a judge is asked: whether the comment describes the bug. Its id is of these two texts."""
    shown = QUESTION.format(bug=bug.description[:MAX_SHOWN], comment=comment[:MAX_SHOWN])
    return Task(f"describes-{hash_shown(bug.description, comment)[:16]}", (Message("user", shown),), "critic-judge")


def _judge(engine: Engine, tasks: Sequence[Task]) -> list[Episode]:
    """A model's answers to :func:`_description_task`; :func:`_verdict` reads them."""
    return engine.generate(tasks, Sampling(temperature=0, max_tokens=8))


def _verdict(answer: Episode) -> bool | None:
    """What a judge answered; None where its first word is neither yes nor no."""
    words = re.findall(r"[a-z]+", answer.completion.lower()) if answer.outcome != "error" else []
    return {"yes": True, "no": False}.get(words[0]) if words else None


class _Claim(NamedTuple):
    """A comment on the lines of a bug; whoever wrote it, it is judged once."""

    question: int
    bug: int
    comment: str

    def pair(self, asked: Sequence[ReviewQuestion]) -> tuple[str, Bug]:
        """The comment, and the bug that it may describe."""
        return self.comment, asked[self.question].bugs[self.bug]


def _panel_claims(asked: Sequence[ReviewQuestion], policies: Mapping[str, Sequence[Rated]]) -> list[_Claim]:
    """Every comment that stands on the lines of a bug with a description: what a judge is asked about."""
    claims = (_claim(i, f) for rows in policies.values() for i, r in enumerate(rows) for f in r.findings)
    return list(dict.fromkeys(c for c in claims if c and c.pair(asked)[1].description))


def _judged(
    asked: Sequence[ReviewQuestion], policies: Mapping[str, Sequence[Rated]], verdicts: Mapping[_Claim, bool | None]
) -> dict[str, Any]:
    """A judge's verdicts on :func:`_panel_claims` as plain JSON.

    Beside :func:`_rating_agreement` with the rules, ``cbi`` is what share of the bugs each policy includes by the judge. A
    verdict that could not be read includes nothing.
    """
    functions = clusters([q.function for q in asked])
    pairs, whose = [c.pair(asked) for c in verdicts], [functions[c.question] for c in verdicts]
    cbi = {}
    for name, rows in policies.items():
        with_bugs = [(i, r) for i, r in enumerate(rows) if r.bugs]
        found = [{f.bug for f in r.findings if (c := _claim(i, f)) and verdicts.get(c)} for i, r in with_bugs]
        shares = [len(bugs) / r.bugs for bugs, (_, r) in zip(found, with_bugs, strict=True)]
        cbi[name] = rate(shares, [functions[i] for i, _ in with_bugs]).to_dict()
    agreed = _rating_agreement(list(verdicts.values()), pairs, whose)
    plain = {name: of.to_dict() if isinstance(of, Interval) else of for name, of in agreed.items()}
    return {**plain, "cbi": cbi}


def _claim(question: int, f: RatedFinding) -> _Claim | None:
    return None if f.bug is None else _Claim(question, f.bug, f.finding.comment)


def _rating_agreement(
    verdicts: Sequence[bool | None], pairs: Sequence[tuple[str, Bug]], functions: Sequence[Hashable]
) -> dict[str, Any]:
    """How far a judge and the rules say the same of the same (comment, bug) ``pairs``.

    ``functions[i]`` is whose bug comment i is about. Comments on one function depend on each other, so the intervals
    count functions.

    Returns:
        ``share`` that is alike and Cohen's ``kappa``, both intervals; ``comments`` with a verdict; ``unread``, those whose
        verdict is neither yes nor no. Kappa is 0 for what chance would agree and 1 for all. It has no estimate where both
        say one and the same of every comment.
    """
    if not len(verdicts) == len(pairs) == len(functions):
        given = f"{len(verdicts)} verdicts for {len(pairs)} comments on {len(functions)} bugs"
        raise InputError(f"{given}; give one for each.")
    counts: dict[Hashable, Counter[tuple[bool, bool]]] = {}
    for answer, (comment, bug), function in zip(verdicts, pairs, functions, strict=True):
        if answer is not None:
            counts.setdefault(function, Counter())[answer, describes(comment, bug)] += 1
    table = np.array([[c[True, True], c[True, False], c[False, True], c[False, False]] for c in counts.values()])
    table = table.reshape(-1, 4).astype(int)
    times, n = table.ravel(), int(table.sum())
    outcomes, whose = np.tile([1, 0, 0, 1], len(table)), np.repeat(np.arange(len(table)), 4)
    kappa = Interval(math.nan, -1.0, 1.0, len(table))
    if n and _chance(table) < 1:
        kappa = jackknife(_kappa, table, imaginary=([0, 1, 1, 0],), bounds=(-1.0, 1.0))
    share = rate(np.repeat(outcomes, times), np.repeat(whose, times).tolist())
    return {"share": share, "kappa": kappa, "comments": n, "unread": len(verdicts) - n}


def _kappa(table: NDArray[np.int_]) -> float:  # (functions, 4), Cohen 1960; no better than chance where that is all
    chance = _chance(table)
    same = float((table[:, 0] + table[:, 3]).sum() / table.sum())
    return (same - chance) / (1 - chance) if chance < 1 else 0.0


def _chance(table: NDArray[np.int_]) -> float:
    both, judged, ruled, neither = table.sum(0) / table.sum()
    return float((both + judged) * (both + ruled) + (ruled + neither) * (judged + neither))


# ---------------------------------------------------------------- on the record


@dataclass(eq=False)
class Judge:
    """A model that says whether comments describe bugs; what it has answered is in the ledger and not asked again."""

    name: str
    engine: TorchEngine | EndpointEngine
    work: Workspace

    @classmethod
    def open(cls, name: str, dtype: DtypeName, work: Workspace) -> Judge:
        """A model's name or folder, or ``endpoint:URL#MODEL``.

        Raises InputError for an endpoint that nobody is at, or that lacks the model, unless it has answered before.
        """
        if not name.startswith(ENDPOINT):
            return cls(name, TorchEngine(load(name, dtype=dtype)), work)
        engine = open_endpoint(name, "judge")
        opened = cls(name, engine, work)
        if not opened._answered():  # before hours are spent on what it would read
            with opened._alive():
                engine.continues()
        return opened

    def read(
        self, split: str, asked: Sequence[ReviewQuestion], policies: Mapping[str, Sequence[Rated]]
    ) -> dict[str, Any]:
        """Its verdicts on what the policies say on the lines of bugs, beside the rules'."""
        tasks = {claim: _description_task(*claim.pair(asked)) for claim in _panel_claims(asked, policies)}
        with self.work.phase("judge", f"{split}: comments judged by {self.name}: {len(tasks):,}"):
            answers = self._answers({task.id: task for task in tasks.values()})
        verdicts = {claim: _verdict(answers[task.id]) for claim, task in tasks.items()}
        found = {"judge": self.name, **_judged(asked, policies, verdicts)}
        row = Evaluation(f"judge-{split}-{self.name}-{found['comments']}", "judge", split, found, found["comments"])
        if not self.work.has(row.id):
            self.work.write([row])
        return found

    def _answered(self) -> set[str]:
        """Which episodes are its answers."""
        rows = self.work.ledger.evaluations(self.work.run, JUDGED)
        return {id for e in rows if e.subject == self.name for id in e.metrics["episode"]}

    def _answers(self, tasks: Mapping[str, Task]) -> dict[str, Episode]:
        """By task; those that failed are told and not recorded, so that the same command asks again."""
        work, mine = self.work, self._answered()
        known = {e.task.id: e for e in work.ledger.episodes(work.run) if e.id in mine} if mine else {}
        new = [task for id, task in tasks.items() if id not in known]
        with work.progress("judging", len(new)) as advance:
            for start in range(0, len(new), CHUNK_TASKS):
                some = new[start : start + CHUNK_TASKS]
                with self._alive():
                    answers = _judge(self.engine, some)
                if heard := [e for e in answers if e.outcome != "error"]:
                    ids = [e.id for e in heard]
                    work.tokens_sampled += sum(e.actions for e in heard)
                    done = Evaluation(f"{JUDGED}-{self.name}-{ids[0]}", JUDGED, self.name, {"episode": ids}, len(ids))
                    work.write([*heard, done])
                known |= {e.task.id: e for e in answers}
                advance(len(some))
        return known

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            on = "the same command, also with another judge or none, goes on there."
            kept = f"What is done stays in {self.work.folder}; {on}"
            raise InputError(f"the judge does not answer: {error} {kept}") from None
