"""What people wrote about answers, read by a model: ratings by each principle of a rubric.

A comment says more than a number, but a reward learns from numbers. So a model is asked, for each comment and principle, how
good the answer is by what the comment says. The ratings carry the comment's id, so that the text stays with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from custodes.feedback.ai import read_score
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.rubric import Principle, Rubric
from custodes.job.parts import Parts
from custodes.types import Annotator, Engine, Episode, InputError, Message, Sampling, Task, hash_shown

READ = "You read what somebody wrote about an answer, and say what it means for the answer."
"""What the model is told first, where the rubric has no introduction."""
COMMENT_SCALE = """\
Answer with one number from 1 to 7 and nothing else: 1 if by the comment the answer is as bad as can be in this, 4 if the comment
says nothing about this, 7 if by the comment it is as good as can be."""


@dataclass(frozen=True, eq=False)
class RatedComments:
    """What a model made of comments."""

    annotator: Annotator
    ratings: list[Rating]
    """A rating for each comment and principle, called COMMENT/PRINCIPLE, on the axis of the principle."""
    silent: int
    """Replies of 4: the comment says nothing about the principle; they are no ratings."""
    unread: int
    """Replies that held no number from 1 to 7; they are no ratings."""


def rate_comments(
    engine: Engine,
    comments: Sequence[tuple[Comment, Episode]],
    rubric: Rubric,
    name: str = "comment reader",
    parts: Parts | None = None,
) -> RatedComments:
    """Asks ``engine`` about every comment, with the answer that it is on, and every principle, at temperature 0.

    With ``parts`` replies are kept as they come, and kept ones are not asked for again. Raises InputError where the engine
    gives another number of replies than there are questions.
    """
    asked = [(comment, episode, principle) for comment, episode in comments for principle in rubric.principles]
    tasks = [_asked(comment, episode, principle, rubric) for comment, episode, principle in asked]

    def ask(some: Sequence[Task]) -> list[str]:
        replies = engine.generate(some, Sampling(temperature=0.0, max_tokens=16)) if some else []
        if len(replies) != len(some):
            raise InputError(f"the model gave {len(replies)} replies to {len(some)} questions; ask for one each.")
        return [reply.completion for reply in replies]

    replies = parts.answers({task.id: task for task in tasks}, ask, "reading comments") if parts else ask(tasks)
    annotator = Annotator(name, "ai", {"rubric": rubric.name, "version": rubric.version})
    ratings, silent, unread = [], 0, 0
    for (comment, episode, principle), reply in zip(asked, replies, strict=True):
        value = read_score(reply, 1, 7)
        if value is None:
            unread += 1
        elif value == 4:
            silent += 1
        else:
            shown = hash_shown(*(m.content for m in episode.messages), comment.text)
            about: dict[str, Any] = {
                "annotator": name,
                "task": comment.task,
                "episodes": comment.episodes[:1],
                "shown": shown,
            }
            guideline = f"{rubric.name} {rubric.version}"
            id_ = f"{comment.id}/{principle.name}"
            ratings.append(Rating(id=id_, value=value, axis=principle.name, guideline=guideline, **about))
    return RatedComments(annotator, ratings, silent, unread)


def _asked(comment: Comment, episode: Episode, principle: Principle, rubric: Rubric) -> Task:
    request = "\n\n".join(f"{m.role}: {m.content}" for m in episode.task.messages)
    text = (
        f"{rubric.introduction or READ}\n\n# Request\n{request}\n\n# Answer\n{episode.completion}\n\n"
        f"# Comment\n{comment.text}\n\n# Question\n{principle.text}\n{COMMENT_SCALE}"
    )
    key = f"{comment.id}\0{hashlib.sha256(text.encode()).hexdigest()}\0{rubric.version}\0{principle.name}"
    return Task(f"comment-{hashlib.sha256(key.encode()).hexdigest()[:24]}", (Message("user", text),))
