"""Review of code by a critic: files in, findings out."""

from custodes.critic.review.critics import Critic, EngineDied, LikelihoodCritic, Remark, SampledCritic
from custodes.critic.review.flow import Review, Reviewed, ReviewOptions, read_baseline, review, write_baseline
from custodes.critic.review.formats import FORMATS
from custodes.critic.review.snippets import Problem, Snippet, find_files

__all__ = [
    "FORMATS",
    "Critic",
    "EngineDied",
    "LikelihoodCritic",
    "Problem",
    "Remark",
    "Review",
    "ReviewOptions",
    "Reviewed",
    "SampledCritic",
    "Snippet",
    "find_files",
    "read_baseline",
    "review",
    "write_baseline",
]
