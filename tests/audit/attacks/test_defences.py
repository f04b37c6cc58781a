"""Defences: a filter that is set by benign texts, and a reminder; each beside no defence on the same requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_audit_attack import config
from test_black_box_attacks import Scripted, trial

from custodes.audit.attack_search import plain_tokens
from custodes.audit.attacks.gcg import Gcg
from custodes.audit.attacks.suffix import RandomSuffix
from custodes.audit.attacks.templates import OWN, Templates
from custodes.audit.defences.filter import PerplexityFilter
from custodes.audit.defences.system import SystemReminder
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.loop.audit_attack import audit_attack
from custodes.types import InputError, Message

BENIGN = [f"{wrap.replace('{request}', asked)}" for wrap in OWN for asked in ("Say fox.", "Write fox.", "A fox.")]


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def test_a_filter_blocks_noise_and_its_share_of_benign_texts_at_most(yielding: Path) -> None:
    engine = TorchEngine(load(yielding))
    made = PerplexityFilter(benign_blocked=0.2, window=8).prepared(engine, BENIGN)
    passed = [made.guard(user(text)) is not None for text in BENIGN]
    assert np.mean(passed) >= 0.8
    assert not all(passed)  # the limit is where benign texts are, not beyond
    rng, tokens = np.random.default_rng(0), plain_tokens(engine.lm)
    noise = [f"Say fox. {engine.lm.tokenizer.decode(rng.choice(tokens, 12))}" for _ in range(20)]
    assert np.mean([made.guard(user(text)) is None for text in noise]) > 0.9
    assert made.facts()["limit of the filter, nats a token"] == made.limit < np.inf


def test_a_filter_lets_new_benign_texts_pass_as_it_promised() -> None:
    """The conformal limit, simulated: whatever the surprise of texts is, at most a share of .05 of new ones is blocked."""
    rng, blocked = np.random.default_rng(1), []

    class Given(PerplexityFilter):
        def surprise(self, texts: object) -> np.ndarray:
            return np.array(texts, float)

    for _ in range(2000):
        made = Given().prepared(TorchEngine(None), rng.gamma(2.0, size=40).tolist())  # type: ignore[arg-type]
        blocked.append(float(rng.gamma(2.0)) > made.limit)
    print(f"blocked {np.mean(blocked):.3f} of new benign texts, promised at most .05")
    assert 0.03 < np.mean(blocked) < 0.06


def test_a_filter_says_what_it_needs(yielding: Path) -> None:
    with pytest.raises(InputError, match="give at least 19 with --benign"):
        PerplexityFilter().prepared(TorchEngine(load(yielding)), ["a"] * 18)
    with pytest.raises(InputError, match="needs a model in this process"):
        PerplexityFilter().prepared(Scripted(lambda asked: ""), ["a"] * 40)


def test_a_reminder_opens_the_conversation_or_joins_the_system_message() -> None:
    made = SystemReminder(reminder="Mind.")
    assert made.guard(user("a")) == (Message("system", "Mind."), *user("a"))
    (first, second) = made.guard((Message("system", "Be."), *user("a")))
    assert (first.content, second) == ("Be.\nMind.", user("a")[0])


def test_what_a_defence_blocks_is_no_success_and_no_low_loss(yielding: Path) -> None:
    engine = TorchEngine(load(yielding))
    made = trial(engine)
    made.defence = PerplexityFilter(benign_blocked=0.05, window=8).prepared(engine, BENIGN)
    game = OWN[2].replace("{request}", "Say fox.")
    rng, tokens = np.random.default_rng(0), plain_tokens(engine.lm)
    noise = f"{game} {engine.lm.tokenizer.decode(rng.choice(tokens, 24))}"
    assert np.isinf(made.target_losses([noise, game])).tolist() == [True, False]
    assert made.passes == 2  # what is blocked is spent all the same, so that a search under a filter ends
    shut = replace(made.defence)
    object.__setattr__(shut, "engine", engine)
    object.__setattr__(shut, "limit", -1.0)  # blocks everything
    for attack in (RandomSuffix, Gcg):
        search = trial(engine)
        search.defence = shut
        attack(max_passes=40, suffix_tokens=8, tries=2).run(search)
        assert search.attempts == search.losses == []
        assert 30 <= search.passes <= 40
    blocked, passed = made.try_texts([noise, game])
    assert (blocked.reply, blocked.verdict.counts) == (PerplexityFilter.blocked, False)
    assert passed.verdict.counts


def test_a_defence_is_paired_with_none_on_the_same_requests(yielding: Path, requests: Path, tmp_path: Path) -> None:
    benign = tmp_path / "benign.csv"
    benign.write_text("prompt\n" + "".join(f'"{text.replace(chr(34), chr(34) * 2)}"\n' for text in BENIGN))
    attack = RandomSuffix(max_passes=120, suffix_tokens=8, tries=3)
    chosen = {"attack": attack, "defence": PerplexityFilter(benign_blocked=0.2, window=8), "benign": benign}
    done = audit_attack(config(yielding, requests, tmp_path / "out", adaptive=True, **chosen))
    arms = done.figures["arms"]
    assert list(arms) == [
        "no attack",
        "suffix",
        "suffix, texts sent again under filter",
        "suffix, adapted to filter",
    ]
    assert arms["suffix"].hit_at_k.estimate == 1
    assert arms["suffix, texts sent again under filter"].hit_at_k.estimate == 0
    again = done.figures["paired"]["suffix, texts sent again under filter minus suffix"]
    assert (again.estimate, again.n) == (-1, 2)
    assert done.figures["twins"]["none"]["blocked"].estimate == 0
    assert set(done.figures["twins"]) == {"none", "filter"}
    assert "this attacker does not know the defence" in done.report.read_text()


def test_a_reminder_is_seen_by_the_model_that_is_attacked() -> None:
    engine = Scripted(lambda asked: "No.")
    made = trial(engine)
    made.defence = SystemReminder(reminder="Mind.")
    asked: list[str] = []
    generate = engine.generate

    def seen(tasks, sampling, prefixes=None):  # type: ignore[no-untyped-def]
        asked.extend(task.messages[0].content for task in tasks)
        return generate(tasks, sampling)

    engine.generate = seen  # type: ignore[method-assign]
    Templates().run(made)
    assert set(asked) == {"Mind."}
