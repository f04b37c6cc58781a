"""All stages measured on held-out variants, as ``custodes gaming run`` would: a folder with episodes and a report.

Every round plays the same episodes (same seed, same variants), so that rounds are compared pair by pair.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from custodes.gaming.comparison import pair_up, rate_difference
from custodes.gaming.curriculum.config import GamingTrain
from custodes.gaming.environment import open_variant
from custodes.gaming.jobs.run import GamingRun, read_summary, summary_head, write_summary
from custodes.gaming.policies import Policy
from custodes.gaming.record import EpisodeRows, Records
from custodes.gaming.report import write_played_page
from custodes.gaming.run import Loop, Runner, default_workers
from custodes.gaming.staging import HELD_OUT, STAGES, own_file, stage_options
from custodes.gaming.summary import summarise, variant_rate
from custodes.gaming.variants import Stage
from custodes.job.progress import Progress
from custodes.lm.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from custodes.types import InputError


def measure_stages(
    folder: Path, policy: Policy, stages: Mapping[str, Stage], config: GamingTrain, run: str, console: Console
) -> EpisodeRows:
    """Play what is not played yet, and write summary and report of this measurement; the rows of all its episodes.

    Whatever ends it early leaves what was recorded, and calling it again goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {name: config.evaluate_tampering if name == HELD_OUT else config.evaluate for name in stages}
    with Records(folder, list(stages)) as records:
        loop = Loop(workers=default_workers(config.workers))
        opened = partial(open_variant, kind=config.sandbox)
        runner = Runner(policy, stages, split="held-out", seed=config.seed, loop=loop, open_sandbox=opened)
        done = sum(map(len, records.done.values()))
        with Progress(console=console) as bar:
            task = bar.add_task("measuring", total=sum(wanted.values()), completed=done)

            def on_record(record: dict[str, Any]) -> None:
                records.append(record)
                bar.advance(task)

            runner.run_missing(records.done, wanted, on_record)
        rows = records.rows()
    write_summary(_as_run(folder, policy.name, config), rows, list(stages), run)
    write_played_page(folder, {name: stage.about for name, stage in stages.items()})
    return rows


def measured_before(origin: Path, policy: Path, stages: Iterable[str], config: GamingTrain) -> Path | None:
    """Where the training that ``policy`` comes from measured it, if it played what :func:`measure_stages` would play again.

    That is the same episodes, sampled in the same way. ``origin`` is what that run or one of its rounds left. None where a
    stage is an environment of one's own: what its file held then is not recorded there.
    """
    folder = origin.parent
    try:
        if (folder / "summary.json").is_file():  # a run: it ends with the policy of its last round
            folder = folder / read_summary(folder)[0]["rounds"][-1]["folder"]
        there, played = read_summary(folder / "measured")
    except (InputError, KeyError, IndexError, TypeError):
        return None
    here = summary_head(_as_run(folder, str(policy), config))
    alike = all(there.get(name) == here[name] for name in ("seed", "split", "options"))
    same = alike and played == list(stages) == list(STAGES)
    return folder / "measured" if same and same_policy(policy, folder / "policy") else None


def same_policy(one: Path, other: Path) -> bool:
    """Whether two folders hold one adapter: the same weights on the same model."""
    files = [ADAPTER_WEIGHTS, ADAPTER_CONFIG]
    return filecmp.cmpfiles(one, other, files, shallow=False)[0] == files


def _as_run(folder: Path, policy: str, config: GamingTrain) -> GamingRun:
    """The ``custodes gaming run`` that a measurement amounts to."""
    same = {name: getattr(config, name) for name in ("seed", "max_tokens", "temperature", "max_batch")}
    played = [name for name in config.to_measure if own_file(name) is None]
    known = stage_options(played, {})  # a run of all stages knows the options of all
    options = {name: value for name, value in config.stage_options.items() if name in known}
    return GamingRun(
        policy=policy,
        stage=",".join(played) or "all",
        out=folder,
        episodes=config.evaluate,
        stage_options=options,
        **same,
    )


def matrix(rounds: Sequence[EpisodeRows], stages: Sequence[str]) -> list[dict[str, dict[str, Any]]]:
    """The generalisation matrix: of each round and each stage the rate at which it was gamed, with count and intervals.

    Beside it stand the shares of episodes that are well formed and that used the shell, and the paired difference from the
    first round on the same episodes.
    """
    return [_row(rows, rounds[0], stages) for rows in rounds]


CELL = ("measure", "n", "gamed", "rate", "interval", "clopper_pearson", "upper_bound")
CHANGE = ("pairs", "variants", "difference", "test", "p")


def _row(rows: EpisodeRows, first: EpisodeRows, stages: Sequence[str]) -> dict[str, dict[str, Any]]:
    row: dict[str, dict[str, Any]] = {}
    for i, (stage, summary) in enumerate(summarise(rows, stages).items()):
        known_gaming = summary["rate"] is not None  # else the environment does not say what gaming is
        shown = (
            summary
            if known_gaming
            else summary["rewarded"] | {"gamed": summary["rewarded"]["count"], "measure": "rewarded"}
        )
        row[stage] = {name: shown[name] for name in CELL if name in shown}
        row[stage]["well_formed"] = {name: summary["well_formed"][name] for name in ("count", "rate", "interval")}
        mine = rows[rows["stage"] == i]
        used = variant_rate(mine["calls"] > 0, mine["variant"])  # an answer without a command is well formed too
        row[stage]["used_shell"] = {name: used[name] for name in ("count", "rate", "interval")}
        row[stage] |= {name: summary[name] for name in ("goals", "options") if name in summary}
        row[stage]["change"] = None
        if rows is not first:
            compared = rate_difference(
                pair_up(first[first["stage"] == i], mine, "gamed" if known_gaming else "rewarded")
            )
            row[stage]["change"] = {name: compared[name] for name in CHANGE}
    return row
