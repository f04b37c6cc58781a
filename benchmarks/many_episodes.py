"""A run of very many episodes: memory while it is played, time to go on after a kill, and the report in a browser.

    python benchmarks/many_episodes.py --episodes 100000 --json
    python benchmarks/many_episodes.py --episodes 100000 --browser --json

Episodes are political sycophancy by a scripted policy: no model and no sandbox, so that what is measured is the record:
lines, index, and their digests in the ledger.
``resume_seconds`` is the time until the run knows what is done, after its last line was cut in half and its index lost
its last 50 rows. ``freeze_seconds`` is the longest that the page's heart stood still while it was filtered and searched.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from result import print_result

from custodes.gaming import Records, Runner, ScriptedPolicy, make_stage, summarise
from custodes.gaming.record import ROW
from custodes.gaming.report import write_played_page
from custodes.job.workspace import Workspace
from custodes.ledger.checking import check_ledger

STAGE = "political-sycophancy"
HEART = "window.still = 0; let beat = performance.now(); setInterval(() => {" \
        "const now = performance.now(); still = Math.max(still, now - beat); beat = now; }, 10);"  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--browser", action="store_true", help="open the report in headless Chromium too")
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = {"episodes": options.episodes, **play(Path(name), options.episodes), **go_on(Path(name))}
        found |= report(Path(name))
        if options.browser:
            found |= browse(Path(name))
    if not options.json:
        for key, value in found.items():
            print(f"{key:<28}{value:>14,.4g}")
    print_result({"benchmark": "many_episodes", **found})


def play(folder: Path, n: int) -> dict[str, float]:
    """Play them all, and by how much memory grew between the first tenth and the end."""
    stage = make_stage(STAGE)
    with Workspace.open(folder, "benchmark", {}), Records(folder, [STAGE]) as records:
        runner = Runner(ScriptedPolicy("flatterer"), {STAGE: stage})
        began = time.process_time()
        runner.run_missing({STAGE: set()}, {STAGE: n // 10}, records.append)
        early = _memory()
        runner.run_missing(records.done, {STAGE: n}, records.append)
        late = _memory()
        processor = time.process_time() - began
    return {
        "played_per_processor_second": n / processor,
        "verify_processor_seconds": verify(folder),
        "memory_after_a_tenth_mb": early,
        "memory_after_all_mb": late,
        "disk_mb": (folder / "episodes.jsonl").stat().st_size / 2**20,
    }


def verify(folder: Path) -> float:
    """Every row and every block of the record compared."""
    began = time.process_time()
    found = check_ledger(folder / "ledger.db")
    assert found.ok, found.problems
    return time.process_time() - began


def go_on(folder: Path) -> dict[str, float]:
    """As after a kill: half a last line, and an index that lags behind."""
    lines, index = folder / "episodes.jsonl", folder / "episodes.index"
    os.truncate(lines, lines.stat().st_size - 100)
    os.truncate(index, index.stat().st_size - 50 * ROW.itemsize)
    began = time.perf_counter()
    with Records(folder, [STAGE]) as records:
        seconds, done = time.perf_counter() - began, len(records.done[STAGE])
        summary = {"policy": "scripted:flatterer", "run": "benchmark", "seed": 0, "split": "held-out", "options": {},
                   "asked": done, "order": [STAGE], "stages": summarise(records.rows(), [STAGE])}  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    return {"resume_seconds": seconds, "kept": float(done)}


def report(folder: Path) -> dict[str, float]:
    began = time.process_time()
    page = write_played_page(folder, {STAGE: "agrees with the user's politics"})
    return {"report_processor_seconds": time.process_time() - began, "page_kb": page.stat().st_size / 2**10}


def browse(folder: Path) -> dict[str, float]:
    """Open, filter, search and read in headless Chromium."""
    from playwright.sync_api import expect, sync_playwright

    found: dict[str, float] = {}
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_init_script(HEART)

        def timed(name: str, act: Any) -> None:
            page.evaluate("window.still = 0")
            began = time.perf_counter()
            act()
            found[f"{name}_seconds"] = time.perf_counter() - began
            found[f"{name}_freeze_seconds"] = page.evaluate("still") / 1000

        began = time.perf_counter()
        page.goto((folder / "report.html").as_uri())
        expect(page.locator("#status")).to_contain_text("episodes", timeout=120_000)
        expect(page.locator("#list tbody tr")).to_have_count(50, timeout=120_000)
        found["open_seconds"] = time.perf_counter() - began

        def choose() -> None:
            page.select_option("#only", "gamed")
            expect(page.locator("#list tbody tr").first).to_be_visible()

        def read() -> None:
            page.locator("#list tbody tr").nth(7).click()
            expect(page.locator("#episode")).not_to_contain_text("Choose an episode", timeout=120_000)

        def search() -> None:
            page.fill("#words", "no conversation says this")
            page.press("#words", "Enter")
            n = f"{page.evaluate('passing().length'):,}"
            expect(page.locator("#status")).to_contain_text(f"searched {n} of {n}", timeout=600_000)

        timed("filter", choose)
        timed("read", read)
        timed("search", search)
        browser.close()
    return found


def _memory() -> float:
    """MB that the process holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
