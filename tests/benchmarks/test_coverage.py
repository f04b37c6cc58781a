"""The table of docs/explanation/intervals.md, again with 40 data sets a row."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
WEAK = {"a mean, 5 log-normal values", "a paired difference of means, 20 pairs of which 9 in 10 are equal"}
"""What the page says covers less often."""


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))  # for its neighbour result.py
    try:
        spec = importlib.util.spec_from_file_location("coverage_of_intervals", ROOT / "benchmarks" / "coverage.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def test_every_interval_holds_the_truth_as_often_as_the_page_says(coverage: ModuleType) -> None:
    rows = [coverage.measure(cell, 40) for cell in coverage.cells()]
    shares = {f"{row.cell.of}, {row.cell.where}": row.held.estimate for row in rows}
    low = {name: share for name, share in shares.items() if share < (0.75 if name in WEAK else 0.825)}
    assert not low
    assert np.mean(list(shares.values())) > 0.94
    assert not [row.cell for row in rows if row.width == 0 and row.cell.of != "a paired test"]


def test_the_table_of_the_page_has_every_row_and_is_no_worse_than_its_bound(coverage: ModuleType) -> None:
    page = (ROOT / "docs" / "explanation" / "intervals.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| \**([01.]?\.?\d+)\** \|[^|]*\|$", page, re.MULTILINE)
    assert [(of, where) for of, where, _ in rows] == [(cell.of, cell.where) for cell in coverage.cells()]
    assert all(float(share) >= 0.89 for _, _, share in rows)
    assert sum(float(share) < 0.93 for _, _, share in rows) <= 3
