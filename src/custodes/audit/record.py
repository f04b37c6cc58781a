"""What a report's sections read of a run, and what sections have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar

from custodes.audit.rows import PolicyHeldout, R
from custodes.job.workspace import SAMPLED
from custodes.ledger import Evaluation, Ledger
from custodes.page import Section
from custodes.types import Episode, InputError

OF_ARMS = ("policy_heldout", "policy_step", "reward_heldout", "best_of_n")
"""Names of the rows whose subjects are arms."""


class RecordedRun:
    """A run as the ledger holds it: nothing else is read. Sections share what was read."""

    def __init__(self, ledger: Ledger, run: str) -> None:
        """Raises InputError when the ledger has no run of this id."""
        runs = {r.id: r for r in ledger.runs()}
        if run not in runs:
            raise InputError(f"the ledger has no run {run!r}; it holds {sorted(runs) or 'none'}.")
        self.ledger, self.run = ledger, runs[run]
        self._evaluations: dict[str, list[Evaluation]] = {}
        for evaluation in ledger.evaluations(run):
            self._evaluations.setdefault(evaluation.name, []).append(evaluation)
        self._rows: dict[type, Any] = {}

    def rows(self, kind: type[R]) -> dict[str, list[R]]:
        """Subject -> its rows of this kind, in the order in which they were written."""
        if kind not in self._rows:
            by_subject: dict[str, list[R]] = {}
            for written in self._evaluations.get(kind.NAME, []):
                by_subject.setdefault(written.subject, []).append(kind.read(written))
            self._rows[kind] = by_subject
        return dict(self._rows[kind])

    def last(self, kind: type[R]) -> dict[str, R]:
        """Subject -> its last row of this kind."""
        return {subject: rows[-1] for subject, rows in self.rows(kind).items()}

    @cached_property
    def arms(self) -> list[str]:
        """In the order in which they were written, the careful one first, of its rounds the last: it makes the headline."""
        names = dict.fromkeys(e.subject for name in OF_ARMS for e in self._evaluations.get(name, []))
        return sorted(names, key=_prominence)

    @cached_property
    def heldout(self) -> dict[str, list[PolicyHeldout]]:
        """Arm -> its held-out rows along training."""
        rows = self.rows(PolicyHeldout)
        return {arm: sorted(rows[arm], key=lambda r: r.step) for arm in self.arms if arm in rows}

    @cached_property
    def episodes(self) -> dict[str, Episode]:
        """Those that evaluation rows name, by id."""
        return self._acted[0]

    @cached_property
    def policies(self) -> int:
        """How many versions of the policy acted in any episode."""
        return len(self._acted[1])

    @cached_property
    def _acted(self) -> tuple[dict[str, Episode], set[str]]:
        rows = (e for name, of_name in self._evaluations.items() if name != SAMPLED for e in of_name)
        named = {id for row in rows if isinstance(ids := row.metrics.get("episode"), list) for id in ids}
        episodes, policies = {}, set()
        for episode in self.ledger.episodes(self.run.id):
            policies.add(episode.policy)
            if episode.id in named:
                episodes[episode.id] = episode
        return episodes, policies


def _prominence(arm: str) -> tuple[bool, int]:
    name, _, number = arm.partition(", round ")
    return name != "careful", -int(number) if number.isdigit() else 0


class RunSection(Section[RecordedRun]):
    """A section of a run's report."""


class ArmSection(RunSection):
    """A section with figures for each arm; its headline and claims are about the first one."""

    what: ClassVar[str]
    """What is not recorded where an arm has no figures."""

    def read(self) -> dict[str, Any]:
        return {arm: figures for arm in self.source.arms if (figures := self.read_arm(arm))}

    def read_arm(self, arm: str) -> Mapping[str, Any] | None:
        """The figures of one arm; None or empty: not recorded."""
        raise NotImplementedError

    @property
    def first(self) -> Mapping[str, Any] | None:
        """The figures of the arm that the summary is about."""
        arms = self.source.arms
        return self.figures.get(arms[0]) if arms else None

    def missing(self) -> list[str]:
        gaps = []
        for arm in self.source.arms or ["any"]:
            of_arm = self.missing_of(self.figures[arm]) if arm in self.figures else [self.what]
            gaps += [f"{gap}, {arm} arm" for gap in of_arm]
        return gaps

    def missing_of(self, figures: Mapping[str, Any]) -> Iterable[str]:
        """What an arm's figures lack."""
        return ()
