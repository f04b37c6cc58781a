"""Rules tell the inserted bug from what is false or petty; simulated raters err as stated."""

import numpy as np

from custodes.critic.rating import AXES, SimulatedRater, _concepts, _nitpick, describes, rate_critique
from custodes.critic.tamper import candidates, tamper
from custodes.feedback.critique import Critique, Finding

CODE = """def last(items, count):
    found = []
    for i in range(len(items) - count, len(items)):
        found.append(items[i])
    return found
"""
EDIT = next(e for e in candidates(CODE, 99) if e.operator == "range_bound" and e.text == "len(items) - 1")
MADE = tamper(CODE, [EDIT])
(BUG,) = MADE.bugs
LINE = MADE.code.split("\n")[2]


def rated(*findings: tuple[str, str]):
    return rate_critique(Critique(tuple(Finding(q, c) for q, c in findings)), MADE.code, MADE.bugs)


def test_the_bug_is_included_when_its_line_is_quoted_and_it_is_described():
    result = rated((LINE, "The range stops one element early, so the last item is left out."))
    assert (result.located, result.included, result.hallucinations) == (1, 1, 0)
    assert result.scales()["cbi"] == 7


def test_the_right_line_with_another_story_is_only_nearby():
    result = rated((LINE, "This opens a file and leaks it."))
    assert (result.located, result.included) == (1, 0)
    assert result.scales()["cbi"] == 4


def test_findings_elsewhere_are_hallucinations_and_so_are_quotes_that_do_not_occur():
    result = rated(("    found = []", "This list is never returned."), ("items.pop()", "Wrong element."))
    assert [f.kind for f in result.findings] == ["hallucination", "misquote"]
    assert result.scales()["hallucination"] == 7


def test_petty_remarks_are_nitpicks_with_a_category():
    result = rated(
        ("    found = []", "A more descriptive name would be clearer; consider renaming."), (LINE, "Add type hints.")
    )
    assert [f.kind for f in result.findings] == ["nitpick", "nitpick"]
    assert [f.category for f in result.findings] == ["naming", "typing"]
    assert _nitpick("The index is wrong.") == ""


def test_every_description_describes_its_own_bug_and_few_others():
    bugs = [tamper(CODE, [e]).bugs[0] for e in candidates(CODE, 99)]
    assert all(describes(bug.description, bug) for bug in bugs)
    assert all(_concepts(bug.description) for bug in bugs)
    assert not describes("Looks fine to me.", BUG)


def test_clean_code_is_best_served_by_silence():
    silent = rate_critique(Critique(), CODE, ())
    loud = rate_critique(Critique((Finding("    found = []", "The list is never filled."),)), CODE, ())
    assert silent.scales()["overall"] == 7
    assert loud.scales()["overall"] < 4
    assert set(silent.scales()) == set(AXES)


def test_a_simulated_rater_errs_as_often_as_it_says():
    truth = rated((LINE, "The range stops one element early, so the last item is left out."))
    rater = SimulatedRater(id="r", slip=0.2, spread=0.0)
    values = [{j.axis: j.value for j in rater.ratings("t", f"e{i}", f"critique {i}", truth)} for i in range(600)]
    slipped = np.mean([v["cbi"] == 1 for v in values])
    assert 0.15 < slipped < 0.25
    assert {v["comprehensiveness"] for v in values} == {7}
    assert rater.annotator.kind == "simulated"
    assert rater.annotator.profile["slip"] == 0.2


def test_a_simulated_rater_says_the_same_again():
    truth, rater = rated((LINE, "Off by one.")), SimulatedRater(id="r")
    assert rater.ratings("t", "e", "c", truth) == rater.ratings("t", "e", "c", truth)
    assert len(rater.ratings("t", "e", "c", truth)) == 6
