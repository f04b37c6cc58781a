"""A section of a report: what it reads, says, draws and misses, in one class of one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

S = TypeVar("S")
"""What a report's sections read: a recorded run, a summary."""


class Tile(NamedTuple):
    """A number of the summary on top of the page; a ``value`` of None is "not recorded"."""

    label: str
    value: str | None
    note: str = ""


class Section(Generic[S]):
    """One section. A subclass sets ``title`` and ``template``, and :meth:`read` where there is something to read; all else is optional.

    The template is Jinja. It sees ``figures``, ``charts``, ``source`` and ``section``, the macros of
    ``templates/parts.html.j2`` (``row``, ``cell``, ``figure``, ``absent`` ...) and the filters ``number``, ``signed``,
    ``percent``, ``duration``, ``plain_name``. What it prints is escaped.
    """

    title: str = ""
    template: str = ""
    place: ClassVar[float] = 50
    """Sections stand on the page in this order."""
    rank: ClassVar[float] = 50
    """Their tiles and claims stand in the summary in this order."""
    style: ClassVar[str] = ""
    """CSS that this section adds to the page's own."""

    def __init__(self, source: S, name: str = "", title: str = "") -> None:
        """Reads the figures. ``name`` is their key in the JSON, by default the class's own name."""
        self.source = source
        self.name = name or type(self).__name__.lower()
        self.title = title or self.title
        self.figures = self.read()

    def read(self) -> Any:
        """The figures, from ``self.source``: numbers, texts, intervals, lists and dicts. None or empty: not recorded.

        A section whose source is figures already reads nothing.
        """
        return None

    def headline(self) -> Mapping[str, Any]:
        """Figures that scripts rely on; with None where they are not recorded, so that the names are always there."""
        return {}

    def tiles(self) -> Sequence[Tile]:
        """The most important numbers, for the top of the page."""
        return ()

    def claims(self) -> Sequence[str]:
        """What the figures show: sentences."""
        return ()

    def charts(self) -> Mapping[str, Any]:
        """Charts as SVG (:func:`custodes.page.charts.inline_svg`) by name, or by name and arm. Drawn for the page alone."""
        return {}

    def limits(self) -> Sequence[str]:
        """What a reader must not conclude: sentences."""
        return ()

    def missing(self) -> Sequence[str]:
        """What this section would show and the source does not hold."""
        return ()
