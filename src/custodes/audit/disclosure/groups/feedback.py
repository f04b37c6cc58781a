"""Human feedback: from what the model began, who judged what, and how good their judgments are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from custodes.audit.disclosure.history import RecordRow
from custodes.audit.disclosure.lines import LEAST_PEOPLE, DisclosureGroup, Filled, Line, Measure, Shown, line
from custodes.audit.sections.judges import AnnotatorAgreement, AnnotatorEstimate
from custodes.page import number, percent, plain_name
from custodes.registry import disclosure
from custodes.stats import Interval, wilson
from custodes.types import Annotator

WHO = {"human": "people", "ai": "models", "simulated": "simulated annotators", "programmatic": "programs"}
WATCHED = ("marked for a second look", "quarantine", "quarantine lifted")
"""Decisions about annotators of whom something is suspected."""
MISSED = "gold item missed"
SIMULATED = "simulated"
"""What simulated judgments have in place of a version of guidelines."""


@disclosure
class FeedbackDisclosure(DisclosureGroup):
    """Pretraining, evaluators, examples, types of feedback, and quality."""

    title = "Human feedback"
    place = 10
    survey = True

    @line("Base model", "Which pretrained model the training began from.")
    def base_model(self) -> Filled | None:
        rows = self.history.rows("model", "base", "reference")
        value = {self.history.label(r.place): f"{r.record.name}, content hash {r.record.id}" for r in rows}
        return Filled(value, rows)

    pretraining = Line(
        "Pretraining process and data",
        "How the base model was pretrained, and on what: which biases that makes likely.",
    )

    @line("Evaluators", "Who judged: people, models, programs or simulated annotators.")
    def evaluators(self) -> Filled | None:
        rows, judgments = self._judged()
        counts = Counter(row.record.kind for row in rows)
        natures = Counter(str(r.record.profile["nature"]) for r in rows if "nature" in r.record.profile)
        value: dict[str, Shown] = {WHO[kind]: count for kind, count in counts.items()}
        if natures:
            told = ", ".join(f"{count} {plain_name(nature)}" for nature, count in natures.items())
            value[WHO["simulated"]] = f"{counts['simulated']} ({told})"
        return Filled(value, [*rows, *judgments])

    @line("Selection of evaluators", "How evaluators were chosen, and by which quotas.")
    def selection(self) -> Filled | None:
        value: dict[str, Shown] = {}
        for place, project in self.history.projects:
            members = "members whom a lead names" if project.members == "listed" else "everybody with an account"
            quotas = [
                f"quota by {q.field}: {', '.join(f'{name} {percent(share)}' for name, share in q.shares.items())}"
                for q in project.quotas
            ]
            most = project.assignment.most_per_annotator
            most_told = [f"at most {most:,} items each"] if most else []
            value[place.label] = "; ".join([members, *(quotas or ["no quotas"]), *most_told])
        return Filled(value, [place.row for place, _ in self.history.projects])

    @line("Demographics of evaluators", f"Groups of {LEAST_PEOPLE} or more people, by what their profiles say.")
    def demographics(self) -> Filled | None:
        rows, judgments = self._judged("human")
        told = _groups_of_people([_profile(row.record) for row in rows])
        return Filled(told, [*rows, *judgments])

    @line("Training of evaluators", "What evaluators had learned when they judged: by which version of the guidelines.")
    def training(self) -> Filled | None:
        rows = [row for row in self.history.rows("judgment") if row.record.guideline not in ("", SIMULATED)]
        counts = Counter(row.record.guideline for row in rows)
        value = {f"under guidelines {version}": f"{count:,} judgments" for version, count in counts.items()}
        return Filled(value, rows)

    @line("Guidelines", "What evaluators were asked to judge by, word for word.")
    def guidelines(self) -> Filled | None:
        projects = self.history.projects
        value = {f"{p.label}, version {q.guidelines.version}": q.guidelines.text.strip() for p, q in projects}
        return Filled(value, [place.row for place, _ in projects])

    @line("Selection of examples", "Which tasks there were, and how they were split.")
    def examples(self) -> Filled | None:
        rows = self.history.rows("task")
        value: dict[str, Shown] = {}
        for place in self.history.runs:
            tasks = [row.record for row in rows if row.place is place]
            splits = Counter(plain_name(str(task.metadata.get("split", "not split"))) for task in tasks)
            told = ", ".join(f"{count:,} {split}" for split, count in splits.items())
            if tasks:
                value[self.history.label(place, "tasks")] = f"{len(tasks):,}" + (
                    f" ({told})" if len(splits) > 1 else ""
                )
        return Filled(value, rows)

    @line("Assignment of examples", "Who got what to judge, how often, and in which order.")
    def assignment(self) -> Filled | None:
        value: dict[str, Shown] = {}
        for place, project in self.history.projects:
            of = project.assignment
            order = "drawn at random" if of.selection == "random" else "the item that teaches most comes next"
            value[place.label] = f"{of.overlap} evaluators an item; {order}; answers in random order"
        return Filled(value, [place.row for place, _ in self.history.projects])

    @line(
        "Protection against poisoning", "How judgments that are meant to mislead were looked for, and what was found."
    )
    def poisoning(self) -> Filled | None:
        examined = self.history.rows("evaluation", AnnotatorEstimate.NAME)
        decided = self.history.rows("decision", *WATCHED)
        value: dict[str, Shown] = (
            {"annotators examined": len({row.record.subject for row in examined})} if examined else {}
        )
        if value or decided:
            counts = Counter(row.name for row in decided)
            value |= {what: counts[what] for what in WATCHED if counts[what] or what == WATCHED[0]}
        return Filled(value, [*examined, *decided])

    @line(
        "Types of feedback", "What was judged: comparisons, ratings, corrections; and how many judgments of each kind."
    )
    def types(self) -> Filled | None:
        rows = self.history.rows("judgment")
        by_kind: dict[str, list[RecordRow]] = {}
        for row in rows:
            by_kind.setdefault(row.name, []).append(row)
        return Filled({f"{plain_name(kind)}s": len(of) for kind, of in by_kind.items()}, rows)

    @line("Quality assurance", "How judgments were checked: items with known answers, items judged twice.")
    def quality(self) -> Filled | None:
        estimates = self.history.rows("evaluation", AnnotatorEstimate.NAME)
        missed, projects = self.history.rows("decision", MISSED), self.history.projects
        value: dict[str, Shown] = {
            place.label: f"{percent(p.assignment.gold_share)} items with a known answer, {percent(p.assignment.repeat_share)} judged twice"
            for place, p in projects
        }
        repeats, same = (sum(row.record.metrics[name] for row in estimates) for name in ("repeats", "repeats_same"))
        if repeats:
            value["repeated pairs judged the same"] = Measure(wilson(same, repeats), "percent")
        if missed:
            value["items with a known answer that were missed"] = len(missed)
        return Filled(value, [*(place.row for place, _ in projects), *(estimates if repeats else ()), *missed])

    @line("Agreement of evaluators", "How far different evaluators agree about the same items.")
    def agreement(self) -> Filled | None:
        value, cited = dict[str, Shown](), list[RecordRow]()
        for place, rows in self.history.measured(AnnotatorAgreement):
            said = AnnotatorAgreement.read(rows[-1].record)
            low = -np.inf if said.alpha_low is None else said.alpha_low
            high = np.inf if said.alpha_high is None else said.alpha_high
            value[self.history.label(place, "Krippendorff’s α")] = Measure(Interval(said.alpha, low, high, said.items))
            cited.append(rows[-1])
        return Filled(value, cited)

    @line("Time for a judgment", "Whether evaluators had the time that the task needs.")
    def time(self) -> Filled | None:
        rows = [row for row in self.history.rows("judgment") if row.record.seconds is not None]
        judged = {row.record.annotator for row in rows}
        annotators = [row for row in self.history.rows("annotator") if row.record.id in judged]
        kinds, by_kind = {row.record.id: row.record.kind for row in annotators}, dict[str, list[float]]()
        for row in rows:
            by_kind.setdefault(WHO.get(kinds.get(row.record.annotator, ""), "annotators"), []).append(
                row.record.seconds
            )
        value = {
            f"median, {who}": f"{number(float(np.median(of)))} s over {len(of):,} judgments"
            for who, of in by_kind.items()
        }
        return Filled(value, [*rows, *annotators])

    def _judged(self, *kinds: str) -> tuple[list[RecordRow], list[RecordRow]]:
        """Annotators who judged, each once, and their judgments: an account alone makes nobody an evaluator."""
        judgments = self.history.rows("judgment")
        who = {row.record.annotator for row in judgments}
        rows = {row.record.id: row for row in self.history.rows("annotator", *kinds) if row.record.id in who}
        return list(rows.values()), [row for row in judgments if row.record.annotator in rows]


def _groups_of_people(profiles: Sequence[Mapping[str, Any]]) -> dict[str, Shown]:
    """What may be told of people by each field of their profiles: only groups of five or more.

    Where fewer than five people are left over, those could be found out by subtraction: the smallest group that would
    be shown joins them.
    """
    fields = dict.fromkeys(field for profile in profiles for field in profile)
    return {field: told for field in fields if (told := ", ".join(_large_groups(field, profiles)))}


def _large_groups(field: str, profiles: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    held = [profile.get(field) for profile in profiles]
    several = any(isinstance(value, list | tuple) for value in held)
    values = [v for value in held for v in (value if isinstance(value, list | tuple) else [value])]
    counts = Counter(str(value) for value in values if value is not None).most_common()
    shown = [(name, count) for name, count in counts if count >= LEAST_PEOPLE]
    rest = 0 if several else len(profiles) - sum(count for _, count in shown)
    while shown and 0 < rest < LEAST_PEOPLE:
        rest += shown.pop()[1]
    yield from (f"{name} {count:,}" for name, count in shown)
    if rest or not shown:
        yield f"groups of fewer than {LEAST_PEOPLE} people are not shown"


def _profile(annotator: Annotator) -> dict[str, Any]:
    return {name: value for name, value in annotator.profile.items() if name != "imported"}
