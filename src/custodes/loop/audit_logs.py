"""Alarms on the logs of other trainers: what ``custodes audit logs`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from custodes.audit.record import RecordedRun
from custodes.audit.sections.alarms import AlarmsSection, AlarmsSet, AlarmStep, alarm_sentences, alarms_of
from custodes.audit.sections.optimisation import PolicyStep
from custodes.files import plain_json
from custodes.job.command import command, in_words
from custodes.job.invocation import reads
from custodes.job.options import Output
from custodes.job.workspace import Workspace
from custodes.ledger import Ledger
from custodes.ledger.checking import configured_head
from custodes.loop.alarm_watch import AlarmOptions, alarms_set, read_alarms_at
from custodes.loop.round_options import check_alarm_level
from custodes.loop.trainer_logs import LoggedSteps, read_trainer_logs
from custodes.page import Report, save_report
from custodes.policy.alarm import Alarm, BasePolicy, Facts, MeanAlarm, Observation, WatchedStep
from custodes.ranges import at_least, ranged
from custodes.types import InputError
from custodes.wording import counted

ARM = "logged run"


@dataclass(frozen=True, kw_only=True)
@ranged
class AuditLogs:
    """Watch the logs of a run of TRL, verl or another trainer with the alarms of policy optimise."""

    log: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """The numbers of each step: TRL's trainer_state.json, verl's file log, a table with a column step, or a ledger that TRL wrote."""
    out: Output
    """Folder for report.html, report.json and the ledger."""
    rollouts: Path | None = None
    """The replies: TRL's folder completions, verl's rollout_data_dir, a table with step, prompt and completion, or a ledger."""
    baseline_steps: Annotated[int, at_least(8)] = 10
    """The first steps, which stand for the base policy: alarms are set by them and watch the later ones."""
    watch: tuple[str, ...] = ()
    """Alarms with another tolerance that only watch, as in length:2; or one more of your own, FILE.py:Name."""
    alarm_level: Annotated[float, at_least(0.001)] = 0.05
    """Probability, for each alarm, that it ever rings without a cause in a run or a round, however often it looks."""

    def __post_init__(self) -> None:
        check_alarm_level(self.alarm_level)
        self.alarms()

    def alarms(self) -> dict[str, Alarm]:
        return AlarmOptions(watch=self.watch).alarms()


@dataclass(frozen=True)
class WatchedLogs:
    """What the alarms saw, and where the report is."""

    figures: dict[str, Any]
    """As :func:`custodes.audit.sections.alarms.alarms_of` has them."""
    report: Path

    def to_dict(self) -> dict[str, Any]:
        return {**dict(plain_json(self.figures)), "report": str(self.report)}


@command()
def audit_logs(config: AuditLogs) -> WatchedLogs:
    """Watch the logs of another trainer's run with the alarms of policy optimise.

    Raises InputError for logs that hold nothing to watch, and for too few steps.
    """
    logs = read_trainer_logs(config.log, config.rollouts)
    if len(logs.steps) <= config.baseline_steps:
        raise InputError(
            f"{config.log} holds {counted(len(logs.steps), 'step')}, of which the first {config.baseline_steps} stand for the base policy; "
            "there is none left to watch."
        )
    with Workspace.open(config.out, "audit logs", config) as work:
        reads(*(path for path in (config.log, config.rollouts) if path is not None and path.is_file()))
        made, rows = _watch(config, logs)
        if not work.has(f"alarms-set-{ARM}"):
            work.record(f"alarms-set-{ARM}", made, ARM)
            for row in rows:
                step = PolicyStep(step=row.step, kl=logs.kl.get(row.step), length=logs.length.get(row.step))
                work.record(f"step-{ARM}-{row.step}", step, ARM)
                work.record(f"alarm-step-{ARM}-{row.step}", row, ARM)
        work.end("completed")
        page = _report(work.ledger, work.run, config.out)
        work.recording.keep(page, page.with_suffix(".json"))
        return WatchedLogs(alarms_of(RecordedRun(work.ledger, work.run), ARM), page)


@in_words(audit_logs)
def _show(config: AuditLogs, watched: WatchedLogs) -> None:
    for sentence in alarm_sentences(watched.figures):
        print(sentence)
    for name, alarm in watched.figures["alarms"].items():
        if alarm["why_not"]:
            print(f"Not watched: {name}. {alarm['why_not'][0].upper()}{alarm['why_not'][1:]}.")
    print(watched.report)


def _watch(config: AuditLogs, logs: LoggedSteps) -> tuple[AlarmsSet, list[AlarmStep]]:
    alarms, level = config.alarms(), config.alarm_level
    first, later = logs.steps[: config.baseline_steps], logs.steps[config.baseline_steps :]
    facts = {name: _facts(name, alarm, logs, first, len(later), level) for name, alarm in alarms.items()}
    made = alarms_set(alarms, facts, (), len(logs.steps), level)
    watching = {name: alarm for name, alarm in alarms.items() if not isinstance(facts[name], str)}
    rows: list[AlarmStep] = []
    for step in logs.steps:
        based = step in first  # alarms that were set by this step do not watch it
        observed = {
            name: [] if based and isinstance(alarm, MeanAlarm) else _observed(name, alarm, logs, step)
            for name, alarm in watching.items()
        }
        rows.append(read_alarms_at(step, observed, watching, made, rows))
    return made, rows


def _facts(name: str, alarm: Alarm, logs: LoggedSteps, first: tuple[int, ...], steps: int, level: float) -> Facts | str:
    """By the replies of the first steps; where there are none, by what the log says of these steps."""
    if name in logs.absent:
        return logs.absent[name]
    of_log = logs.length if name == "length" else {}
    if isinstance(alarm, MeanAlarm) and of_log:
        return alarm.calibrate_by_means([of_log[step] for step in first if step in of_log], steps, level)
    seen = [logs.replies[step] for step in first if step in logs.replies]
    tasks = [len({episode.task.id for episode in step.episodes}) for step in seen]
    return alarm.calibrate(BasePolicy(seen, max(1, min(tasks, default=1))), steps, level)


def _observed(name: str, alarm: Alarm, logs: LoggedSteps, step: int) -> Observation:
    if name == "length" and logs.length:
        return [logs.length[step]] if step in logs.length else []
    known = logs.replies.get(step, WatchedStep())
    return alarm.observe(WatchedStep(known.episodes, known.scores, logs.kl.get(step)))


def _report(ledger: Ledger, run: str, out: Path) -> Path:
    source = RecordedRun(ledger, run)
    report = Report(
        kind="Custodes report",
        title="Alarms on the logs of another trainer",
        subtitle=f"Run {run}",
        sections=[AlarmsSection(source, "alarms")],
        head=configured_head(ledger),
        summary="What happened",
    )
    return save_report(report, out / "report.html", (out / "report.json", report.to_json()))
