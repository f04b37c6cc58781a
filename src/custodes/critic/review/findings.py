"""What a review found, and how it is shown to people: in a terminal and in a pipe."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from custodes.critic.review.evidence import TITLES, Evidence, FunctionRun, runs_in_words
from custodes.critic.review.notebooks import Cell
from custodes.critic.review.places import repository_path
from custodes.critic.review.question import plain_question
from custodes.critic.review.snippets import Problem, lines_of, plain_kind

ARGUMENT = "argument only"
ANSWER = re.compile(r"#\d+$")  # a row of a file of answers
AROUND = 1  # lines shown before and after a quote


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One finding in a file; ``places`` lists every line range that the quote may mean, the first is ``line``.

    ``name`` is the function or method that it is in, "module" for code outside. Without ``evidence`` it is an argument only;
    ``suspicion`` then names the kind of bug, where that is known. ``content`` names the piece of code that it is in.
    """

    file: str
    line: int
    end_line: int
    quote: str
    message: str
    confidence: float
    places: tuple[tuple[int, int], ...]
    name: str = "module"
    evidence: Evidence | None = None
    suspicion: str = ""
    content: str = ""

    @property
    def kind(self) -> str:
        """What the finding rests on."""
        return self.evidence.kind if self.evidence else ARGUMENT

    @property
    def kinds(self) -> set[str]:
        """The names under which a comment can ignore it."""
        return {plain_kind(kind) for kind in (self.kind, self.suspicion) if kind}

    @property
    def fingerprint(self) -> str:
        """The same after lines have moved: of the file's path from its repository, the function, the quote and the kind of
        evidence."""
        shown = f"{repository_path(self.file)}\0{self.name}\0{' '.join(self.quote.split())}"
        shown += f"\0{self.kind}" if self.evidence else ""
        return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()[:20]


@dataclass(slots=True)
class Review:
    """Findings in the order of files, those with evidence first, then by confidence; ``died`` says why not all was reviewed."""

    findings: list[Reviewed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    snippets: int = 0
    cached: int = 0
    hidden: int = 0  # by a comment, the baseline, or the lines of a diff
    died: str = ""
    texts: dict[str, str] = field(default_factory=dict, repr=False)  # of every file, as it was read
    occurring: list[tuple[Reviewed, int]] = field(default_factory=list, repr=False)  # shown or known, and how often
    whole: list[str] = field(default_factory=list, repr=False)  # files of which every line was reviewed
    cells: dict[str, Cell] = field(default_factory=dict, repr=False)  # of notebooks, by their names

    def stored_at(self, file: str, line: int) -> int:
        """The line of the file on disk: of a cell's line, that of the notebook."""
        return self.cells[file].line_in_file(line) if file in self.cells else line

    runs: list[FunctionRun] = field(default_factory=list, repr=False)  # which functions were run


# ---------------------------------------------------------------- for people


def show(review: Review, console: Console) -> None:
    """Print every finding with its quoted lines highlighted, what was not reviewed, and a summary."""
    for finding in review.findings:
        also = f", also {', '.join(str(start) for start, _ in finding.places[1:])}" if finding.places[1:] else ""
        console.print(Text(f"{finding.file}:{finding.line}{also}", style="bold"))
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(ratio=3)
        table.add_column(ratio=2)
        table.add_row(_highlighted(finding, review.texts[finding.file]), _comment(finding))
        console.print(table)
        if finding.evidence:
            console.print(Text("a test to paste:", style="dim"))
            console.print(
                Syntax(finding.evidence.test.rstrip(), "python", theme="ansi_dark", background_color="default")
            )
        console.print()
    for problem in review.problems:
        console.print(Text(f"not reviewed: {problem}", style="yellow"))
    if review.died:
        console.print(Text(f"stopped: {review.died}", style="red"))
    console.print(Text(summary(review), style="dim"))


def _comment(finding: Reviewed) -> Text:
    """What is said beside the quote: with evidence, what was called, what came, and what was promised by whom."""
    said = finding.evidence
    comment = Text(TITLES[said.kind], style="bold") if said else Text(finding.message)
    if said:
        for label, value in said.rows.items():
            comment.append(f"\n{label:<9}", style="dim").append(plain_question(value), style="default not bold")
    comment.append(f"\nconfidence {finding.confidence:.0%}", style="dim not bold")
    return comment


def summary(review: Review) -> str:
    """One line about the whole review, and which functions were run."""
    findings, files = _counted(len(review.findings), "finding"), _counted(review.files, "file")
    parts = [f"{findings} in {files}"]
    parts += [f"{_counted(review.snippets, 'piece')}, {review.cached} from the cache"] if review.snippets else []
    parts += [runs] if (runs := runs_in_words(review.runs)) else []
    parts += [f"{review.hidden} hidden"] if review.hidden else []
    nothing = review.snippets and not review.findings and not review.hidden
    return "; ".join(parts) + "." + (" A higher --strictness shows what is less likely." if nothing else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else f'{noun}s'}"


def _highlighted(finding: Reviewed, text: str) -> Syntax:
    lines, quoted = lines_of(text), range(finding.line, finding.end_line + 1)
    syntax = Syntax(
        "\n".join(lines),
        "text" if ANSWER.search(finding.file) else "python",
        theme="ansi_dark",
        background_color="default",
        line_numbers=True,
        line_range=(max(1, finding.line - AROUND), min(len(lines), finding.end_line + AROUND)),
        highlight_lines=set(quoted),
        word_wrap=True,
    )
    for number in quoted:
        line = lines[number - 1]
        syntax.stylize_range("reverse", (number, len(line) - len(line.lstrip())), (number, len(line)))
    return syntax


def findings_text(review: Review) -> str:
    """One finding a line with its quote below, for a pipe."""
    lines = []
    for f in review.findings:
        place, *others = (str(a) if a == b else f"{a}-{b}" for a, b in [(f.line, f.end_line), *f.places[1:]])
        also = f" (also {', '.join(others)})" if others else ""
        lines.append(f"{f.file}:{place}: {f.message} [{f.kind}, {f.confidence:.0%}]{also}")
        lines += [f"    {line}" for line in f.quote.split("\n")]
        lines += [f"    | {line}".rstrip() for line in f.evidence.test.rstrip().split("\n")] if f.evidence else []
    return "\n".join(lines)
