"""The paper's findings, looked for in comparisons whose answer is known."""

from __future__ import annotations

from collections.abc import Mapping

from panel_world import ASKED, noisy, right, silent

from custodes.critic.panel import compare
from custodes.critic.paper import paper_findings

CRITICS = {"silent": silent, "noisy": noisy, "right": right}


def verdicts(**critics: str) -> dict[str, str]:
    """Verdict by finding, where each policy is one of the critics."""
    return {f["finding"].split()[0] + " " + f["finding"].split()[-1]: f["verdict"] for f in findings(**critics)}


def findings(tokens: Mapping[str, int] = {}, **critics: str) -> list[dict[str, str]]:
    names = {name.replace("_", " "): critic for name, critic in critics.items()}
    compared = compare(ASKED, {n: [CRITICS[critic](q) for q in ASKED] for n, critic in names.items()},
                       tokens={name: [n] * len(ASKED) for name, n in tokens.items()})  # fmt: skip
    return paper_findings(
        compared,
        warm_start="warm start",
        rl="rl",
        sampled=["warm start", "rl"],
        searched=["search", "other search"],
        matched=["search"],
        models=["warm start", "rl", "search", "other search"],
        teams=["team"],
        best_of=["best of", "best of more"],
    )


CUTS, NITPICKS, SEARCH, MATCHED, TEAM = "RL hallucinations", "RL nitpicks", "FSBS not", "FSBS more", "a alone"


def test_every_finding_holds_where_it_does_and_not_where_it_does_not() -> None:
    good = verdicts(warm_start="noisy", rl="silent", search="right", team="right")
    assert good[CUTS] == "holds"
    assert good[NITPICKS] == "not decided"  # nobody nitpicks, before or after
    assert good[SEARCH] == "holds"
    assert good[TEAM] == "not decided"  # the search is as good alone
    bad = verdicts(warm_start="silent", rl="noisy", search="silent", team="silent")
    assert bad[CUTS] == "does not hold"
    assert bad[SEARCH] == "not decided"
    worse = verdicts(warm_start="right", rl="right", search="silent", team="silent")
    assert worse[SEARCH] == worse[TEAM] == "does not hold"
    assert verdicts(warm_start="silent", rl="silent", search="silent", team="right")[TEAM] == "holds"


def test_the_best_of_several_searches_decides_and_its_order_among_the_policies_does_not() -> None:
    assert verdicts(other_search="right", search="silent", warm_start="silent", rl="silent")[SEARCH] == "holds"


def test_a_rival_that_says_more_that_is_false_is_no_rival() -> None:
    assert verdicts(warm_start="noisy", rl="silent", search="right")[SEARCH] == "holds"
    # as many bugs as the noisy one, with less noise: only the silent one says as little
    assert verdicts(warm_start="noisy", search="right")[SEARCH] == "not decided"  # no more bugs than the only rival


def test_where_as_many_samples_were_drawn_a_search_must_beat_the_best_of_them() -> None:
    alone = {"rl": "silent", "search": "right"}
    assert verdicts(**alone)[SEARCH] == "holds"
    assert verdicts(**alone, best_of="right")[SEARCH] == "not decided"  # that is no search
    assert verdicts(**alone, best_of="silent", best_of_more="right")[SEARCH] == "not decided"  # at another modifier
    assert verdicts(rl="right", search="right", best_of="silent")[SEARCH] == "holds"  # one sample is not as many


def test_whom_a_search_was_compared_with_is_said_and_at_how_many_tokens() -> None:
    (found,) = findings({"search": 1200, "best of": 1300}, search="right", best_of="silent")
    assert found["finding"] == "FSBS reaches what the best of as many plain samples does not"
    assert found["measured"].startswith("search - best of: +1.00")
    assert found["measured"].endswith("1,200 against 1,300 tokens drawn")
    (found,) = findings(search="right", best_of="right")
    assert found["measured"].startswith("search - best of: +0.00 [−0.09, 0.09]")
    (found,) = findings(search="right", rl="silent")
    assert found["finding"] == "FSBS reaches what one plain sample does not"
    assert "tokens" not in found["measured"]


def test_more_bugs_at_the_price_of_more_hallucinations_are_told_apart() -> None:
    assert verdicts(warm_start="silent", search="right")[MATCHED] == "holds"
    assert verdicts(warm_start="silent", search="noisy")[MATCHED] == "does not hold"  # it hallucinates
    assert verdicts(warm_start="right", search="right")[MATCHED] == "not decided"  # no more bugs


def test_findings_without_policies_are_left_out() -> None:
    assert verdicts(warm_start="noisy") == {}
    assert set(verdicts(warm_start="noisy", rl="right")) == {CUTS, NITPICKS}
