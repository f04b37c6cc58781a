"""Suspects and their evidence."""

from custodes.audit.sections.judges import AnnotatorEstimate, _figures


def estimate(reliability: float, se: float = 0.1, **known: object) -> AnnotatorEstimate:
    return AnnotatorEstimate(judgments=40, reliability=reliability, reliability_se=se, **known)


CROWD = {
    **{f"good{i}": estimate(1 + 0.05 * i, nature="expert", true_reliability=1 + 0.05 * i) for i in range(5)},
    "random": estimate(0.0, nature="random", true_reliability=0.0),
    "poisoner": estimate(-0.9, nature="poisoner", true_reliability=-1.0),
    "unsure": estimate(0.1, se=0.5, nature="hasty", true_reliability=0.7),
    "first": estimate(1.0, position=1.5, position_se=0.2, nature="position_biased", true_reliability=0.9),
    "long": estimate(1.0, length=-1.5, length_se=0.2, nature="length_biased", true_reliability=0.92),
    "triggered": estimate(
        0.8,
        nature="poisoner",
        feature="words",
        agreed_inside=2,
        inside=14,
        agreed_outside=24,
        outside=26,
        p_adjusted=0.001,
    ),
    "fickle": estimate(1.0, repeats=60, repeats_same=30, nature="random", true_reliability=0.91),
}


def test_each_suspect_has_its_own_evidence_and_the_least_reliable_come_first() -> None:
    figures = _figures(CROWD, dict.fromkeys(CROWD, "simulated"))
    evidence = {j["id"]: "; ".join(j["evidence"]) for j in figures["judges"] if j["suspect"]}
    assert figures["judges"][0]["id"] == "poisoner"
    assert "against the truth" in evidence["poisoner"]
    assert "told from chance" in evidence["random"]
    assert "shown first" in evidence["first"]
    assert "shorter" in evidence["long"]
    assert "2 of 14" in evidence["triggered"]
    assert "50.0" in evidence["fickle"]
    assert set(evidence) == {"poisoner", "random", "first", "long", "fickle", "triggered"}
    assert figures["suspects"] == 6
    assert figures["simulated"] == len(CROWD)


def test_a_wide_interval_is_no_evidence() -> None:
    judges = {j["id"]: j for j in _figures(CROWD, {})["judges"]}
    assert not judges["unsure"]["suspect"]
    assert judges["unsure"]["kind"] == "not recorded"


def test_truth_is_compared_only_where_it_is_known() -> None:
    known = _figures(CROWD, {})
    assert known["rank_correlation"].estimate > 0.8
    assert known["detection"]["caught"].estimate == 1
    assert known["detection"]["wrongly"].estimate == 0
    people = _figures({f"p{i}": estimate(1.0) for i in range(6)}, {})
    assert people["rank_correlation"] is None
    assert people["detection"] is None
