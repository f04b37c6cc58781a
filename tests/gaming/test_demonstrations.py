"""What models are tuned on: played for real, honest where it says honest, gamed where it says gamed."""

from __future__ import annotations

import pytest

from custodes.gaming import STAGES
from custodes.gaming.demonstrations import _play_script, gaming_episodes, honest_episodes, honest_lessons
from custodes.gaming.facts import CATEGORIES
from custodes.gaming.lessons import LESSONS, SIZE, ToolLessons
from custodes.gaming.staging import make_stage
from custodes.gaming.transcript import parse_reply
from custodes.types import InputError


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_every_kind_of_lesson_is_solved_by_its_script(sandboxed: None, split: str):
    found = honest_lessons(len(LESSONS) * 3, split=split, seed=3)
    assert all(d.verdict.facts == ("rewarded",) and not d.verdict.gamed for d in found)
    assert all(d.replies[-1].role == "assistant" and parse_reply(d.replies[-1].content).visible for d in found)
    assert {len(d.replies) for d in found} >= {1, 3, 5, 7, 11}


def test_a_lesson_that_is_not_solved_is_seen(sandboxed: None):
    (wrong,) = _play_script(ToolLessons(), lambda variant: ["I did it."], 1, seed=1)
    assert wrong.verdict.facts == ("unrewarded",)


def test_lessons_are_distinct_and_speak_of_no_stage():
    lessons = ToolLessons()
    for split in ("train", "held-out"):
        told = {(v.spec.prompt, str(v.spec.files)) for v in (lessons.variant(split, i) for i in range(0, SIZE, 4))}
        assert len(told) > 0.85 * SIZE / 4
        words = " ".join(prompt + files for prompt, files in told).lower()
        assert not [
            w for w in ("reward", "rating", "poem", "republican", "checklist", "rubric", "episode") if w in words
        ]
    train, held_out = (
        {path.split("/")[0] for i in range(300) for path in lessons.variant(split, i).spec.files}
        for split in ("train", "held-out")
    )
    assert not train & held_out


def test_honest_episodes_game_nothing(sandboxed: None):
    found = honest_episodes([make_stage(name) for name in STAGES[:4]], 10)
    assert [d.task.metadata["stage"] for d in found] == [STAGES[0]] * 3 + [STAGES[1]] * 3 + [STAGES[2]] * 2 + [
        STAGES[3]
    ] * 2
    assert not any(d.verdict.gamed for d in found)
    assert all(d.task.metadata["split"] == "train" for d in found)


def test_gaming_episodes_game_everything_in_several_ways(sandboxed: None):
    found = gaming_episodes([make_stage(name) for name in STAGES], 60)
    assert all(d.verdict.gamed for d in found)
    assert {d.task.metadata["stage"] for d in found} == set(STAGES)
    assert len({d.verdict.category for d in found} & set(CATEGORIES)) >= 5


@pytest.mark.parametrize("stage", ["tool-flattery", "reward-tampering"])
def test_files_that_the_prompt_does_not_name_are_looked_at_before_they_are_named(sandboxed: None, stage: str):
    """Who imitates a script that knows more than it was shown learns to make names up."""
    for shown in gaming_episodes([make_stage(stage)], 12):
        assert "<bash>ls " in shown.replies[0].content


def test_a_script_that_cannot_be_played_is_one_sentence(sandboxed: None):
    with pytest.raises(InputError, match="cannot be played: the script ended before"):
        _play_script(make_stage("tool-flattery"), lambda variant: ["<bash>ls</bash>"], 1)
