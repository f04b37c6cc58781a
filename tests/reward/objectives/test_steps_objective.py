"""Marks of steps and spans, and what they are worth at the tokens where they end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_rewards import WORDS, material_of, taught_by

from custodes.feedback.collection import Feedback
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.kinds.step import StepMark, step_ends, steps_of
from custodes.lm.loading import LanguageModel
from custodes.policy.search import BestReplies
from custodes.reward.model import RewardModel
from custodes.reward.objective import Material
from custodes.reward.objectives.spans import Spans
from custodes.reward.objectives.steps import Steps
from custodes.types import Episode, InputError, Message, Task

ASKED = (Message("user", "Count."),)


def stepped(lm: LanguageModel, n: int, seed: int = 0) -> Material:
    """Answers of three lines; a line that says "never" is wrong."""
    feedback, rng = Feedback(), np.random.default_rng(seed)
    for i in range(n):
        good = rng.random(3) < 0.6
        lines = [f"{' '.join(rng.choice(WORDS, 2))} {'thanks' if g else 'never'}" for g in good]
        prompt = (Message("user", f"Count {i}."),)
        for step, g in enumerate(good):
            said = {"id": f"s{i}-{step}", "step": step, "value": 1 if g else -1}
            feedback.add(StepMark, prompt, ((Message("assistant", "\n".join(lines)),),), **said)
    return material_of(lm, feedback, (), ("steps",))


@pytest.fixture(scope="module")
def stepwise(tiny_model) -> tuple[LanguageModel, RewardModel]:
    from custodes.lm.loading import load

    lm = load(tiny_model, dtype="float32")
    return lm, taught_by(lm, Steps(), stepped(lm, 120), epochs=6)


def test_a_reward_learns_which_steps_are_right(stepwise: tuple[LanguageModel, RewardModel]) -> None:
    lm, model = stepwise
    measures = Steps().measures(model, stepped(lm, 60, seed=1))
    assert measures["right of steps"].low > measures["the commoner mark of steps"].high
    assert measures["first mistake found"].estimate > measures["the commonest first mistake"].estimate


def episode(lm: LanguageModel, text: str, id: str = "e") -> Episode:
    task = Task("t", ASKED)
    prompt = np.array(lm.encode(ASKED), np.int32)
    reply = np.array(lm.encode_reply(text), np.int32)
    ids, mask = np.concatenate([prompt, reply]), np.arange(len(prompt) + len(reply)) >= len(prompt)
    messages = (*ASKED, Message("assistant", text))
    return Episode(id, task, messages, ids, mask, np.zeros(len(ids), np.float32), "stop", "p")


def test_a_step_costs_its_probability_of_being_wrong_at_the_token_that_ends_it(
    stepwise: tuple[LanguageModel, RewardModel],
) -> None:
    lm, model = stepwise
    some = [episode(lm, "one thanks\ntwo never\nthree thanks"), episode(lm, "short never", "f")]
    scores = model.score(some)
    assert scores.value.tolist() == [0.0, 0.0]
    for row, own in zip(scores.token, some, strict=True):
        at = np.flatnonzero(~np.isnan(row))
        ends = step_ends(own.completion)
        assert len(at) == len(ends)
        assert own.action_mask[at].all()
        assert (row[at] < 0).all()
        first = int(np.flatnonzero(own.action_mask)[0])
        for place, end in zip(at, ends, strict=True):
            said = lm.tokenizer.decode(own.token_ids[first : place + 1].tolist())
            before = lm.tokenizer.decode(own.token_ids[first:place].tolist())
            assert said.startswith(own.completion[:end])
            assert (
                len(before) <= end < len(said)
            )  # the line break or the end of the turn, which alone make it a whole step
    probabilities = model.mark_probabilities([e.messages for e in some], "steps")
    for row, p in zip(scores.token, probabilities, strict=True):
        np.testing.assert_allclose(row[~np.isnan(row)], p - 1, atol=1e-5)
    np.testing.assert_allclose(scores.parts["steps"], np.nansum(scores.token, 1))


def test_a_whole_reply_is_worth_the_sum_of_its_steps_with_tokens_and_without(
    stepwise: tuple[LanguageModel, RewardModel],
) -> None:
    lm, model = stepwise
    some = [episode(lm, "one thanks\ntwo thanks"), episode(lm, "one never\ntwo never", "f")]
    worth = model.score(some).total()
    assert worth[0] > worth[1]
    np.testing.assert_allclose(worth, model.score_messages([e.messages for e in some]).total(), atol=1e-5)
    np.testing.assert_allclose(
        worth, [np.sum(p - 1) for p in model.mark_probabilities([e.messages for e in some], "steps")], atol=1e-5
    )
    twice = model.weighted({"steps": 2.0})
    np.testing.assert_allclose(2 * worth, twice.score(some).total(), atol=1e-5)
    np.testing.assert_allclose(2 * worth, twice.score_messages([e.messages for e in some]).value, atol=1e-5)
    assert BestReplies(some[::-1], model.score(some[::-1]), 2).chosen() == some[:1]


def test_token_scores_need_no_pass_of_their_own(
    stepwise: tuple[LanguageModel, RewardModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, model = stepwise
    passes: list[int] = []
    run = type(lm.decoder).run
    monkeypatch.setattr(type(lm.decoder), "run", lambda self, *a, **k: passes.append(1) or run(self, *a, **k))
    plain = replace(model, axes=("overall",), marks=())
    some = [episode(lm, "one thanks\ntwo never")]
    plain.score(some)
    without = len(passes)
    model.score(some)
    assert len(passes) == 2 * without


def test_tokens_of_another_tokenizer_are_refused(stepwise: tuple[LanguageModel, RewardModel]) -> None:
    lm, model = stepwise
    strange = replace(episode(lm, "one thanks"), token_ids=episode(lm, "two never").token_ids)
    strange = replace(strange, action_mask=episode(lm, "two never").action_mask)
    with pytest.raises(InputError, match="reads its tokens as another text"):
        model.score([strange])


def test_steps_of_another_text_and_marks_that_never_vary(lm: LanguageModel) -> None:
    feedback = Feedback()
    answer = (Message("assistant", "one\ntwo"),)
    for step, value in ((0, 1), (5, -1)):
        feedback.add(StepMark, ASKED, (answer,), id=f"s{step}", step=step, value=value)
    with pytest.raises(
        InputError, match="step 5, counted from 0, of an answer with 2 steps; the mark is of another text"
    ):
        Steps().lessons(material_of(lm, feedback, (), ("steps",)), 1)
    feedback.judgments.pop()
    material = material_of(lm, feedback, (), ("steps",))
    assert Steps().lessons(material, 1) == []
    assert material.unused == {("step_mark", "all steps are marked +1"): 1}


def test_a_neutral_step_is_a_soft_label(lm: LanguageModel) -> None:
    feedback = Feedback()
    for step, value in enumerate((1, 0, -1)):
        feedback.add(StepMark, ASKED, ((Message("assistant", "a\nb\nc"),),), id=f"s{step}", step=step, value=value)
    lessons = Steps(neutral=0.8).lessons(material_of(lm, feedback, (), ("steps",)), 1)
    assert [lesson.target for lesson in lessons] == [(1.0,), (0.8,), (0.0,)]


def test_a_step_is_read_where_its_characters_end_though_tokens_join_what_stands_between(lm: LanguageModel) -> None:
    text = "the quick\n\nbrown fox.\n\n\n\njumps"
    messages = (*ASKED, Message("assistant", text))
    sequence, places = lm.chat.placed(messages, step_ends(text))
    for place, end in zip(places, step_ends(text), strict=True):
        upto = lm.tokenizer.decode(sequence[: place + 1])
        assert upto.rstrip().endswith(text[:end][-5:].rstrip()) or text[end - 1] in lm.tokenizer.decode(
            [sequence[place]]
        )
        assert text[:end] not in lm.tokenizer.decode(sequence[:place])


def test_control_tokens_in_a_reply_do_not_move_its_steps(lm: LanguageModel) -> None:
    text = "say <|im_end|> now\nthen stop"
    messages = (*ASKED, Message("assistant", text))
    ids, places = lm.chat.placed(messages, step_ends(text))
    assert ids == lm.chat.conversation(messages)
    assert "stop" in lm.tokenizer.decode(ids[places[0] + 1 : places[1] + 1])
    assert "now" in lm.tokenizer.decode(ids[: places[0] + 1])


LINES = st.lists(st.text("ab .`\n\r", max_size=8), max_size=6)


@given(LINES)
def test_every_step_ends_where_its_text_does(parts: list[str]) -> None:
    text = "\n\n".join(parts)
    ends, steps = step_ends(text), steps_of(text)
    assert len(ends) == len(steps)
    assert ends == sorted(ends)
    for end, step in zip(ends, steps, strict=True):
        if step.strip():
            assert text[:end].endswith(step.split("\n")[-1].strip() or text[:end][-1:])


# ---------------------------------------------------------------- spans


def spanned(lm: LanguageModel, n: int, seed: int = 0) -> Material:
    """Answers of three sentences, of which those that say "never" are marked."""
    feedback, rng = Feedback(), np.random.default_rng(seed)
    for i in range(n):
        bad = rng.random(3) < 0.4
        bad[int(rng.integers(3))] = True
        text = ""
        marks = []
        for b in bad:
            sentence = f"{' '.join(rng.choice(WORDS, 2))} {'never' if b else 'thanks'}."
            if b:
                marks.append((len(text) + sentence.index("never"), len(text) + len(sentence) - 1))
            text += sentence + " "
        answer = ((Message("assistant", text.strip()),),)
        for k, (start, end) in enumerate(marks):
            about = {"id": f"m{i}-{k}", "start": start, "end": end, "category": "rude"}
            feedback.add(SpanMark, (Message("user", f"Count {i}."),), answer, **about)
    return material_of(lm, feedback, (), ("spans/rude",))


def test_a_reward_learns_which_sentences_were_marked(lm: LanguageModel) -> None:
    model = taught_by(lm, Spans(), spanned(lm, 100), epochs=6)
    (measure,) = Spans().measures(model, spanned(lm, 40, seed=1)).values()
    assert measure.low > 0.7
    scores = model.score([episode(lm, "one thanks. two never. three thanks.")])
    at = np.flatnonzero(~np.isnan(scores.token[0]))
    assert len(at) == 3
    assert scores.token[0][at].argmin() == 1


def test_what_a_correction_changed_is_marked_where_that_is_asked_for(lm: LanguageModel) -> None:
    feedback = Feedback()
    answer = (Message("assistant", "the quick fox. it never jumps. the end."),)
    edited = "the quick fox. it always jumps. the end."
    feedback.add(Correction, ASKED, (answer,), id="c", text=edited)
    (mark,) = Spans(corrections=True).all_marks(material_of(lm, feedback))
    assert answer[0].content[mark.start : mark.end] == "never"
    assert Spans().all_marks(material_of(lm, feedback)) == []
    material = material_of(lm, feedback, (), ("spans/corrected",))
    lessons = Spans(corrections=True).lessons(material, 1)
    assert [lesson.target for lesson in lessons] == [(0.0,), (1.0,), (0.0,)]


def test_marks_beyond_the_text_are_refused(lm: LanguageModel) -> None:
    feedback = Feedback()
    feedback.add(SpanMark, ASKED, ((Message("assistant", "short"),),), id="m", start=2, end=9, category="rude")
    with pytest.raises(InputError, match="a span ends at character 9 of an answer of 5; the mark is of another text"):
        Spans().lessons(material_of(lm, feedback, (), ("spans/rude",)), 1)


def test_gradients_reach_the_backbone_from_steps(lm: LanguageModel) -> None:
    material = stepped(lm, 4)
    objective = Steps()
    lessons = objective.lessons(material, 1)
    assert len({lesson.readings[0][1] for lesson in lessons}) > 2  # not all at the end
    assert all(torch.isfinite(parameter).all() for parameter in objective.parameters())
