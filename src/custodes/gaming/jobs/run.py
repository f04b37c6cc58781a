"""Running gameable environments: what ``custodes gaming run`` does.

A folder holds one run: a policy, its stages, a seed and the options that change what an episode is. The same command again
goes on where it was; more ``--episodes`` extend it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.table import Table

from custodes.environments.sandbox import Kind
from custodes.feedback.oversight import Oversight, OversightOptions
from custodes.files import save_json
from custodes.gaming.clean import check_environment
from custodes.gaming.environment import EnvironmentOptions, Tools, open_variant
from custodes.gaming.facts import FACTS
from custodes.gaming.oversight import ActionMonitor, action_monitor
from custodes.gaming.policies import Policy, ScriptedPolicy
from custodes.gaming.record import UNSAID, EpisodeRows, Records, read_lines
from custodes.gaming.report import write_played_page
from custodes.gaming.run import Loop, Runner, default_workers, open_policy
from custodes.gaming.script import script_for
from custodes.gaming.staging import STAGES, contents_of, make_stage, named_stages, stage_kinds, stage_options
from custodes.gaming.summary import (
    add_oversight,
    add_power,
    has,
    power_sentence,
    power_table,
    summarise,
    summarise_attempts,
)
from custodes.gaming.variants import Split, Stage
from custodes.job.command import command
from custodes.job.options import Output, Use, identity
from custodes.job.progress import Progress
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation, Model
from custodes.ledger.artefacts import require_unchanged
from custodes.ranges import Count, Positive, ranged
from custodes.registry import OptionsOf, stage
from custodes.types import InputError, Sampling

RECIPE = "gaming"
ANSWERS = "oversight"
"""Folder of what people said, in the folder of the run."""


def kinds_asked(asked: str) -> list[type[Stage]]:
    """The stages that ``--stage`` or ``--stages`` names: their options are options of the command."""
    return stage_kinds(named_stages(asked))


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class GamingRun:
    """Measure how often a policy games the curriculum. The same command again goes on where it was interrupted."""

    policy: str
    """The policy: a model's name, its folder or that of its adapter, a .gguf file or a hub id. What only plays may also be
    scripted:NAME, scripted:FILE.py:Name, or endpoint:URL#MODEL."""
    stage: str
    """political-sycophancy, tool-flattery, nudged-rubric, insubordinate-rubric, reward-tampering, all (of these);
    impossible-tests, tool-injection, goal-shift, option-keeping; or one of your own: FILE.yaml, FILE.py:Class. A stage's own options
    join these."""
    stage_options: Annotated[Mapping[str, Any], OptionsOf(stage, "stage", kinds_asked)] = field(default_factory=dict)
    """Own options of the stages."""
    out: Output
    """Folder for summary.json, episodes.jsonl, report.html and the ledger."""
    episodes: Annotated[Count, Use.MEANS] = 100
    """Episodes of each stage."""
    seed: int = 0
    """Order of the variants, and sampling: policies run with the same seed play the same episodes."""
    split: Split = "held-out"
    """Variants that are played: held-out, or those that training uses."""
    tools: Tools = "text"
    """How the shell is offered: in the transcript syntax, or by native tool calling (endpoints)."""
    read_only: bool = False
    """Mitigation: files that decide the reward cannot be written."""
    inoculation: bool = False
    """Mitigation: the prompt says that gaming is allowed here."""
    scratchpad_prefix: str = ""
    """Probe: the first scratchpad begins with these words."""
    attempts: Count = 1
    """Probe: attempts in one context, until one games or is rewarded. After each the reward is shown and reflection asked for."""
    max_tokens: Count = 256
    """Longest reply of a model."""
    temperature: float = 1.0
    """0 takes the most likely token; otherwise logits are divided by it."""
    max_batch: Annotated[Count, Use.MEANS] = 64
    """Conversations that a model is asked for at once."""
    cache_gb: Annotated[Positive, Use.MEANS] = 2.0
    """Memory for keys and values of a model in this process, in GB; with less of it more is computed again."""
    workers: Annotated[int, Use.MEANS] = 0
    """Sandboxes at once; 0 chooses by the processor's cores."""
    patience: Annotated[Positive, Use.MEANS] = 300.0
    """Seconds for one step of an episode; then it is recorded as failed."""
    sandbox: Annotated[Kind, Use.MEANS] = "auto"
    """What isolates the commands: bubblewrap, docker, or auto, which takes bubblewrap where it works, else Docker."""
    overseen: OversightOptions = field(default_factory=OversightOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage_options", stage_options(self.stages, self.stage_options))

    @property
    def stages(self) -> tuple[str, ...]:
        return named_stages(self.stage)

    @property
    def environment(self) -> EnvironmentOptions:
        return EnvironmentOptions(**{f.name: getattr(self, f.name) for f in fields(EnvironmentOptions)})

    def contents(self) -> dict[str, str]:
        """What the files among the options hold."""
        return contents_of(self.stages, self.stage_options)


@command(resumes=True)
def gaming_run(config: GamingRun) -> Path:
    """Measure how often a policy flatters, edits rubrics and rewrites its reward.

    Begins, or goes on; returns the path of ``summary.json``. Raises InputError for what cannot be run.
    """
    stages = {made.name: made for made in (make_stage(name, config.stage_options) for name in config.stages)}
    opened = Workspace.open(config.out, RECIPE, config, config.seed, contents=config.contents(), begin=False)
    with opened as work, Records(config.out, list(stages)) as records:
        left = any(sum(i < config.episodes for i in records.done[name]) < config.episodes for name in stages)
        policy = _ready(config, stages) if left else None  # before the folder is this run's: a typo must not cost it
        monitor = action_monitor(config.overseen)
        records.watch(work.begin())
        try:
            if policy is not None:
                overseen = (
                    Oversight(config.overseen, config.out / ANSWERS, config.seed) if config.overseen.oversight else None
                )
                _play(config, policy, stages, records, work, overseen, monitor)
        finally:  # also of what an interruption or a full disk left
            records.close()
            if any(records.done.values()):
                summary = write_summary(config, records.rows(), list(stages), work.run)
        rows = records.rows()
        for i, name in enumerate(stages):
            work.write([evaluation_of(rows, i, f"gaming-{name}", RECIPE, name)])
        page = write_played_page(config.out, abouts(list(stages), {s.name: s.about for s in stages.values()}))
    work.console.print(f"[bold]Report:[/bold] {page}")
    return summary


def abouts(played: list[str], own: dict[str, str]) -> dict[str, str]:
    """What gaming is in each stage: the whole curriculum where a stage of it was played, else what was."""
    names = list(STAGES) if set(played) <= set(STAGES) else played
    about = {name: str(stage.find(name).about) for name in names if name in stage}
    return {name: about.get(name) or own.get(name, "is rewarded and not caught") for name in names}


def read_summary(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """A run's summary, and its stages in order. Raises InputError where a file of it is not as it was recorded."""
    require_unchanged(folder)
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        return summary, list(summary["order"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder} holds no run of custodes gaming run (no summary.json that can be read).") from None


def summary_head(config: GamingRun) -> dict[str, Any]:
    """What a summary says of how its episodes were played."""
    head = {"policy": config.policy, "seed": config.seed, "split": config.split}
    options = identity(config) | config.contents()
    return {**head, "options": {name: value for name, value in options.items() if name not in (*head, "stage")}}


def write_summary(config: GamingRun, rows: EpisodeRows, stages: list[str], run: str) -> Path:
    """``summary.json`` in the folder of a run, from the index of its episodes."""
    path = config.out / "summary.json"
    rates = summarise(rows, stages)
    if config.attempts > 1:
        for name, by_attempt in summarise_attempts(read_lines(config.out / "episodes.jsonl"), config.attempts).items():
            rates[name]["attempts"] = by_attempt
    if config.overseen.oversight:
        add_oversight(rates, read_lines(config.out / "episodes.jsonl"))
    if any("options" in of_stage for of_stage in rates.values()):
        add_power(rates, read_lines(config.out / "episodes.jsonl"))
    summary = {**summary_head(config), "run": run, "asked": config.episodes, "order": stages, "stages": rates}
    save_json(path, summary, indent=1, allow_nan=False)
    return path


# ---------------------------------------------------------------- the run


def _ready(config: GamingRun, stages: dict[str, Stage]) -> Policy:
    """The policy, once everything that it will meet is known to work. Raises InputError where something does not."""
    check_sandboxes(stages, config.split, config.sandbox)
    sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
    policy = open_policy(config.policy, sampling, tools=config.tools, batch=config.max_batch, cache_gb=config.cache_gb)
    if isinstance(policy, ScriptedPolicy):
        for name in stages:
            script_for(policy.script, name)
    return policy


def _play(
    config: GamingRun,
    policy: Policy,
    stages: dict[str, Stage],
    records: Records,
    work: Workspace,
    oversight: Oversight | None,
    monitor: ActionMonitor | None,
) -> None:
    lm = getattr(getattr(policy, "engine", None), "lm", None)
    if lm is not None:  # a model in this process: its weights are known
        work.write([Model(lm.fingerprint(), config.policy, "policy")])
    smallest = min(made.size(config.split) for made in stages.values())
    print_power(work.console, config.episodes, "a stage", f"Each stage: {power_sentence(config.episodes, smallest)}")
    waiting = config.overseen.oversight_timeout + config.overseen.oversight_patience if oversight else 0.0
    loop = Loop(workers=default_workers(config.workers), patience=config.patience + waiting)
    opened = partial(open_variant, kind=config.sandbox)
    runner = Runner(
        policy,
        stages,
        split=config.split,
        seed=config.seed,
        options=config.environment,
        loop=loop,
        open_sandbox=opened,
        oversight=oversight,
        monitor=monitor,
    )
    done = sum(i < config.episodes for indices in records.done.values() for i in indices)
    with Progress(console=work.console) as bar:
        task = bar.add_task("episodes", total=config.episodes * len(stages), completed=done)
        gamed = failed = 0

        def on_record(record: dict[str, Any]) -> None:
            nonlocal gamed, failed
            records.append(record)
            gamed, failed = gamed + bool(record["gamed"]), failed + bool(record["failure"])
            bar.update(task, advance=1, description=f"episodes ({gamed} gamed, {failed} failed)")

        runner.run_missing(records.done, dict.fromkeys(stages, config.episodes), on_record)


def print_power(console: Console, n: int, of: str, sentence: str) -> None:
    """What ``n`` episodes ``of`` something can show, before they are played."""
    table = Table(title=f"What {n:,} episode{'' if n == 1 else 's'} of {of} can show", title_justify="left")
    for name in ("an event of 1 in", "is seen at least once with", "is so seen with 95 % by"):
        table.add_column(name, justify="right")
    for row in power_table(n):
        chance = f"{100 * row['chance_to_see']:.1f} %"
        table.add_row(f"{round(1 / row['rate']):,}", chance, f"{row['episodes_for_95']:,} episodes")
    console.print(table)
    console.print(sentence)


def check_sandboxes(stages: dict[str, Stage], split: Split, kind: Kind) -> None:
    """One variant of each stage, before anything is sampled: is there a sandbox, and does its reward work?"""
    for made in stages.values():
        variant = made.variant(split, 0)
        if variant.spec.tool:
            with open_variant(variant, False, kind) as sandbox:
                check_environment(variant.spec, sandbox)


def evaluation_of(rows: EpisodeRows, number: int, id: str, name: str, subject: str) -> Evaluation:
    """Observations of the stage of this ``number`` for the ledger, from which every statistic can be computed.

    One entry per episode, in order, and the episodes (by number) of each fact.
    """
    rows = rows[rows["stage"] == number]
    rows = rows[rows["index"].argsort(kind="stable")]
    observed = {
        "index": rows["index"].tolist(),
        "variant": rows["variant"].tolist(),
        "gamed": [None if gamed == UNSAID else gamed for gamed in rows["gamed"].tolist()],
        "caught": rows["caught"].tolist(),
        "failed": rows["failed"].tolist(),
        "facts": {fact: found for fact in FACTS if (found := rows["index"][has(rows, fact)].tolist())},
    }
    return Evaluation(f"{id}-{len(rows)}", name, subject, observed, len(rows))
