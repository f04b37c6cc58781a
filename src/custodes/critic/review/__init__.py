"""Review of code by a critic: files in, findings out."""

from custodes.critic.review.answers import cutter, read_answers
from custodes.critic.review.baseline import Baseline, read_baseline, write_baseline
from custodes.critic.review.critics import Critic, EngineDied, LikelihoodCritic, Remark, SampledCritic
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.formats import FORMATS
from custodes.critic.review.line_critic import LineCritic
from custodes.critic.review.question import Commentator
from custodes.critic.review.reviewed import Review, Reviewed
from custodes.critic.review.search_critic import SearchCritic
from custodes.critic.review.snippets import Problem, Snippet, find_files

__all__ = [
    "FORMATS",
    "Baseline",
    "Commentator",
    "Critic",
    "EngineDied",
    "LikelihoodCritic",
    "LineCritic",
    "Problem",
    "Remark",
    "Review",
    "ReviewOptions",
    "Reviewed",
    "SampledCritic",
    "SearchCritic",
    "Snippet",
    "cutter",
    "find_files",
    "read_answers",
    "read_baseline",
    "review",
    "write_baseline",
]
