"""Conversations of several turns as token ids: which of them the policy chose, and what stands in between.

What a policy has sampled is never tokenised again: an episode's ids are its prompt, then by turns the sampled ids and
the *answer*, everything between two replies (the end of the turn where it was not sampled, the environment's messages,
the opening of the next reply). Answers are the environment's: no action, and no gradient.

Letters: T tokens of an episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from custodes.lm.loading import LanguageModel
from custodes.types import Episode, InputError, Message, Task

Tokens = NDArray[np.int32]
PLACE = "\ue000reply\ue000"
"""Stands for a reply where a template is rendered around it: private characters that no conversation holds."""


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
    if lm.tokenizer.chat_template is None:
        start = len(lm.tokenizer("")["input_ids"])  # a tokenizer's own token for the beginning of a text
        ids = lm.encode(answers).tolist()[start:]
    else:
        turns = [m.to_dict() for m in (*before, Message("assistant", PLACE), *answers)]
        text = lm.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        ids = lm.tokenizer(text.rpartition(PLACE)[2], add_special_tokens=False)["input_ids"]
    if last in lm.end_ids and ids and ids[0] == last:
        ids = ids[1:]
    if prefix:
        ids = [*ids, *lm.tokenizer(prefix, add_special_tokens=False)["input_ids"]]
    return np.asarray(ids, np.int32)


def demonstration(lm: LanguageModel, task: Task, said: str | Sequence[Message]) -> Episode:
    """An episode in which the policy said this: one reply, or a conversation's messages after the task's own.

    Every reply ends with the end of its turn, and that is an action too. Raises InputError where a reply is empty, no
    reply comes last, or the whole does not fit the context.
    """
    turns = [Message("assistant", said)] if isinstance(said, str) else list(said)
    if not turns or turns[0].role != "assistant" or turns[-1].role != "assistant":
        raise InputError(f"the demonstration of task {task.id} must begin and end with a reply of the assistant.")
    messages, parts = list(task.messages), [lm.encode(task.messages)]
    mask = [np.zeros(len(parts[0]), bool)]
    runs = [list(run) for _, run in groupby(turns, key=lambda m: m.role == "assistant")]
    for i in range(0, len(runs), 2):
        if len(runs[i]) > 1:
            raise InputError(f"the demonstration of task {task.id} has two replies in a row; join them.")
        (reply,) = runs[i]
        if not reply.content:
            raise InputError(f"the reply to task {task.id} is empty; leave the example out.")
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
            f"the reply to task {task.id} brings it to {len(token_ids)} tokens, over the context of {lm.decoder.spec.context}."
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
