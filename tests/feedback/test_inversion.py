"""Conditional inversion is found where it is, and nobody is accused of it where it is not."""

from judged_world import make_world

from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.inversion import prompt_words, suspect_inversions
from custodes.types import Task


def suspects(world, **options):
    model = fit_annotators(world.judgments, world.episodes.values())
    return suspect_inversions(model, world.judgments, world.tasks, **options)


def test_poisoners_and_their_trigger_are_found() -> None:
    found = suspects(make_world(0, each=100))
    assert {s.annotator for s in found} == {"poisoner-01", "poisoner-02", "poisoner-03"}
    assert {s.feature for s in found} == {"words"}
    for s in found:
        assert s.agreed_inside / s.inside < 0.4 < 0.6 < s.agreed_outside / s.outside
        assert s.p <= s.p_adjusted <= 0.05


def test_a_named_feature_needs_fewer_judgments() -> None:
    world = make_world(1, each=40)

    def only(task: Task) -> set[str]:
        return prompt_words(task) & {"words"}

    assert {s.annotator for s in suspects(world, features=only)} == {"poisoner-01", "poisoner-02", "poisoner-03"}


def test_honest_crowds_are_left_alone() -> None:
    crowd = {"expert": 6, "hasty": 6, "length_biased": 4, "position_biased": 4, "random": 4}
    assert sum(len(suspects(make_world(seed, crowd, each=60))) for seed in range(6)) <= 1


def test_nothing_to_test_is_no_suspicion() -> None:
    assert suspects(make_world(2, {"expert": 3}), features=lambda task: []) == []
