"""Commands of the gameable environments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from custodes.cli.options import parse
from custodes.cli.words import print_json


def run(given: list[str]) -> int:
    """Measure how often a policy flatters, edits rubrics and rewrites its reward."""
    from custodes.recipes.gaming import GamingRun
    from custodes.recipes.gaming import gaming_run as run_gaming

    print(run_gaming(parse("gaming run", GamingRun, ["--n" if word == "-n" else word for word in given])))
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
    """Write the report of a gaming run again, from its folder."""
    from custodes.recipes.gaming import gaming_report as write_again

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """Write report.html of a folder that `custodes gaming run` filled."""

        folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DIR")]]
        """What was given as --out."""

    print(write_again(parse("gaming report", Options, given).folder))
    return 0
