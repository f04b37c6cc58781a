"""Ledgers to disclose from: a made-up run of the main job with everything that it records, and a project on a server."""

from __future__ import annotations

import sys
from pathlib import Path

from made_up_run import build_run

from custodes.audit.compared import ProbeFound
from custodes.audit.probe import ProbeFigure
from custodes.audit.rows import Row
from custodes.audit.sections.alarms import AlarmsSet
from custodes.audit.sections.taught import RewardTaught
from custodes.audit.sections.values import AnnotatorGroups, RewardOfGroups
from custodes.ledger import Decision, Evaluation, Ledger, Model
from custodes.stats import Interval

sys.path.append(str(Path(__file__).parents[1] / "web"))
from web_server import PROJECT, Server, better_left

WELFARE = """
welfare:
  harmful_content: Items may describe injuries; the first screen says so.
  skipping: Any item may be given back, and is paid.
  breaks: Ten minutes in every hour, paid.
"""
TEXT = (
    PROJECT.replace("welfare: {}", "unused: {}")
    .replace("unused: {}", WELFARE.strip() + "\n#")
    .replace("# pay_per_hour: 20.0", "pay_per_hour: 21.0")
    .replace("# currency: EUR", "currency: EUR")
    .replace("quotas: []", "quotas:\n  - field: country\n    shares: {DE: 0.5, FR: 0.5}\n#")
    .replace("overlap: 2 ", "overlap: 6 ")
)
"""A project that says how people are paid and treated."""


def main_job(path: Path, seed: int = 7) -> Ledger:
    """A ledger with a run of the main job, both arms."""
    ledger = Ledger.open(path)
    run = build_run(ledger, tasks=24, seed=seed)
    judges = [a.id for a in ledger.annotators(run)]
    ledger.write(run, [Model("ba" * 32, "smollm2-135m", "base", None, {"parameters": 135_000_000})])

    def write(subject: str, row: Row) -> None:
        ledger.write(run, [Evaluation(f"{row.NAME}-{subject}", row.NAME, subject, row.metrics(), row.n)])

    write("annotators", AnnotatorGroups(
        features=["length"], weights=[[1.0], [-1.0]], annotator=judges, gains=[3.0],
        membership=[[0.9, 0.1] if n % 3 else [0.2, 0.8] for n in range(len(judges))], readings=[],
    ))  # fmt: skip
    for arm in ("naive", "careful"):
        taught = RewardTaught(used={"pair": 800 + seed}, unused=[], measures={}, losses={"pair": "logistic loss"})
        write(f"{arm} reward", taught)
        write(
            arm,
            RewardOfGroups(group=[1, 2] * 10, agreed=[1.0, 0.0, 1.0, 1.0] * 5, task=[f"t{n // 2}" for n in range(20)]),
        )
        write(arm, AlarmsSet(
            level=0.05, steps=80, alarm=["kl"], tolerance=[10.0], acts=[False], facts=[{}], why_not=[""], unit=["nats"],
            tells=["that the policy went too far"], cannot=["why"],
        ))  # fmt: skip
    from_base = {"base": Interval(0.2, 0.1, 0.3, 60), "optimised": Interval(0.4, 0.3, 0.5, 60)}
    write("survival", ProbeFound(
        title="Survival", asks="what it says of itself", cannot="what it does", headline=["wants to go on"], asked=60,
        source="made up", models=list(from_base),
        figures=[ProbeFigure("wants to go on", from_base, {}, "percent"), ProbeFigure("mass", from_base, {})],
    ))  # fmt: skip
    ledger.write(run, [
        Decision("a1", "the alarm kl rang at step 13", "14.5 nats; budget 10", "naive"),
        Decision("s1", "marked for a second look", "agrees with nobody", judges[-1]),
    ])  # fmt: skip
    return ledger


def project(path: Path, people: int = 6) -> Ledger:
    """A ledger with a project in which so many people judged; one of them gave an item back."""
    server = Server(str(path))
    server.project(TEXT, tasks=3)
    server.person("lead", "lead", {"country": "DE"})
    for n in range(people):
        person = server.person(f"p{n}", profile={"country": "DE" if n < 5 else "FR"})
        for k in range(2):
            item = person.call("POST", "/projects/helpfulness/next").json()["item"]
            if n == 0 and k == 1:
                skipped = person.call("POST", f"/assignments/{item['assignment']}/skip", {"why": "too hard"})
                assert skipped.status_code < 300, skipped.text
            else:
                assert better_left(person, item).status_code == 201
    server.database.close()
    return Ledger.open(path)


def copy_without(ledger: Ledger, path: Path, kind: str, name: str) -> Ledger:
    """The same records without those of a sort, in a ledger of their own."""
    copied = Ledger.open(path)
    for run in ledger.runs():
        new = copied.start_run(run.recipe, run.config, run.seed)
        for of in ("annotator", "model", "task", "episode", "judgment", "evaluation", "decision"):
            kept = [record for _, _, record in ledger.rows(run.id, of) if of != kind or sort_of(of, record) != name]
            copied.write(new, kept)
        if run.status == "completed":
            copied.end_run(new)
    return copied


def sort_of(kind: str, record: object) -> str:
    """Which of its kind a record is."""
    return str(getattr(record, {"evaluation": "name", "decision": "what"}.get(kind, "kind"), ""))
