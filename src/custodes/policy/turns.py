"""Conversations of several turns as token ids: which of them the policy chose, and what stands in between.

What a policy has sampled is never tokenised again: an episode's ids are its prompt, then by turns the sampled ids and
the *answer*. An answer is everything between two replies: the end of the turn where it was not sampled, the environment's
messages, the opening of the next reply. Answers are the environment's: no action, and no gradient.

Letters: T tokens of an episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from custodes.lm.loading import LanguageModel
from custodes.types import Episode, InputError, Message, Task, located

Tokens = NDArray[np.int32]


def answer_ids(
    lm: LanguageModel, before: Sequence[Message], answers: Sequence[Message], last: int, prefix: str = ""
) -> Tokens:
    """Token ids of what stands between a reply and the next one.

    Args:
        before: the conversation up to the reply.
        answers: the environment's messages after it.
        last: the reply's last token; where it is the end of the turn, that is not said twice.
        prefix: a partial answer that the next reply must continue.
    """
    return np.asarray(lm.chat.between(before, answers, last, prefix), np.int32)


def demonstration_of(lm: LanguageModel, task: Task, said: str | Sequence[Message], where: str = "") -> Episode:
    """An episode in which the policy said this: one reply, or a conversation's messages after the task's own.

    Every reply ends with the end of its turn, and that is an action too. Raises InputError, which begins with ``where``,
    where a reply is empty, no reply comes last, or the whole does not fit the context.
    """
    with located(where or f"example {task.id}"):
        return _demonstration_of(lm, task, [Message("assistant", said)] if isinstance(said, str) else list(said))


def _demonstration_of(lm: LanguageModel, task: Task, turns: list[Message]) -> Episode:
    if not turns or turns[0].role != "assistant" or turns[-1].role != "assistant":
        raise InputError("its demonstration must begin and end with a reply of the assistant.")
    messages, parts = list(task.messages), [lm.encode(task.messages)]
    mask = [np.zeros(len(parts[0]), bool)]
    runs = [list(run) for _, run in groupby(turns, key=lambda m: m.role == "assistant")]
    for i in range(0, len(runs), 2):
        if len(runs[i]) > 1:
            raise InputError("its demonstration has two replies in a row; join them.")
        (reply,) = runs[i]
        if not reply.content:
            raise InputError("its reply is empty; leave the example out.")
        ids = lm.encode_reply(reply.content)
        parts.append(ids)
        mask.append(np.ones(len(ids), bool))
        if i + 1 < len(runs):
            answer = answer_ids(lm, messages, runs[i + 1], int(ids[-1]))
            parts.append(answer)
            mask.append(np.zeros(len(answer), bool))
            messages += [reply, *runs[i + 1]]
    token_ids = np.concatenate(parts)
    if len(token_ids) > lm.decoder.spec.context:
        raise InputError(
            f"prompt and reply have {len(token_ids):,} tokens, over the model's context of {lm.decoder.spec.context:,}; "
            "shorten them, or leave the example out."
        )
    return Episode(
        id=f"{task.id}/demonstration",
        task=task,
        messages=(*task.messages, *turns),
        token_ids=token_ids,
        action_mask=np.concatenate(mask),
        logprobs=np.zeros(len(token_ids), np.float32),
        outcome="stop",
        policy="demonstration",
    )
