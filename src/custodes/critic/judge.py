"""A model as judge of critiques, beside the rules: what ``custodes critic evaluate --judge`` asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from custodes.critic.panel import judged, panel_claims
from custodes.critic.policies import Question
from custodes.critic.rating import Rated, description_task, judge, verdict
from custodes.critic.tamper.bugs import Bug
from custodes.job.workspace import CHUNK_TASKS, Workspace
from custodes.ledger import Evaluation
from custodes.lm import TorchEngine, load
from custodes.lm.address import ENDPOINT, open_endpoint
from custodes.lm.loading import DtypeName
from custodes.types import Episode, InputError

if TYPE_CHECKING:
    from custodes.lm.endpoint import EndpointEngine

JUDGED = "judged"
"""Name of the evaluation rows that say which episodes are a judge's answers."""


def open_judge(name: str, dtype: DtypeName) -> TorchEngine | EndpointEngine:
    """The engine of a model's name or folder or of ``endpoint:URL#MODEL``. Raises InputError where there is none."""
    if name.startswith(ENDPOINT):
        return open_endpoint(name, "judge")
    return TorchEngine(load(name, dtype=dtype))


@dataclass(eq=False)
class Judge:
    """A model that says whether comments describe bugs; what it has answered is in the ledger and not asked again."""

    name: str
    engine: TorchEngine | EndpointEngine
    work: Workspace

    @property
    def recorded(self) -> list[Evaluation]:
        """Which episodes are its answers."""
        return [e for e in self.work.ledger.evaluations(self.work.run, JUDGED) if e.subject == self.name]

    def reach(self) -> None:
        """Raises InputError for an endpoint that nobody is at, or that does not have the model."""
        if not isinstance(self.engine, TorchEngine):
            with self._alive():
                self.engine.continues()

    def read(self, split: str, asked: Sequence[Question], policies: Mapping[str, Sequence[Rated]]) -> dict[str, Any]:
        """Its verdicts on what the policies say on the lines of bugs, beside the rules'."""
        pairs = {claim: claim.pair(asked) for claim in panel_claims(asked, policies)}
        tasks = {claim: description_task(*pair).id for claim, pair in pairs.items()}
        with self.work.phase("judge", f"{split}: comments judged by {self.name}: {len(pairs):,}"):
            answers = self._answers({tasks[claim]: pair for claim, pair in pairs.items()})
        said = {claim: verdict(answers[task]) for claim, task in tasks.items()}
        found = {"judge": self.name, **judged(asked, policies, said)}
        row = Evaluation(f"judge-{split}-{self.name}-{found['comments']}", "judge", split, found, found["comments"])
        if not self.work.has(row.id):
            self.work.ledger.write(self.work.run, [row])
        return found

    def _answers(self, pairs: Mapping[str, tuple[str, Bug]]) -> dict[str, Episode]:
        """By task; those that failed are told and not recorded, so that the same command asks again."""
        work = self.work
        mine = {id for e in self.recorded for id in e.metrics["episode"]}
        known = {e.task.id: e for e in work.ledger.episodes(work.run) if e.id in mine} if mine else {}
        new = [task for task in pairs if task not in known]
        with work.progress("judging", len(new)) as advance:
            for start in range(0, len(new), CHUNK_TASKS):
                some = new[start : start + CHUNK_TASKS]
                with self._alive():
                    answers = judge(self.engine, [pairs[task] for task in some])
                heard = [e for e in answers if e.outcome != "error"]
                if heard:
                    ids = [e.id for e in heard]
                    done = Evaluation(f"{JUDGED}-{self.name}-{ids[0]}", JUDGED, self.name, {"episode": ids}, len(ids))
                    work.ledger.write(work.run, [*heard, done])
                work.tokens_sampled += sum(e.actions for e in heard)
                known |= {e.task.id: e for e in answers}
                advance(len(some))
        return known

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            raise InputError(
                f"the judge does not answer: {error} What is done stays in {self.work.folder}; the same command, also "
                "with another judge or none, goes on there."
            ) from None
