"""Commands of the gameable environments."""

from dataclasses import dataclass, fields
from json import loads
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from custodes.cli.options import parse
from custodes.cli.words import print_json
from custodes.ranges import Count, Port
from custodes.types import InputError

T = TypeVar("T")


def run(given: list[str]) -> int:
    """Measure how often a policy flatters, edits rubrics and rewrites its reward."""
    from custodes.gaming.jobs.run import GamingRun
    from custodes.gaming.jobs.run import gaming_run as run_gaming

    @dataclass(frozen=True, kw_only=True)
    class Options(GamingRun):
        """Measure how often a policy games the curriculum. The same command again goes on where it was interrupted."""

        json: bool = False
        """Print the summary as one JSON object, in place of its path."""

    options = parse("gaming run", Options, ["--n" if word == "-n" else word for word in given])
    return _told(run_gaming(_part(GamingRun, options)), options.json)


def train(given: list[str]) -> int:
    """Train a policy through the curriculum, and measure all stages after every round."""
    from custodes.gaming.jobs.curriculum import GamingTrain, gaming_train

    @dataclass(frozen=True, kw_only=True)
    class Options(GamingTrain):
        """Train a policy through the curriculum and measure all stages after every round. The same command goes on where
        it was interrupted."""

        json: bool = False
        """Print the summary as one JSON object, in place of its path."""

    options = parse("gaming train", Options, given)
    return _told(gaming_train(_part(GamingTrain, options)), options.json)


def _part(kind: type[T], options: Any) -> T:
    """The options of the job alone."""
    return kind(**{f.name: getattr(options, f.name) for f in fields(kind)})  # type: ignore[arg-type]


def _told(path: Path, as_json: bool) -> int:
    """Print where the result is, or what it holds."""
    if as_json:
        print_json(loads(path.read_text(encoding="utf-8")))
    else:
        print(path)
    return 0


def policies(given: list[str]) -> int:
    """List the scripted policies with what each must be classified as."""
    from custodes.gaming.scripted import expectations

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """List the scripted policies with what each must be classified as, stage by stage."""

        json: bool = False
        """Print one JSON object."""

    options = parse("gaming policies", Options, given)
    found = expectations()
    if options.json:
        print_json(found)
        return 0
    for name, policy in found.items():
        print(f"{name}: {policy['about']}")
        for stage, expected in policy["expected"].items():
            print(f"  {stage:<22}{expected}")
    return 0


def report(given: list[str]) -> int:
    """Write the report of a gaming run, or of a training run, again, from its folder."""
    from custodes.gaming.jobs.run import gaming_report as write_again

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Write report.html of a folder that `custodes gaming run` or `custodes gaming train` filled."""

        folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DIR")]]
        """What was given as --out."""

    print(write_again(parse("gaming report", Options, given).folder))
    return 0


def monitor(given: list[str]) -> int:
    """Let a monitor judge the episodes of a run, against what the sandbox saw."""
    from custodes.gaming.jobs.monitor import MonitorRun, monitor_run

    @dataclass(frozen=True, kw_only=True)
    class Options(MonitorRun):
        """Let a monitor judge the episodes of a run, against what the sandbox saw."""

        json: bool = False
        """Print what was measured as one JSON object, in place of the path of monitors.json."""

    options = parse("gaming monitor", Options, given)
    return _told(monitor_run(_part(MonitorRun, options)), options.json)


def compare(given: list[str]) -> int:
    """Compare policies, or mitigations on and off, on the same variants, paired."""
    from custodes.gaming.jobs.compare import compare_runs, print_comparison

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Compare runs on the variants that they share: two; several seeds of each of two policies; or more policies,
        mitigations and options, one row each, against the first."""

        folders: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR_A DIR_B ...")]]
        """What was given to custodes gaming run as --out: two folders or more."""
        measure: str = "gamed"
        """gamed, failed, caught, well_formed, or a fact such as edited-guard."""
        stage: str = ""
        """Only this stage; all that the runs share when it is not given."""
        json: bool = False
        """Print one JSON object."""

    options = parse("gaming compare", Options, given)
    if len(options.folders) < 2:
        raise InputError(f"custodes gaming compare takes two folders or more, not {len(options.folders)}.")
    told = compare_runs(options.folders, options.measure, options.stage)
    if options.json:
        print_json(told)
    else:
        print_comparison(told)
    return 0


def serve(given: list[str]) -> int:
    """Serve a stage to clients of OpenEnv, until interrupted."""
    from custodes.gaming import EnvironmentOptions, StageOptions, make_stage
    from custodes.gaming.variants import Split

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Serve a stage to clients of OpenEnv (pip install openenv-core), until interrupted."""

        stage: str
        """A stage of custodes gaming run, FILE.yaml or FILE.py:Class."""
        split: Split = "train"
        """Variants that are played where a client names none."""
        host: str = "127.0.0.1"
        """Address to listen on. Whoever reaches it can run commands in sandboxes of this machine."""
        port: Port = 8000
        sessions: Count = 16
        """Clients at once."""
        read_only: bool = False
        """Mitigation: files that decide the reward cannot be written."""
        attempts: Count = 1
        """Attempts in one context, the reward shown after each."""
        human_eval: Path | None = None
        """Problems of impossible-tests, in place of the installed package's."""

    options = parse("gaming serve", Options, given)
    try:
        from custodes.gaming.integrations.openenv_server import make_app
        from custodes.gaming.integrations.openenv_server import serve as serve_app
    except ModuleNotFoundError as error:
        raise InputError(f"serving needs {error.name}: pip install openenv-core uvicorn.") from None
    stage = make_stage(options.stage, StageOptions(human_eval=options.human_eval))
    environment = EnvironmentOptions(read_only=options.read_only, attempts=options.attempts)
    serve_app(make_app(stage, options.split, environment, options.sessions), options.host, options.port)
    return 0
