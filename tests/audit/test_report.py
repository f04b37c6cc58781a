"""The page stands alone, escapes what models wrote, and says the same as the JSON."""

import json
import re
from pathlib import Path

import pytest

from custodes.audit import audit_run, write_report
from custodes.ledger import Ledger
from custodes.types import InputError


@pytest.fixture(scope="module")
def report(recorded_run: tuple[Ledger, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    page, data = write_report(*recorded_run, tmp_path_factory.mktemp("report") / "new" / "folder")
    return page.read_text(encoding="utf-8"), json.loads(data.read_text(encoding="utf-8"))


def test_nothing_is_fetched_and_nothing_runs(report: tuple[str, dict]) -> None:
    page = report[0]
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, not places
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|url\((?!#)", page)


def test_texts_of_models_are_escaped(report: tuple[str, dict]) -> None:
    assert "&lt;script&gt;alert(" in report[0]


def test_every_chart_has_a_title_and_ids_of_its_own(report: tuple[str, dict]) -> None:
    svgs = re.findall(r"<svg .*?</svg>", report[0], flags=re.S)
    assert len(svgs) > 10
    assert all('role="img" aria-label="' in svg and "<title>" in svg for svg in svgs)
    owners: dict[str, int] = {}
    for k, svg in enumerate(svgs):
        for name in set(re.findall(r'\bid="([^"]+)"', svg)):
            assert owners.setdefault(name, k) == k
    for k, svg in enumerate(svgs):
        assert all(owners[name] == k for name in re.findall(r"url\(#([^)]+)\)", svg))


def test_page_and_json_hold_the_same_headline(report: tuple[str, dict]) -> None:
    page, data = report
    assert f"{data['headline']['gold_base']:.3f} → {data['headline']['gold_optimised']:.3f}" in page
    assert data["provenance"]["ledger"]["head"] in page
    assert data["provenance"]["ledger"]["ok"] is True
    assert data["provenance"]["command"] in page


def test_simulated_judges_are_called_simulated(report: tuple[str, dict]) -> None:
    assert "24 simulated judges" in report[0]


def test_the_page_of_an_empty_run_says_what_was_not_recorded(empty_run: tuple[Ledger, str]) -> None:
    page = audit_run(*empty_run).html()
    assert page.count("not recorded") > 8
    assert "<svg" not in page


def test_a_folder_that_cannot_be_written_is_one_sentence(empty_run: tuple[Ledger, str], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot write the report to"):
        write_report(*empty_run, tmp_path / "taken")
