"""Notebooks: every code cell is reviewed by itself, as a file of the name ``NOTEBOOK#cellN``; N counts all cells from 1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from custodes.critic.review.snippets import Problem, parsed_python

NOTEBOOK = ".ipynb"
OTHER_LANGUAGE = re.compile(r"\s*%%(?!time|timeit|capture|prun)")
COMMAND = re.compile(r"^(\s*)(?:[%!?].*|[\w.]+\?\??\s*)$")
ASSIGNED = re.compile(r"^(\s*[\w, ]+=\s*)[%!].*$")


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell: its text with IPython's own commands taken out, and the line of the notebook's file of each of its
    lines."""

    name: str
    text: str
    lines: tuple[int, ...]

    def changed(self, lines: set[int]) -> set[int]:
        """Lines of the cell that stand on these lines of the file."""
        return {n for n, line in enumerate(self.lines, 1) if line in lines} if self.lines else lines

    def line_in_file(self, line: int) -> int:
        return self.lines[min(line, len(self.lines)) - 1] if self.lines else line


def cells_of(file: str, text: str) -> tuple[list[Cell], Problem | None]:
    """The Python cells of a notebook, or why it cannot be read. A notebook in another language has none."""
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [], Problem(file, getattr(error, "lineno", 0), f"is no notebook: it is not JSON ({error})")
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells", notebook.get("worksheets")), list):
        return [], Problem(file, 0, "is no notebook: a notebook is a JSON object with a list of cells")
    try:
        cells = notebook["cells"] if "cells" in notebook else _of_version_3(notebook)
        about = notebook.get("metadata", {})
        spoken = about.get("language_info", {}).get("name") or about.get("kernelspec", {}).get("language") or "python"
    except (TypeError, KeyError, AttributeError):
        return [], Problem(file, 0, "is no notebook: its cells or its metadata are no JSON objects")
    read = [_source(cell) for cell in cells]
    wrong = [n for n, pieces in enumerate(read, 1) if pieces is None]
    sources = [pieces or [] for pieces in read]
    whole = ["".join(pieces) for pieces in sources]
    if "python" not in str(spoken).lower():
        return [], None
    found = []
    for number, (cell, code, lines) in enumerate(zip(cells, whole, _stored_at(text, sources), strict=True), 1):
        if code.strip() and cell.get("cell_type") == "code" and not OTHER_LANGUAGE.match(code):
            found.append(Cell(f"{file}#cell{number}", _python_of(code), tuple(lines)))
    told = f"cell {wrong[0]} holds no text, and was not reviewed" if wrong else ""
    return found, Problem(file, 0, told) if told else None


def _source(cell: Any) -> list[str] | None:
    """The text of a cell in pieces; None where it is no cell, or holds no text."""
    source = cell.get("source", "") if isinstance(cell, dict) else None
    pieces: list[Any] = source if isinstance(source, list) else [source]
    return pieces if all(isinstance(piece, str) for piece in pieces) else None


def _of_version_3(notebook: Any) -> list[dict[str, Any]]:
    cells = [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
    return [{**cell, "source": cell.get("input", cell.get("source", ""))} for cell in cells]


def _python_of(code: str) -> str:
    """The code, with IPython's commands taken out where Python cannot read it as it is."""
    lines = code.split("\n")
    return "\n".join(map(_plain, lines)) if isinstance(parsed_python(lines), SyntaxError) else code


def _plain(line: str) -> str:
    """A line that Python can read, of the same indentation; a command of IPython does nothing in it."""
    if match := COMMAND.match(line):
        return f"{match[1]}pass"
    return f"{match[1]}None" if (match := ASSIGNED.match(line)) else line


def _stored_at(text: str, sources: list[list[str]]) -> Iterator[list[int]]:
    """For each cell, the line of the file on which each line of its source stands.

    A notebook keeps each line as a JSON text on a line of its own, behind the key "source". Where that is not so, the last
    line that is known stands for what follows.
    """
    at, line = 0, 1
    for pieces in sources:
        key = max(text.find('"source"', at), text.find('"input"', at) if '"worksheets"' in text else -1, at)
        line, at = line + text.count("\n", at, key), key
        lines: list[int] = []
        for piece in pieces:
            written = (json.dumps(piece, ensure_ascii=False), json.dumps(piece))
            place = next((p for p in (text.find(w, at) for w in written) if p >= 0), at)
            line, at = line + text.count("\n", at, place), place
            lines += [line] * (piece.count("\n") + (not piece.endswith("\n")))
        if not pieces or pieces[-1].endswith("\n"):
            lines.append(line)
        yield lines
