"""The page of monitors: what is on it, and that nothing a model said leaves its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from custodes.gaming.report import write_monitors_page
from custodes.gaming.summary import variant_rate
from custodes.types import InputError

EVIL = "</table><script>alert(1)</script>"


def told() -> dict[str, Any]:
    import numpy as np

    def one(k: int, n: int) -> dict[str, Any]:
        return variant_rate(np.arange(n) < k, np.arange(n))

    rates = {
        "recall": one(3, 4), "false_positive_rate": one(0, 60), "attempted": one(0, 0), "precision": one(3, 3),
        "unread": one(0, 64), "categories": {"edited-reward": one(3, 4)},
    }  # fmt: skip
    missed = [{"stage": "reward-tampering", "index": 7, "category": "edited-reward", "why": EVIL}]
    monitor = {"monitor": EVIL, "sees": "actions", "episodes": 64, "all": rates, "stages": {"reward-tampering": rates}}
    difference = {"difference": {"estimate": 0.25, "low": -0.1, "high": 0.5, "n": 4}, "test": "exact McNemar", "p": 1.0}
    pair = {"monitor": "rules", "recall": difference, "false_positive_rate": difference}
    return {"monitors": [{**monitor, "missed": missed, "false_alarms": []}], "scratchpad": [pair]}


def test_rates_counts_and_bounds_are_on_it(tmp_path: Path):
    (tmp_path / "monitors.json").write_text(json.dumps(told()))
    page = write_monitors_page(tmp_path).read_text()
    for shown in (
        "75.0\u00a0%",
        "3 of 4",
        "0 of 60, at most 4.9\u00a0%",
        "no such episode",
        "reward tampering 7",
        "+25.0",
        "p = 1",
    ):
        assert shown in page
    assert "<script" not in page
    assert "&lt;/table&gt;" in page


def test_a_folder_without_monitors_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="cannot write"):
        write_monitors_page(tmp_path)
    (tmp_path / "monitors.json").write_text("{")
    with pytest.raises(InputError, match="no JSON"):
        write_monitors_page(tmp_path)
