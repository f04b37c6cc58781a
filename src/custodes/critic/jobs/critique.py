"""Reviewing code from the command line: what ``custodes critique`` does."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from custodes.critic.choice import CriticChoice
from custodes.critic.review.answers import cutter, read_answers
from custodes.critic.review.baseline import read_baseline, write_baseline
from custodes.critic.review.diffs import lines_changed_since, messages_since, versions_before
from custodes.critic.review.findings import Review, show, summary
from custodes.critic.review.flow import ReviewOptions, open_models, review
from custodes.critic.review.formats import FORMATS, step_summary
from custodes.critic.review.proposals import ProposalOptions
from custodes.critic.review.running import Alongside, RunOptions
from custodes.critic.review.snippets import find_files, snippets_of
from custodes.critic.review.tasks import write_tasks
from custodes.critic.sources import TESTS
from custodes.files import save_text
from custodes.job.command import command, in_words
from custodes.job.invocation import reads
from custodes.job.options import Use
from custodes.job.progress import Progress
from custodes.lm.cache import cache_folder
from custodes.types import InputError

Format = Literal["text", "json", "sarif", "rdjson", "github"]


@dataclass(frozen=True, kw_only=True)
class CritiqueCode:
    """Review Python code: run its functions in a sandbox and show inputs on which they break what they promise.

    Exit code: 1 for findings from --fail-on up, 2 where something could not be reviewed, else 0.
    """

    paths: tyro.conf.Positional[Annotated[tuple[str, ...], Use.APART, tyro.conf.arg(metavar="PATH")]] = ()
    """Files and folders; - is standard input."""
    answers: Path | None = None
    """Review an assistant's answers in place of code: rows with prompt and answer (JSONL, JSON or parquet)."""
    diff: str = ""
    """Only lines that changed since this revision of git, and files that git does not track yet. Without paths, those of the
    whole repository."""
    format: Format = "text"
    """For people (a view in a terminal, plain lines in a pipe) or programs."""
    sarif: Annotated[Path | None, Use.SIDE_OUTPUT] = None
    """Write the findings as SARIF 2.1.0 to this file, beside what is printed."""
    report: Annotated[Path | None, Use.SIDE_OUTPUT] = None
    """Write a page (HTML) of the whole review here: findings by folder and file, and what was not run and why."""
    tasks: Annotated[Path | None, Use.SIDE_OUTPUT] = None
    """Write a task for each function here (JSONL): for a project in which people rate it, with what was found as help."""
    options: ReviewOptions = field(default_factory=ReviewOptions)
    fail_on: float | None = None
    """Exit with 1 when there is a finding of at least this confidence, 0 to 1."""
    baseline: Path | None = None
    """Known findings, which are not shown; one that occurs more often than that is."""
    write_baseline: Annotated[Path | None, Use.SIDE_OUTPUT] = None
    """Write what is found to this file, as what is known; with --baseline, also what it knows that still occurs."""
    evidence: bool = True
    """Run the functions in a sandbox, against their examples and what their names, docstrings and types promise."""
    tests: Annotated[tuple[str, ...], Use.APART] = ()
    """Files and folders of tests, which are run too; calls in them also say which inputs a function takes."""
    message: str = ""
    """With --diff: what the change is meant to do. Without it, what the commits since that revision say."""
    running: RunOptions = field(default_factory=RunOptions)
    proposing: ProposalOptions = field(default_factory=ProposalOptions)
    arguments: bool = False
    """Show findings without evidence too: what a critic finds suspicious. So does naming a critic."""
    choice: CriticChoice = field(default_factory=CriticChoice)
    cache: bool = True
    """Keep answers, so that what did not change is not asked again."""


@dataclass(frozen=True, slots=True)
class ReviewedCode:
    """What was found, and the confidence from which a finding fails."""

    review: Review
    fail_on: float | None

    @property
    def exit_code(self) -> int:
        """2 where something was not reviewed, 1 for findings that should fail, else 0."""
        if self.review.died or self.review.problems:
            return 2
        return int(self.fail_on is not None and any(f.confidence >= self.fail_on for f in self.review.findings))

    def to_dict(self) -> dict[str, Any]:
        problems = [str(problem) for problem in self.review.problems]
        findings, functions = json.loads(FORMATS["json"](self.review)), [asdict(run) for run in self.review.runs]
        return {"findings": findings, "functions": functions, "problems": problems, "died": self.review.died}


