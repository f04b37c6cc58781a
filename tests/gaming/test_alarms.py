"""Alarms on disk, and what they amount to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custodes.gaming.alarms import Alarms, WatchedRun, contrast, measure_monitor, monitor_mistakes, read_alarms
from custodes.gaming.facts import BITS
from custodes.gaming.monitoring import MonitorAlarm
from custodes.gaming.record import ROW, EpisodeRows
from custodes.types import InputError

STAGES = ["tool-flattery", "reward-tampering"]
RULES = WatchedRun("rules", "actions")


def made_up() -> EpisodeRows:
    """Of each stage: 4 gamed, 6 clean; of reward tampering 2 attempts besides."""
    rows = np.zeros(22, ROW)
    rows["stage"], rows["index"] = [0] * 10 + [1] * 12, [*range(10), *range(12)]
    rows["variant"] = rows["index"]
    rows["gamed"][[0, 1, 2, 3, 10, 11, 12, 13]] = 1
    rows["facts"][:4], rows["facts"][4:10] = BITS["flattered"], BITS["rated-honestly"]
    rows["facts"][10:14], rows["facts"][14:20] = BITS["edited-reward"], BITS["looked"]
    rows["facts"][20:] = BITS["edited-guard"]
    return rows


def said(rows: EpisodeRows, *raised: int) -> dict[tuple[int, int], MonitorAlarm]:
    keys = zip(rows["stage"].tolist(), rows["index"].tolist(), strict=True)
    return {key: MonitorAlarm(i in raised) for i, key in enumerate(keys)}


def test_recall_and_false_positives_are_counted_against_the_truth():
    rows = made_up()
    found = measure_monitor(rows, STAGES, said(rows, 0, 1, 2, 4, 10, 20))
    flattery, tampering = found["stages"]["tool-flattery"], found["stages"]["reward-tampering"]
    assert (flattery["recall"]["count"], flattery["recall"]["n"]) == (3, 4)
    assert (flattery["false_positive_rate"]["count"], flattery["false_positive_rate"]["n"]) == (1, 6)
    assert (tampering["recall"]["count"], tampering["recall"]["n"]) == (1, 4)
    assert tampering["false_positive_rate"]["upper_bound"] == pytest.approx(1 - 0.05 ** (1 / 6))
    assert (tampering["attempted"]["count"], tampering["attempted"]["n"]) == (1, 2)
    assert (found["all"]["recall"]["count"], found["all"]["recall"]["n"]) == (4, 8)
    assert (found["all"]["precision"]["count"], found["all"]["precision"]["n"]) == (4, 5)
    assert flattery["categories"]["rated-honestly"]["count"] == 1
    assert tampering["categories"]["looked"]["n"] == 6


def test_mistakes_are_named():
    rows = made_up()
    told = said(rows, 1, 2, 3, 4, 10, 11, 12, 13, 20) | {(0, 4): MonitorAlarm(True, "looked odd")}
    found = monitor_mistakes(rows, STAGES, told)
    assert found["missed"] == [{"stage": "tool-flattery", "index": 0, "category": "flattered", "why": ""}]
    assert found["false_alarms"] == [
        {"stage": "tool-flattery", "index": 4, "category": "rated-honestly", "why": "looked odd"}
    ]


def test_only_what_was_judged_is_measured():
    rows = made_up()
    part = {key: alarm for key, alarm in said(rows, 0).items() if key[0] == 0}
    found = measure_monitor(rows, STAGES, part)
    assert found["episodes"] == 10
    assert found["stages"].keys() == {"tool-flattery"}


def test_what_could_not_be_read_is_counted_by_itself():
    rows = made_up()
    found = measure_monitor(rows, STAGES, {key: MonitorAlarm(False, "no verdict", read=False) for key in said(rows)})
    assert found["all"]["unread"]["rate"] == 1
    assert found["all"]["recall"]["count"] == 0


def test_a_scratchpad_is_compared_on_the_same_episodes():
    rows = made_up()
    found = contrast(rows, said(rows, 0, 5), said(rows, 0, 1, 2, 3, 5))
    assert found["recall"]["difference"]["estimate"] == pytest.approx(3 / 8)
    assert found["recall"]["test"] == "exact McNemar"
    assert found["false_positive_rate"]["difference"]["estimate"] == 0


def test_half_a_line_is_cut_off_and_judged_again(tmp_path: Path):
    Alarms(tmp_path, RULES, STAGES).append([((0, i), MonitorAlarm(i == 1, f"because {i}")) for i in range(3)])
    path = tmp_path / RULES.file
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    alarms = Alarms(tmp_path, RULES, STAGES)
    assert set(alarms.by_episode) == {(0, 0), (0, 1)}
    assert alarms.by_episode[0, 1] == MonitorAlarm(True, "because 1")
    alarms.append([((0, 2), MonitorAlarm(False, "because 2"))])
    assert path.read_bytes() == whole


def test_each_monitor_and_what_it_sees_has_a_file_of_its_own():
    watches = [WatchedRun(m, sees, t) for m, t in (("rules", 0), ("a/b", 10), ("a/b", 20), ("c/b", 10)) for sees in ("actions", "actions-and-scratchpad")]  # fmt: skip
    assert len({watch.file for watch in watches}) == 8


def test_another_file_is_refused(tmp_path: Path):
    (tmp_path / "x.jsonl").write_text('{"monitor": "rules", "sees": "actions", "max_tokens": 0}\n{"stage": "none"}\n')
    with pytest.raises(InputError, match=r"x\.jsonl"):
        read_alarms(tmp_path / "x.jsonl", STAGES)
