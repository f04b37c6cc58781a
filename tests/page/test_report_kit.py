"""The kit: sections in order, everything escaped, the twin beside the page, and the head at the foot."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import altair as alt
import pytest

from custodes.ledger import Ledger
from custodes.page import Report, Section, Tile, save_report
from custodes.page.charts import chart_data, end_labels, inline_svg
from custodes.stats import Interval
from custodes.types import InputError

EVIL = "</style><script>alert(1)</script>"


class Early(Section[dict]):
    title = "Early"
    place, rank = 1, 9
    template = "{{ row('rate', figures.rate, 'percent') }}{{ interval(figures.open) }}{{ figures.text }}"

    def read(self) -> dict:
        return {"rate": Interval(0.5, 0.25, 0.75, 8), "open": Interval(2.0, 1.0, float("inf"), 3), **self.source}

    def claims(self) -> list[str]:
        return ["early"]

    def headline(self) -> dict:
        return {"rate": self.figures["rate"].estimate}


class Late(Section[dict]):
    title = "Late"
    place, rank = 2, 1
    template = "{% if figures %}{{ figures.text }}{% else %}{{ absent('Late things') }}{% endif %}"

    def claims(self) -> list[str]:
        return ["late"]

    def tiles(self) -> list[Tile]:
        return [Tile("Nothing", None)]

    def missing(self) -> list[str]:
        return ["late things"]


def report(**more: object) -> Report:
    sections = [Early({"text": EVIL}), Late({})]
    return Report(
        **{"kind": "Test", "title": EVIL, "subtitle": EVIL, "sections": sections, "head": None, "summary": "All"} | more
    )  # type: ignore[arg-type]


def test_sections_stand_in_their_order_and_claims_in_theirs() -> None:
    page = report().html()
    assert re.findall(r'<h2 id="s-(\w+)">', page) == ["summary", "early", "late", "missing"]
    assert report().claims == ["late", "early"]
    assert report()["early"]["rate"].n == 8


def test_everything_is_escaped_and_what_is_missing_is_said() -> None:
    page = report().html()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4  # the title twice, the subtitle, the figures
    assert '50.0\u00a0%</b> <span class="ci">[25.0\u00a0%, 75.0\u00a0%]' in page
    assert "[1.00, ∞]" in page
    for said in (
        "Late things: not recorded.",
        "<li>late things</li>",
        '<dd class="none">not recorded</dd>',
        "head: not recorded",
    ):
        assert said in page


def test_the_twin_holds_the_figures_as_finite_json(tmp_path: Path) -> None:
    page = save_report(report(), tmp_path / "new/page.html", (tmp_path / "new/page.json", report().to_json()))
    assert page.read_text().startswith("<!doctype html>")
    twin = json.loads((tmp_path / "new/page.json").read_text())
    assert twin["early"]["open"] == {"estimate": 2.0, "low": 1.0, "high": None, "n": 3}
    assert (twin["headline"], twin["late"], twin["missing"]) == ({"rate": 0.5}, None, ["late things"])


def test_the_head_at_the_foot_is_the_ledgers(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.start_run("test", {}, 0)
        head = ledger.head()
        (shown,) = re.findall("the head <code>([0-9a-f]{64})</code>", report(head=head).html())
        assert ledger.row_of(shown) == head.rows > 0


def test_a_template_that_fails_is_one_sentence_with_the_sections_name() -> None:
    Late.template, before = "{{ figures.nothing }}", Late.template
    try:
        with pytest.raises(InputError, match="template of the section 'late' fails"):
            report().html()
    finally:
        Late.template = before


def test_two_charts_share_no_id() -> None:
    def svg(n: int) -> str:
        rows = chart_data([{"x": i, "y": i} for i in range(n)])
        return inline_svg(alt.Chart(rows).mark_line(clip=True).encode(x="x:Q", y="y:Q"), f"{n} <points>")

    ids = [set(re.findall(r'\bid="([^"]+)"', svg(n))) for n in (3, 4)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert 'aria-label="3 &lt;points&gt;"' in svg(3)


def test_names_beside_close_points_do_not_overlap_and_stay_below_the_top() -> None:
    ends = [{"x": 1.0, "y": y, "label": str(y)} for y in (0.99, 1.0, 0.2, 0.2)]
    (layer,) = end_labels(ends, alt.X("x:Q"), alt.Y("y:Q"), 1.0, pixels=140, top=1.0)
    heights = sorted(row["y"] for row in layer.data.values)
    assert max(heights) <= 1.0
    assert all(b - a > 0.0999 for a, b in pairwise(heights))
