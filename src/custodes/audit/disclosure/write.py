"""Writing a disclosure: the page, the same as JSON, the forms of others, and a file for what people can add."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from custodes import __version__
from custodes.audit.disclosure.bom import bill_of_materials
from custodes.audit.disclosure.card import model_card
from custodes.audit.disclosure.changes import LineChange, line_changes
from custodes.audit.disclosure.croissant import croissant
from custodes.audit.disclosure.facts import facts_template
from custodes.audit.disclosure.filling import Disclosure, disclose
from custodes.audit.disclosure.forms import FORMS, form_text
from custodes.audit.disclosure.history import opened_history
from custodes.files import plain_json, save_text
from custodes.ledger.checking import configured_head
from custodes.page import Report, Section, Tile, percent, save_report
from custodes.types import InputError

READING = """A line says what the record holds, with the rows that it comes from. What a person added is marked
“stated, not recorded”: nothing here checks it."""


def write_disclosure(
    ledgers: Sequence[str], out: str | Path, facts: str | Path | None = None, against: Sequence[str] = ()
) -> list[Path]:
    """Disclose what ledgers (files, folders of runs, URLs) hold: writes all files into ``out``; their paths, the page first.

    With ``against``, the ledgers of another run, what changed since is told too. Raises InputError for a ledger that is not
    there or whose chain is broken, for facts of unknown lines, and where nothing can be written.
    """
    with opened_history(ledgers) as history:
        disclosed = disclose(history, None if facts is None else Path(facts))
        if not against:
            return _write(disclosed, None, Path(out))
        with opened_history(against) as other:
            return _write(disclosed, line_changes(disclosed, disclose(other)), Path(out))


def _write(disclosure: Disclosure, changes: Sequence[LineChange] | None, out: Path) -> list[Path]:
    page, data = out / "disclosure.html", out / "disclosure.json"
    told = dict(plain_json(disclosure)) | ({} if changes is None else {"changes": plain_json(list(changes))})
    save_report(_page(disclosure, changes), page, (data, told))
    texts = _files(disclosure, out)
    try:
        for name, text in texts.items():
            save_text(out / name, text)
    except OSError as error:
        raise InputError(f"cannot write the disclosure to {out}: {error.strerror}.") from None
    return [page, data, *(out / name for name in texts)]


def _files(disclosure: Disclosure, out: Path) -> dict[str, str]:
    """Name -> text of what is written beside the page."""
    history, lines = disclosure.history, disclosure.lines
    heads = ", ".join(found.head for found in history.verified)
    made = f"Filled by Custodes from the record with the head {heads}."
    described = {
        "croissant.json": croissant(history, lines, out, made),
        "bom.cdx.json": bill_of_materials(history, lines, __version__),
    }
    return {
        "MODEL_CARD.md": model_card(history, lines, made),
        **{name: form_text(title, form, lines, made) for name, (title, form) in FORMS.items()},
        **{name: json.dumps(held, indent=1, ensure_ascii=False) + "\n" for name, held in described.items()},
        "facts.template.yaml": facts_template(lines.values()),
    }


class _Summary(Section[Disclosure]):
    """The counts on top of the page."""

    def tiles(self) -> list[Tile]:
        survey, history = self.source.counted(True), self.source.history
        rows = sum(found.rows for found in history.verified)
        share = percent(survey["recorded"] / survey["lines"])
        return [
            Tile(
                "Filled from the record", f"{survey['recorded']} of {survey['lines']}", f"{share} of the survey's lines"
            ),
            Tile("Stated by a person", str(survey["stated"]), "of the survey's lines, not recorded"),
            Tile("Not recorded", str(survey["neither"]), "of the survey's lines"),
            Tile("Rows of the record", f"{rows:,}", "the chain of hashes holds"),
        ]

    def claims(self) -> list[str]:
        runs = self.source.history.runs
        return [
            f"{place.label}: {place.run.status}, started {place.run.started[:16].replace('T', ' ')} UTC."
            for place in runs
        ]

    def limits(self) -> list[str]:
        return [
            *self.source.history.gaps,
            "That a line is filled does not say that its answer is good; it says where to look.",
        ]


class _Changes(Section[Sequence[LineChange]]):
    """What another record said otherwise."""

    title = "What changed"
    template = """
{% if source %}<p>{{ source | length | number }} values differ from the other record. All others are the same.</p>
<table class="wide-table"><thead><tr><th>Line</th><th>Of what</th><th>Was</th><th>Is</th></tr></thead>
{% for change in source %}<tr><th scope="row"><a href="#{{ change.key }}">{{ change.title }}</a></th><td data-label="of what">{{ change.name }}</td><td class="changed" data-label="was">{{ change.was }}</td><td class="changed" data-label="is">{{ change.now }}</td></tr>
{% endfor %}</table>{% else %}<p>Both records say the same in every line.</p>{% endif %}
"""
    style = """
.wide-table .changed { overflow-wrap: anywhere; min-width: 9rem; }
"""


def _page(disclosure: Disclosure, changes: Sequence[LineChange] | None) -> Report:
    ledgers = disclosure.history.ledgers
    heads = [configured_head(ledger) for ledger in ledgers]
    days = [place.run.started[:10] for place in disclosure.history.runs]
    when = f"of {days[0]}" if len(set(days)) == 1 else f"from {min(days)} to {max(days)}"
    return Report(
        kind="Custodes disclosure",
        title=disclosure.lines["model.unique_name"].stated or "What was done, and what the record says of it",
        subtitle=f"{len(days)} run{'s' if len(days) > 1 else ''} {when}",
        sections=[
            _Summary(disclosure),
            *disclosure.groups,
            *([] if changes is None else [_Changes(changes, "changes")]),
        ],
        head=heads[0],
        more_heads=heads[1:],
        summary="At a glance",
        reading=READING,
    )
