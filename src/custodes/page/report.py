"""A report: sections on one page that needs no network, and the same content as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from custodes.files import plain_json, save_json, save_text
from custodes.ledger.heads import Head
from custodes.page.numbers import NUMBER_FORMS, duration, number, p_value, percent, plain_name, points, signed
from custodes.page.section import Section
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page's sections in the order in which they are shown, and what stands above and below them.

    ``summary`` titles the tiles and claims of all sections on top; without it there is no such part. ``head`` is the
    ledger's, for the footer.
    """

    kind: str
    title: str
    subtitle: str
    sections: Sequence[Section[Any]]
    head: Head | None
    more_heads: Sequence[Head] = ()  # of the other ledgers, where a page is of several
    about: str = ""  # below the subtitle
    summary: str = ""
    reading: str = ""  # how to read the numbers, below the claims; HTML where it is a Markup

    def __getitem__(self, name: str) -> Any:
        """The figures of the section of this name."""
        return next(section.figures for section in self.sections if section.name == name)

    @cached_property
    def headline(self) -> dict[str, Any]:
        """The numbers that scripts rely on; None is "not recorded"."""
        return {key: value for section in self.sections for key, value in section.headline().items()}

    @cached_property
    def claims(self) -> list[str]:
        return [claim for section in self._ranked() for claim in section.claims()]

    @cached_property
    def missing(self) -> list[str]:
        return [what for section in self.sections for what in section.missing()]

    def _ranked(self) -> list[Section[Any]]:
        return sorted(self.sections, key=lambda section: section.rank)

    def to_json(self) -> dict[str, Any]:
        """Headline, claims, every section's figures and what is missing, as plain JSON."""
        figures = {section.name: section.figures for section in self.sections}
        whole = {"headline": self.headline, "claims": self.claims, **figures, "missing": self.missing}
        return dict(plain_json(whole))

    def html(self) -> str:
        """The page as text. Everything that came from models or people is escaped."""
        environment = _environment()
        shown = []
        for section in self.sections:
            seen = {
                "section": section,
                "figures": section.figures,
                "charts": section.charts(),
                "source": section.source,
            }
            try:
                body = environment.from_string(section.template).render(seen)
            except (TemplateError, TypeError, ValueError, LookupError) as error:
                raise InputError(f"the template of the section {section.name!r} fails: {error}.") from error
            if body.strip():  # a section that has nothing to say of this source is left out
                shown.append((section, Markup(body)))  # escaped when it was rendered
        return environment.get_template("page.html.j2").render(
            report=self,
            shown=shown,
            tiles=[tile for section in self._ranked() for tile in section.tiles()],
            limits=[limit for section in self.sections for limit in section.limits()],
            styles=dict.fromkeys(section.style for section in self.sections),
            style=files("custodes.page").joinpath("templates/page.css").read_text(encoding="utf-8"),
        )


def save_report(report: Report, page: Path, twin: tuple[Path, Mapping[str, Any]] | None = None) -> Path:
    """Write the page, and beside it ``twin``, a file with the same content as JSON; returns the page's path.

    Raises InputError where they cannot be written.
    """
    text = report.html()
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        save_text(page, text)
        if twin is not None:
            save_json(*twin, indent=1, allow_nan=False)
    except OSError as error:
        raise InputError(f"cannot write the report to {page.parent}: {error.strerror}.") from None
    return page


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("custodes.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (number, signed, percent, points, p_value, duration, plain_name)
    environment.filters |= {written.__name__: written for written in filters}
    environment.filters["form"] = lambda value, form: NUMBER_FORMS[form](value)
    parts = environment.get_template("parts.html.j2").module
    environment.globals |= {name: macro for name, macro in vars(parts).items() if not name.startswith("_")}
    return environment
