"""What somebody wrote about an answer: it teaches through the ratings that a rubric makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.rating import Rating
from custodes.ranges import ranged
from custodes.registry import objective
from custodes.reward.objective import Lesson, Material, RewardObjective

UNRATED = "no rubric has rated it; `custodes feedback comments` does"


@objective
@dataclass(kw_only=True)
@ranged
class Comments(RewardObjective):
    """Comments, which are counted here and learned from as ratings: those whose id begins with the comment's."""

    judgment = Comment
    source = "arXiv 2204.14146, with ratings in the place of refinements"

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        rated = {
            rating.id.rpartition("/")[0] for rating in material.judgments(Rating) if rating.axis in material.outputs
        }
        for comment in material.judgments(Comment):
            if comment.id in rated:
                material.used[comment.kind] += 1
            else:
                material.passes(comment, UNRATED)
        return []
