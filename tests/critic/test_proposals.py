"""Samples of a model vote on what a function gives; where enough agree, the function is held to it."""

from pathlib import Path

import pytest
from review_data import SayingEngine

from custodes.critic.choice import CriticChoice
from custodes.critic.loading import open_proposer
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.proposals import ExpectedValue, ProposalOptions, Proposer, _votes_on
from custodes.critic.review.remarks import EngineDied
from custodes.critic.review.running import RunOptions
from custodes.types import InputError

CODE = '''
def double(n):
    """Twice the number."""
    return n + n * (n < 5)


def half(n):
    return n / 2


class Box:
    def open(self):
        """Opens the box."""
        return 1
'''
SAID = "assert double(3) == 6\n2. `assert double(7) == 14`\nassert double(1) == 2  # one\nassert double(x) == 1\nassert other(1) == 1"
OPTIONS = ProposalOptions()


def test_votes_are_counted_by_input_and_value_and_one_a_sample():
    replies = [
        SAID,
        SAID,
        "assert double(7)==14\nassert double(7) == 15",
        "assert double(3) == 7",
        "assert double(0) is False",
        "no",
    ]
    assert _votes_on(replies, "double", OPTIONS) == [ExpectedValue("double(7)", "14", 3, 3, 6)]
    assert _votes_on(replies, "double", ProposalOptions(votes=2, agreement=0.6)) == [
        ExpectedValue("double(7)", "14", 3, 3, 6),
        ExpectedValue("double(1)", "2", 2, 2, 6),
        ExpectedValue("double(3)", "6", 2, 3, 6),
    ]
    truths = ["assert f('a')\nassert not f('b')", "assert f(\"a\") == True\nassert f('b') is False"]
    two = ProposalOptions(votes=2)
    assert [(p.source, p.want) for p in _votes_on(truths, "f", two)] == [("f('a')", "True"), ("f('b')", "False")]


def test_a_test_may_wrap_the_call_and_hand_on_small_functions_and_nothing_else():
    written = [
        "assert list(f(lambda x: x > 1, [1, 2])) == [2]",
        "assert ''.join(f(str.upper, 'ab')) == 'AB'",
        "assert f(sorted, [y for y in (2, 1)]) == [1, 2]",
    ]
    refused = [
        "assert f(iseven, [2]) == [2]",
        "assert f(1) + f(2) == 3",
        "assert f(open('x')) == 1",
        "assert f(().__class__) == 1",
    ]
    (reply,) = ["\n".join([*written, *refused, "assert f() == 3", "assert g(1) == 1"])]
    votes = _votes_on([reply], "f", ProposalOptions(votes=1))
    assert sorted(v.source for v in votes) == [
        line.removeprefix("assert ").rpartition(" == ")[0] for line in sorted(written)
    ]


def test_a_model_sees_documentation_and_no_body_and_is_asked_once(tmp_path: Path):
    engine = SayingEngine(SAID)
    proposer = Proposer(engine, "a-model", OPTIONS)
    wanted = {"f.py": {"double", "half", "Box.open"}}
    found = proposer.propose({"f.py": CODE}, wanted, tmp_path)
    (task,) = engine.asked
    assert "Twice the number." in task.messages[0].content
    assert "n < 5" not in task.messages[0].content
    assert found["f.py", "double"][0].votes == 6
    assert proposer.propose({"f.py": CODE}, wanted, tmp_path) == found
    assert len(engine.asked) == 1
    Proposer(engine, "a-model", ProposalOptions(proposals=5)).propose({"f.py": CODE}, wanted, tmp_path)
    assert len(engine.asked) == 2


def test_what_samples_agree_on_and_the_function_breaks_is_a_finding(tmp_path: Path):
    file = tmp_path / "code.py"
    file.write_text(CODE)
    proposer = Proposer(SayingEngine(SAID), "a-model", OPTIONS)
    result = review([str(file)], None, ReviewOptions(), run=RunOptions(inputs=5), proposer=proposer)
    (finding,) = result.findings
    assert finding.kind == "failing example"
    assert finding.message == "double(7) gives 7; promised is 14, by the model a-model, 6 of 6 samples."
    assert "assert double(7) == 14" in finding.evidence.test  # type: ignore[union-attr]
    assert {run.name for run in result.runs if run.ran} == {"double", "Box.open"}


@pytest.mark.parametrize(
    ("shown", "said", "confidence"),
    [
        ("", "assert letters('cd') == ['d']", 0.85),
        ("['a', 'b']", "assert letters('cd') == ['d']", 0.85 * 2 / 3),
        ("['b']", "assert letters('cd') == ['d']", 0.95),  # of the example, which fails too
        ("", "assert letters('cd') == 'cd'", 0.85 / 2),
        ("", "assert letters('cd') == [('c', 'd')]", 0.85 / 2),
    ],
)
def test_what_a_model_expects_is_doubted_where_examples_hold_and_of_another_sort(
    shown: str, said: str, confidence: float, tmp_path: Path
):
    example = f"\n\n    >>> letters('ab')\n    {shown}\n    " if shown else ""
    file = tmp_path / "code.py"
    file.write_text(f'def letters(text):\n    """Its letters.{example}"""\n    return list(text)\n')
    proposer = Proposer(SayingEngine(said), "a-model", OPTIONS)
    everything = ReviewOptions(strictness=2.0)
    result = review([str(file)], None, everything, run=RunOptions(inputs=5), proposer=proposer)
    assert [f.confidence for f in result.findings] == [pytest.approx(confidence, abs=1e-3)]


def test_a_model_that_fails_costs_its_proposals_alone(tmp_path: Path):
    class Dead(SayingEngine):
        def generate(self, *args, **kwargs):
            raise InputError("connection refused.")

    proposer = Proposer(Dead(), "a-model", OPTIONS)
    with pytest.raises(EngineDied):
        proposer.propose({"f.py": CODE}, {"f.py": {"double"}})


@pytest.mark.parametrize("given", [{"votes": 0}, {"agreement": 1.5}, {"proposals": 0}, {"proposal_tokens": 0}])
def test_numbers_out_of_range_are_refused(given: dict[str, float]):
    with pytest.raises(InputError, match=next(iter(given))):
        ProposalOptions(**given)  # type: ignore[arg-type]


def test_a_real_engine_is_asked_and_a_question_that_does_not_fit_is_left_out(tiny_model: Path):
    proposer = open_proposer(CriticChoice(model=str(tiny_model)), ProposalOptions(proposals=2, proposal_tokens=4))
    assert proposer is not None
    long = CODE.replace("Twice the number.", "Twice the number. " * 400)
    wanted = {"f.py": {"double"}}
    assert proposer.propose({"f.py": long}, wanted) == {("f.py", "double"): []}
    assert proposer.propose({"f.py": 'def f(n):\n    """One."""\n'}, {"f.py": {"f"}}) == {("f.py", "f"): []}


def test_a_reply_is_begun_for_an_engine_that_continues_and_ended_by_the_fence():
    class Begun(SayingEngine):
        def generate(self, tasks, sampling, prefixes=None):
            self.told = prefixes, sampling.stop
            return super().generate(tasks, sampling)

    continuing, other = Begun(SAID), Begun(SAID)
    Proposer(continuing, "a-model", OPTIONS, opens=True).propose({"f.py": CODE}, {"f.py": {"double"}})
    Proposer(other, "a-model", OPTIONS).propose({"f.py": CODE}, {"f.py": {"double"}})
    assert continuing.told == (["```python\nassert double"], ("```",))
    assert other.told == (None, ())
