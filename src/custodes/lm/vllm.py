"""Sampling with vLLM in this process: the engine for many or large accelerators.

Prompts go in and replies come out as token ids, and the log-probabilities are those of the
distribution that was sampled from, as the learner needs them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.lm.chat import Chat
from custodes.lm.requests import sampled_episode
from custodes.types import Episode, InputError, Outcome, Sampling, Task, located

OUTCOMES: Mapping[str | None, Outcome] = {"stop": "stop", "length": "length"}  # anything else is "error"


class VllmEngine:
    """Draws replies with vLLM. Implements :class:`custodes.types.Engine`.

    Args:
        path: a model folder or hub id.
        dtype: precision of computation.
        context: longest prompt and reply together, in tokens; by default the model's own limit.
        policy: version name written into episodes; by default ``path``.
        options: handed to ``vllm.LLM``, e.g. ``tensor_parallel_size`` or ``gpu_memory_utilization``.

    Raises:
        InputError: vLLM is not installed, or it cannot load the model.
    """

    def __init__(
        self, path: str | Path, *, dtype: str = "bfloat16", context: int | None = None, policy: str = "", **options: Any
    ) -> None:
        try:
            from vllm import LLM
        except ImportError as error:
            raise InputError(
                f"the vLLM engine needs vllm, which cannot be imported here ({error}): pip install 'custodes[distributed]'."
            ) from None
        # Reported after temperature, top-k and top-p: the sampler's own probabilities.
        options = {"logprobs_mode": "processed_logprobs", **options}
        try:
            self.llm = LLM(model=str(path), dtype=dtype, max_model_len=context, **options)
        except (ValueError, OSError, TypeError) as error:
            raise InputError(f"vLLM cannot load {path}: {str(error).strip().splitlines()[0]}") from error
        self.tokenizer: Any = self.llm.get_tokenizer()
        if self.tokenizer.chat_template is None:
            raise InputError(f"the tokenizer of {path} has no chat template; add chat_template.jinja to its folder.")
        self.chat = Chat(self.tokenizer, [i for i in [self.tokenizer.eos_token_id] if i is not None], str(path))
        self.context: int = self.llm.llm_engine.model_config.max_model_len
        self.policy = policy or str(path)

    def generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Episode]:
        """``len(tasks) * sampling.n`` episodes, those of one task side by side.

        The tokens of a prefix are part of the episode but not actions. Raises InputError where a prompt
        and its reply would not fit the model's context.
        """
        from vllm import SamplingParams

        if prefixes is not None and len(prefixes) != len(tasks):
            raise InputError(f"{len(prefixes)} prefixes for {len(tasks)} tasks; give one for each, empty where none.")
        starts = prefixes or [""] * len(tasks)
        prompts = [self._encode(task, start, sampling) for task, start in zip(tasks, starts, strict=True)]
        options = [
            SamplingParams(
                n=sampling.n,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=sampling.max_tokens,
                min_tokens=sampling.min_tokens,
                stop=list(sampling.stop),
                stop_token_ids=[*self.chat.end_ids, *sampling.stop_ids],
                seed=seed,
                logprobs=0,  # of the drawn token alone
            )
            for seed in _seeds(sampling.seed, prompts)
        ]
        results = self.llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], options, use_tqdm=False)
        return [
            self._episode(task, prompt, start, output)
            for task, prompt, start, result in zip(tasks, prompts, starts, results, strict=True)
            for output in sorted(result.outputs, key=lambda output: output.index)
        ]

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[NDArray[np.float32]]:
        """Per episode (T,), nats: log-probability of each action token, 0 elsewhere.

        Raises InputError for a temperature other than 1, at which vLLM does not score given tokens.
        """
        from vllm import SamplingParams

        if temperature != 1.0:
            raise InputError(f"vLLM scores given tokens at temperature 1; {temperature} was asked for.")
        prompts = [{"prompt_token_ids": episode.token_ids.tolist()} for episode in episodes]
        scoring = SamplingParams(max_tokens=1, prompt_logprobs=0)
        scores = []
        for episode, result in zip(episodes, self.llm.generate(prompts, scoring, use_tqdm=False), strict=True):
            values = np.zeros(len(episode.token_ids), np.float32)
            for position in np.flatnonzero(episode.action_mask):
                values[position] = result.prompt_logprobs[position][int(episode.token_ids[position])].logprob
            scores.append(values)
        return scores

    def _encode(self, task: Task, prefix: str, sampling: Sampling) -> list[int]:
        with located(f"task {task.id}"):
            ids = self.chat.prompt(task.messages, prefix)
        if len(ids) + sampling.max_tokens > self.context:
            raise InputError(
                f"task {task.id}: its prompt of {len(ids)} tokens and a reply of up to {sampling.max_tokens} exceed "
                f"the context of {self.context} tokens; shorten either."
            )
        return ids

    def _episode(self, task: Task, prompt: list[int], prefix: str, output: Any) -> Episode:
        reply = list(output.token_ids)
        logprobs = [entry[token].logprob for token, entry in zip(reply, output.logprobs or [], strict=True)]
        text = prefix + output.text if prefix else self.chat.said(output.text)
        outcome, draw = OUTCOMES.get(output.finish_reason, "error"), f"{self.policy} {output.index}".encode()
        return sampled_episode(task, text, (prompt, reply), logprobs, outcome, self.policy, draw)


def _seeds(seed: int, prompts: Sequence[Sequence[int]]) -> list[int]:
    """One seed a prompt, of its own tokens, so that a reply does not depend on what else is in the batch.

    A prompt that comes again draws anew. (vLLM adds the number of the sample to it.)
    """
    seen: Counter[bytes] = Counter()
    seeds = []
    for prompt in prompts:
        key = np.asarray(prompt, np.int32).tobytes()
        digest = blake2b(key + f"{seed} {seen[key]}".encode(), digest_size=6).digest()
        seen[key] += 1
        seeds.append(int.from_bytes(digest, "little"))
    return seeds
