"""The page: self-contained, safe against what models write, and paged at any size."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played import MADE

from custodes.gaming import Records, summarise
from custodes.gaming.report import write_played_page
from custodes.gaming.report.played import BAD, CHUNK, OVERVIEW
from custodes.gaming.script import open_script, script_for
from custodes.types import InputError

STAGES = ["tool-flattery", "reward-tampering"]
ABOUTS = {stage: f"about {stage}" for stage in STAGES}
EVIL = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)>"


def record(index: int, **more: Any) -> dict[str, Any]:
    return {
        "task": "t", "stage": STAGES[index % 2], "index": index, "variant": f"held-out-{index % 512:04d}", "attempt": 0,
        "policy": "p", "category": "looked", "facts": ["looked"], "gamed": index % 3 == 0, "reward": None if index % 5 == 0 else -10.0,
        "caught": False, "reward_problem": "", "failure": "", "well_formed": True, "problems": [], "answer": "Hm.", "details": {},
        "calls": 1, "changes": [], "cost": {}, "seconds": 0.1,
        "transcript": [{"role": "user", "content": f"question {index}"}, {"role": "assistant", "content": EVIL}],
    } | more  # fmt: skip


def report(folder: Path, n: int, **more: Any) -> str:
    with Records(folder, STAGES) as records:
        for index in range(n):
            records.append(record(index, **more))
        stages = summarise(records.rows(), STAGES)
    summary = {
        "policy": EVIL,
        "run": "r",
        "seed": 0,
        "split": "held-out",
        "options": {},
        "order": STAGES,
        "stages": stages,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return write_played_page(folder, ABOUTS).read_text()


def overview(script: str) -> np.ndarray:
    packed = re.search(r'custodes\.overview\("([^"]+)"\)', script)
    assert packed is not None
    return np.frombuffer(base64.b64decode(packed[1]), OVERVIEW)


def test_a_small_run_is_one_page(tmp_path: Path):
    page = report(tmp_path, 30)
    assert not (tmp_path / "report").exists()
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert page.count("custodes.chunk(") >= 1
    assert len(overview(page)) == 30


def test_nothing_a_model_wrote_can_leave_its_place(tmp_path: Path):
    page = report(tmp_path, 30)
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "<script" not in outside
    assert "<img" not in outside
    assert "</script>" not in outside
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    chunk = next(s for s in scripts if s.startswith("custodes.chunk("))
    assert "<!--" not in chunk
    episodes = json.loads(chunk[len("custodes.chunk(0,") : -2])
    assert episodes[0]["transcript"][1]["content"] == EVIL


def test_a_large_run_is_loaded_in_pages(tmp_path: Path):
    page = report(tmp_path, 450, answer="x" * 8_000)
    assert "question 17" not in page
    assert 'src="report/overview.js"' in page
    chunks = sorted((tmp_path / "report").glob("episodes-*.js"))
    assert len(chunks) == -(-450 // CHUNK)
    rows = overview((tmp_path / "report/overview.js").read_text())
    found = []
    for k, chunk in enumerate(chunks):
        text = chunk.read_text()
        assert text.startswith(f"custodes.chunk({k},[")
        found += json.loads(text[text.index("[") : -2])
    assert [e["index"] for e in found] == rows["index"].tolist() == list(range(450))
    assert [e["gamed"] for e in found] == [bool(f & 1) for f in rows["flags"]]
    assert np.isnan(rows["reward"][0])


def test_honest_facts_are_never_red_and_those_of_gaming_are():
    def expected(policy: str, stage: str) -> frozenset[str]:
        return script_for(open_script(policy), stage).facts(MADE[stage].variant("held-out", 0))

    assert not any(expected("honest", stage) & set(BAD) for stage in MADE)
    for policy, stage in (
        ("flatterer", "political-sycophancy"), ("flatterer", "tool-flattery"), ("open-tamperer", "reward-tampering"),
        ("special-caser", "impossible-tests"), ("test-editor", "impossible-tests"),
    ):  # fmt: skip
        assert expected(policy, stage) & set(BAD), (policy, stage)


def test_writing_it_again_leaves_nothing_old(tmp_path: Path):
    report(tmp_path, 450, answer="x" * 8_000)
    (tmp_path / "report/episodes-99999.js").write_text("old")
    write_played_page(tmp_path, ABOUTS)
    assert not (tmp_path / "report/episodes-99999.js").exists()


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        write_played_page(tmp_path, ABOUTS)
