"""The review in a terminal: quoted lines highlighted where they stand, the comment beside them."""

from __future__ import annotations

import re

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from custodes.critic.review.reviewed import Review, Reviewed
from custodes.critic.review.snippets import lines_of

ANSWER = re.compile(r"#\d+$")  # a row of a file of answers
AROUND = 1  # lines shown before and after a quote


def show(review: Review, console: Console) -> None:
    """Print every finding, what was not reviewed, and a summary."""
    for finding in review.findings:
        also = f", also {', '.join(str(start) for start, _ in finding.places[1:])}" if finding.places[1:] else ""
        console.print(Text(f"{finding.file}:{finding.line}{also}", style="bold"))
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(ratio=3)
        table.add_column(ratio=2)
        comment = Text(finding.message)
        comment.append(f"\nconfidence {finding.confidence:.0%}", style="dim")
        table.add_row(_lines(finding, review.texts[finding.file]), comment)
        console.print(table)
        console.print()
    for problem in review.problems:
        console.print(Text(f"not reviewed: {problem}", style="yellow"))
    if review.died:
        console.print(Text(f"stopped: {review.died}", style="red"))
    console.print(Text(summary(review), style="dim"))


def summary(review: Review) -> str:
    """One line about the whole review."""
    count = len(review.findings)
    parts = [
        f"{count} {'finding' if count == 1 else 'findings'} in {review.files} {'file' if review.files == 1 else 'files'}"
    ]
    pieces = "piece" if review.snippets == 1 else "pieces"
    parts.append(f"{review.snippets} {pieces}, {review.cached} from the cache")
    if review.hidden:
        parts.append(f"{review.hidden} hidden")
    nothing = review.snippets and not review.findings and not review.hidden
    return "; ".join(parts) + "." + (" A higher --strictness shows what is less likely." if nothing else "")


def _lines(finding: Reviewed, text: str) -> Syntax:
    lines = lines_of(text)
    shown = (max(1, finding.line - AROUND), min(len(lines), finding.end_line + AROUND))
    syntax = Syntax(
        "\n".join(lines),
        "text" if ANSWER.search(finding.file) else "python",
        theme="ansi_dark",
        background_color="default",
        line_numbers=True,
        line_range=shown,
        highlight_lines=set(range(finding.line, finding.end_line + 1)),
        word_wrap=True,
    )
    for number in range(finding.line, finding.end_line + 1):
        syntax.stylize_range("reverse", (number, _indent(lines[number - 1])), (number, len(lines[number - 1])))
    return syntax


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
