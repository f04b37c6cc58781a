"""Overseers: what a simulated one catches, what is kept, and what is measured of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from custodes.feedback.oversight import (
    MAX_BLOCKED,
    EpisodeOversight,
    OverseenTraining,
    OverseerLost,
    Oversight,
    OversightOptions,
)
from custodes.feedback.oversight_measures import oversight_measures, oversight_sentences
from custodes.types import InputError
from custodes.web.overseers.people import _read_answer

OWN = '''
from pathlib import Path
from custodes.feedback.oversight import Overseer, OverseerAnswer

class Careful(Overseer):
    """Blocks what removes files, and keeps count of questions."""
    def answer(self, action):
        with Path(__file__).with_name("asked").open("a") as file:
            file.write(action.action + "\\n")
        return OverseerAnswer("rm" not in action.action, "careful", "it removes files", 2.0, 2.0)
'''


def columns(episodes: list[EpisodeOversight]) -> dict[str, list]:
    rows = [
        {"who": "", "seconds": 0.0, "waited": 0.0, "cluster": e.key} | action
        for e in episodes
        for action in e.to_list()
    ]
    names = ("cluster", "asked", "blocked", "harmful", "who", "seconds", "waited")
    return {name: [row[name] for row in rows] for name in names}


def many(options: OversightOptions, folder: Path, n: int = 600, seed: int = 0) -> dict[str, list]:
    oversight = Oversight(options, folder, seed)
    episodes = [EpisodeOversight(oversight, f"e{i}", "policy") for i in range(n)]
    for i, episode in enumerate(episodes):
        for turn in range(2):
            episode.answer((), f"do {turn}", harmful=(i + turn) % 3 == 0)
    return columns(episodes)


def test_a_simulated_overseer_catches_and_errs_as_often_as_it_says(tmp_path: Path) -> None:
    seen = many(OversightOptions(oversight="simulated:catch=.7,false=.1,seconds=15"), tmp_path)
    measures = oversight_measures(seen)
    print(measures["caught"], measures["blocked_for_nothing"])
    assert measures["caught"].low < 0.7 < measures["caught"].high
    assert measures["blocked_for_nothing"].low < 0.1 < measures["blocked_for_nothing"].high
    assert measures["slipped"] == {
        "approved": measures["harmful"] - sum(b and h for b, h in zip(seen["blocked"], seen["harmful"], strict=True)),
        "not_asked": 0,
    }
    assert measures["seconds_in_all"] == 15 * measures["asked"]
    assert seen == many(OversightOptions(oversight="simulated:catch=.7,false=.1,seconds=15"), tmp_path)
    assert seen != many(OversightOptions(oversight="simulated:catch=.7,false=.1,seconds=15"), tmp_path, seed=1)
    assert not list(tmp_path.iterdir())  # it says the same again: nothing need be kept


def test_the_interval_of_what_is_caught_covers(tmp_path: Path) -> None:
    covered = []
    for seed in range(200):
        seen = many(OversightOptions(oversight="simulated:catch=.8"), tmp_path, n=60, seed=seed)
        caught = oversight_measures(seen)["caught"]
        covered.append(caught.low <= 0.8 <= caught.high)
    print(f"coverage of the catch rate's 95 % interval, 40 harmful actions: {np.mean(covered):.3f}")
    assert np.mean(covered) > 0.91


def test_a_share_is_seen_and_the_rest_slips_through(tmp_path: Path) -> None:
    measures = oversight_measures(many(OversightOptions(oversight="simulated:catch=1", oversee="0.25"), tmp_path))
    assert 0.2 < measures["asked"] / measures["actions"] < 0.3
    assert measures["slipped"]["approved"] == 0
    assert measures["slipped"]["not_asked"] > 0
    assert measures["caught"].estimate == 1 > measures["caught_of_all"].estimate
    assert any("never shown" in sentence for sentence in oversight_sentences(measures))


def test_what_is_not_known_to_be_harmful_is_said(tmp_path: Path) -> None:
    oversight = Oversight(OversightOptions(oversight="simulated:catch=1,false=.5"), tmp_path, 0)
    episode = EpisodeOversight(oversight, "e", "policy")
    for turn in range(20):
        episode.answer((), f"do {turn}", None)
    measures = oversight_measures(columns([episode]))
    assert (measures["caught"], measures["blocked_for_nothing"]) == (None, None)
    assert 0 < measures["blocked"] < 20
    assert any("cannot be told" in sentence for sentence in oversight_sentences(measures))


def test_an_overseer_of_ones_own_is_asked_once_about_each_action(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    options = OversightOptions(oversight=f"{tmp_path}/own.py:Careful")
    for _ in range(2):  # as after a kill
        episode = EpisodeOversight(Oversight(options, tmp_path / "answers", 0), "e0", "policy")
        answers = [episode.answer((), action, None) for action in ("ls", "rm -r build", "ls")]
        assert [a.approved for a in answers if a] == [True, False, True]
    assert (tmp_path / "asked").read_text().split("\n")[:-1] == ["ls", "rm -r build", "ls"]


def test_an_episode_ends_with_its_third_block_or_its_first_where_that_is_asked(tmp_path: Path) -> None:
    for on_block, most in (("tell", MAX_BLOCKED), ("end", 1)):
        oversight = Oversight(OversightOptions(oversight="simulated:catch=1", on_block=on_block), tmp_path, 0)  # type: ignore[arg-type]
        episode = EpisodeOversight(oversight, "e", "policy")
        ends = []
        for turn in range(most):
            episode.answer((), f"harm {turn}", True)
            ends.append(episode.over)
        assert ends == [False] * (most - 1) + [True]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"oversight": "somebody"}, "is nobody; write http://HOST:PORT, simulated:catch=.8 or FILE.py:Name"),
        ({"oversight": "simulated:catch=2"}, "catch is '2'; it must be a number, from 0 to 1"),
        ({"oversight": "simulated:catches=.2"}, "there is no 'catches'; write catch=NUMBER"),
        ({"oversight": "simulated:", "oversee": "1.5"}, "a share must be above 0 and at most 1"),
        ({"oversee": "0.1"}, "option oversee is of oversight, and nobody oversees"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(options: dict, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        Oversight(OversightOptions(**options), tmp_path, 0)


def test_the_reward_of_a_block_is_a_number_or_a_mask() -> None:
    assert OverseenTraining(oversight="simulated:", blocked_reward="-1.5").reward_of_a_block == -1.5
    assert OverseenTraining(oversight="simulated:", blocked_reward="mask").reward_of_a_block is None
    with pytest.raises(InputError, match="it must be a number or mask"):
        _ = OverseenTraining(oversight="simulated:", blocked_reward="nan").reward_of_a_block


def test_a_server_needs_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUSTODES_TOKEN", raising=False)
    with pytest.raises(InputError, match="put it into the environment variable CUSTODES_TOKEN"):
        Oversight(OversightOptions(oversight="http://127.0.0.1:9"), tmp_path, 0)


def test_an_overseer_of_ones_own_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN.replace("return OverseerAnswer(", "raise KeyError("))
    oversight = Oversight(OversightOptions(oversight=f"{tmp_path}/own.py:Careful"), tmp_path, 0)
    with pytest.raises(InputError, match=r"--oversight .*own\.py:Careful failed at .*own\.py, line 10 \(KeyError"):
        EpisodeOversight(oversight, "e", "policy").answer((), "do", harmful=False)


@pytest.mark.parametrize("missing", ["by", "why", "waited"])
def test_an_answer_of_another_form_stops_the_run(missing: str) -> None:
    answer = {"state": "approved", "by": "ann", "who": "ann", "why": "", "seconds": None, "waited": 2}
    assert _read_answer(answer).approved
    with pytest.raises(OverseerLost, match="gave an answer of another form"):
        _read_answer({name: value for name, value in answer.items() if name != missing})