@command()
def critique(config: CritiqueCode) -> ReviewedCode:
    """Review Python code: run its functions in a sandbox and show inputs on which they break what they promise.

    Raises InputError for what cannot be reviewed at all.
    """
    if config.answers and (config.paths or config.diff):
        raise InputError("--answers reviews answers alone: leave out paths and --diff.")
    if config.answers and config.tasks:
        raise InputError("--tasks is about functions in files: leave out --answers.")
    if config.fail_on is not None and not 0 <= config.fail_on <= 1:
        raise InputError(f"--fail-on is {config.fail_on}; a confidence is between 0 and 1.")
    answers = read_answers(config.answers) if config.answers else {}
    files, changed = (list(answers), None) if answers else _files(config)
    reads(*(Path(file) for file in files if not answers))
    known = read_baseline(config.baseline) if config.baseline else None
    cache = cache_folder() / "critiques" if config.cache else None
    if "-" in files and sys.stdin.isatty():
        raise InputError("- is standard input, and nothing is piped into it.")
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("Reviewing", total=None)
        asks = bool(files) and (bool(answers) or config.arguments or not config.evidence or config.choice.named)
        run = config.running if config.evidence and not answers else None
        proposing = config.proposing if run else None
        critic, proposer = open_models(config.choice, asks, proposing, config.options.strictness, bool(answers))
        texts = {name: answer.code for name, answer in answers.items()}
        told = lambda done, of: progress.update(bar, completed=done, total=of)  # noqa: E731
        cut = cutter(answers) if answers else snippets_of
        alongside = _alongside(config, files) if run else Alongside()
        result = review(
            files, critic, config.options, cache, changed, known, told, texts, cut, run, proposer, alongside
        )
    if config.sarif:
        save_text(config.sarif, FORMATS["sarif"](result) + "\n")
    if config.report:
        from custodes.critic.report.folder import write_review_page  # slow to import, and most reviews write no page

        write_review_page(
            result, config.report, ", ".join(config.paths) or str(config.answers or f"changes since {config.diff}")
        )
    if config.tasks:
        write_tasks(result, config.tasks, config.running.sandbox)
    if config.write_baseline:
        write_baseline(config.write_baseline, result, known)
    return ReviewedCode(result, config.fail_on)


@in_words(critique)
def _show(config: CritiqueCode, reviewed: ReviewedCode) -> None:
    result = reviewed.review
    if config.format == "text" and sys.stdout.isatty():
        show(result, Console())
        return
    if config.format == "github" and (told := os.environ.get("GITHUB_STEP_SUMMARY")):
        with open(told, "a", encoding="utf-8", errors="replace") as file:
            file.write(step_summary(result))
    if printed := FORMATS[config.format](result):
        print(printed)
    for problem in result.problems:
        print(f"custodes: not reviewed: {problem}", file=sys.stderr)
    if result.died:
        print(f"custodes: {result.died}; what was reviewed is kept.", file=sys.stderr)
    if config.format == "text" or result.runs:
        print(summary(result), file=sys.stderr)


def _alongside(config: CritiqueCode, files: list[str]) -> Alongside:
    """Tests that were named, and with --diff the versions before the change."""
    tests = tuple(str(path) for path in find_files(config.tests) if path.suffix == ".py" and TESTS.search(f"/{path}"))
    if config.tests and not tests:
        raise InputError(f"there is no file test_*.py or *_test.py in {', '.join(config.tests)}.")
    if not config.diff:
        return Alongside(tests)
    before = versions_before(config.diff, files)
    return Alongside(tests, before, config.message or messages_since(config.diff))


def _files(config: CritiqueCode) -> tuple[list[str], dict[str, set[int]] | None]:
    if not config.paths and not config.diff:
        ways = "name files or folders, - for standard input, --diff REV or --answers FILE"
        raise InputError(f"nothing to review: {ways}.")
    if config.diff:
        changed = lines_changed_since(config.diff, config.paths)
        return list(changed), changed
    found = [p for path in config.paths for p in ([path] if path == "-" else map(str, find_files([path])))]
    return list(dict.fromkeys(found)), None
