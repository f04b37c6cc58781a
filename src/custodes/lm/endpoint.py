"""Sampling from any server that speaks OpenAI's chat protocol.

The protocol carries text. Servers built on vLLM or SGLang add to it what a learner needs: token ids,
continuations of a partial answer, log-probabilities of given tokens. Whether a server has these
additions is asked once, and what needs them is refused where they are missing.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import os
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray

from custodes.lm.given import CannotTell, check_continues
from custodes.types import Episode, InputError, Message, Outcome, Sampling, Task, hash_shown

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRYABLE = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # busy or broken now, perhaps not later
OUTCOMES: Mapping[str, Outcome] = {"stop": "stop", "length": "length", "tool_calls": "stop"}
MOST_TOKENS = 20
"""Likeliest first tokens that are asked for: as many as OpenAI's protocol gives."""
SERVERS_WITH_EXTENSIONS = {"vllm", "sglang"}  # as they call themselves in "owned_by"


class EndpointDown(InputError):  # noqa: N818 - what happened, not who erred
    """Nothing answers, or the key or the model is refused: other requests would fare no better."""


class Price(NamedTuple):
    """US dollars per million tokens."""

    prompt: float = 0.0
    completion: float = 0.0


@dataclass
class EndpointEngine:
    """An :class:`~custodes.types.Engine` over HTTP.

    Every reply is one request, so that its tokens, cost, seconds and failures are its own. A reply that
    fails after all retries is an episode with outcome "error", never left out. Each episode's ``cost``
    holds ``prompt_tokens``, ``completion_tokens``, ``usd``, ``seconds`` and ``attempts``.
    """

    base_url: str
    """Up to and including the version, e.g. ``http://localhost:8000/v1``."""
    model: str
    """As the server calls it."""
    api_key: str | None = field(default=None, repr=False)
    """Default: the environment variable OPENAI_API_KEY, where it is set."""
    timeout: float = 120.0
    """Seconds to wait for one answer."""
    max_retries: int = 5
    """Attempts after the first, for a connection that fails, a server that is busy, an answer that makes no sense."""
    backoff: float = 0.5
    """Seconds before the first retry; doubled each time up to a minute, with jitter; Retry-After comes first."""
    concurrency: int = 16
    """Requests under way at once."""
    price: Price = field(default_factory=Price)
    """What the endpoint charges."""
    extensions: bool | None = None
    """Whether the server has vLLM's additions to the protocol. None asks the server."""

    def __post_init__(self) -> None:
        self.base_url = self.base_url.rstrip("/")
        if not self.base_url.startswith(("http://", "https://")):
            raise InputError(f"endpoint {self.base_url!r} is not an address; it must begin with http:// or https://.")
        if self.timeout <= 0 or self.max_retries < 0 or self.backoff < 0 or self.concurrency < 1:
            raise InputError(
                f"endpoint options timeout={self.timeout}, max_retries={self.max_retries}, backoff={self.backoff}, "
                f"concurrency={self.concurrency}: they must be above 0, 0 or more, 0 or more, and 1 or more."
            )
        self._reached = False  # the server has been asked what it serves

    def generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Episode]:
        """``len(tasks) * sampling.n`` episodes, those of one task side by side.

        Token ids, mask and log-probabilities are filled where the server has vLLM's additions, and empty
        where it has not. A server reports log-probabilities at temperature 1 over the whole vocabulary;
        for replies drawn otherwise they are NaN, because the sampler's own are not known.

        Raises EndpointDown when the server cannot be reached, refuses the key or does not have the model, or when no
        request is answered; InputError when every request is refused, and for options that need additions it does not have.
        """
        return _run(self._generate(tasks, sampling, prefixes))

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[NDArray[np.float32]]:
        """Per episode (T,), nats: log-probability of each action token, 0 elsewhere.

        Raises InputError when the server does not have vLLM's additions, for a temperature other than 1, for
        episodes without token ids, and when an episode could not be scored.
        """
        if temperature != 1.0:
            raise InputError(f"an endpoint scores tokens at temperature 1; {temperature} was asked for.")
        if bare := [e.id for e in episodes if len(e.token_ids) == 0]:
            raise InputError(f"episode {bare[0]} has no token ids, so an endpoint cannot score it.")
        return _run(self._logprobs(episodes))

    def reply_logprobs(self, tasks: Sequence[Task], replies: Sequence[str]) -> NDArray[np.float64]:
        """(B,) nats: log-probability that the reply to ``tasks[i]`` begins with ``replies[i]``, summed over its tokens.

        With vLLM's additions the server scores the reply itself. Any other server is asked for the likeliest first tokens
        (``logprobs``). A reply is then one token, with or without a blank before it. One that is not among the
        likeliest counts as the least likely of them. Raises :class:`~custodes.lm.given.CannotTell` for a server that gives
        no log-probabilities, for longer replies, and where prompt and reply merge.
        """
        return _run(self._reply_logprobs(tasks, replies))

    def continues(self) -> bool:
        """Whether the server goes on with a partial answer. Raises InputError when it cannot be reached."""
        return _run(self._continues())

    # ------------------------------------------------------------ what is sent and what comes back

    async def _continues(self) -> bool:
        async with self._connect() as connection:
            await self._reach(connection)
        return bool(self.extensions)

    async def _generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None
    ) -> list[Episode]:
        async with self._connect() as connection:
            await self._reach(connection)
            starts = prefixes or [""] * len(tasks)
            self._require_extensions(sampling, any(starts))
            asked = [(task, start) for task, start in zip(tasks, starts, strict=True) for _ in range(sampling.n)]
            work = [
                self._reply(connection, task, sampling, start, seed)
                for (task, start), seed in zip(asked, _seeds(sampling.seed, asked), strict=True)
            ]
            results = await asyncio.gather(*work)
        if results and all(answer.hopeless for _, answer in results):
            down = all(answer.status is None for _, answer in results)
            raise (EndpointDown if down else InputError)(
                f"every request to {self.base_url} failed; the first: {results[0][1].failure}."
            )
        return [episode for episode, _ in results]

    async def _reply(
        self, connection: _Connection, task: Task, sampling: Sampling, prefix: str, seed: int
    ) -> tuple[Episode, _Answer]:
        """One episode, and the answer that it was read from."""
        began = time.perf_counter()
        body = self._chat_request(task, sampling, prefix, seed)
        answer = await self._ask(connection, "/chat/completions", body, lambda data: _read_chat(data, sampling))
        episode_id, seconds = uuid.uuid4().hex, time.perf_counter() - began
        if answer.failure is not None:
            log.warning("%s: a reply to task %s failed: %s", self.base_url, task.id, answer.failure)
            cost = {"seconds": seconds, "attempts": float(answer.attempts)}
            return Episode(episode_id, task, task.messages, *_no_tokens(), "error", self.model, cost), answer
        reply: _Reply = answer.value
        usd = (reply.prompt_tokens * self.price.prompt + reply.completion_tokens * self.price.completion) / 1e6
        cost = {
            "prompt_tokens": float(reply.prompt_tokens),
            "completion_tokens": float(reply.completion_tokens),
            "usd": usd,
            "seconds": seconds,
            "attempts": float(answer.attempts),
        }
        messages = (*task.messages, Message("assistant", prefix + reply.text))
        return Episode(episode_id, task, messages, *reply.tokens, reply.outcome, self.model, cost), answer

    def _chat_request(self, task: Task, sampling: Sampling, prefix: str, seed: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [message.to_dict() for message in task.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self.extensions:
            body |= {"logprobs": True, "return_token_ids": True}
            if sampling.top_k:
                body["top_k"] = sampling.top_k
            if sampling.min_tokens:
                body["min_tokens"] = sampling.min_tokens
            if sampling.stop_ids:
                body["stop_token_ids"] = list(sampling.stop_ids)
        if prefix:
            body["messages"].append({"role": "assistant", "content": prefix})
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        return body

    def _require_extensions(self, sampling: Sampling, continued: bool) -> None:
        if self.extensions:
            return
        needs = {
            "continuing a partial answer": continued,
            "top_k": sampling.top_k,
            "min_tokens": sampling.min_tokens,
            "stop_ids": sampling.stop_ids,
        }
        if missing := [name for name, used in needs.items() if used]:
            raise InputError(
                f"the server at {self.base_url} does not offer {' or '.join(missing)}: it does not name itself one of "
                f"{', '.join(sorted(SERVERS_WITH_EXTENSIONS))} (set extensions=True if it is one behind a proxy)."
            )

    async def _logprobs(self, episodes: Sequence[Episode]) -> list[NDArray[np.float32]]:
        async with self._connect() as connection:
            await self._reach(connection)
            if not self.extensions:
                raise InputError(f"the server at {self.base_url} cannot score given tokens; one run by vLLM can.")
            answers = await asyncio.gather(*(self._score(connection, episode) for episode in episodes))
        for episode, answer in zip(episodes, answers, strict=True):
            if answer.failure is not None:
                raise InputError(f"{self.base_url} could not score episode {episode.id}: {answer.failure}.")
        return [answer.value for answer in answers]

    async def _reply_logprobs(self, tasks: Sequence[Task], replies: Sequence[str]) -> NDArray[np.float64]:
        prompts = {task.id: task for task in tasks}
        async with self._connect() as connection:
            await self._reach(connection)
            if not self.extensions and (longer := [reply for reply in replies if not reply.isalnum()]):
                raise CannotTell(
                    f"the server at {self.base_url} gives log-probabilities of first tokens alone; {longer[0]!r} takes several."
                )
            asked = await asyncio.gather(*(self._opening(connection, task) for task in prompts.values()))
            openings = dict(zip(prompts, map(self._told, asked), strict=True))
            if not self.extensions:
                return np.array([_first_token(openings[t.id], r) for t, r in zip(tasks, replies, strict=True)])
            work = [self._given(connection, task, reply) for task, reply in zip(tasks, replies, strict=True)]
            wholes = [self._told(answer) for answer in await asyncio.gather(*work)]
        for task, reply, (ids, _) in zip(tasks, replies, wholes, strict=True):
            check_continues(self.model, reply, openings[task.id], ids)
        starts = [len(openings[task.id]) for task in tasks]
        return np.array([float(np.sum(nats[start:])) for (_, nats), start in zip(wholes, starts, strict=True)])

    def _told(self, answer: _Answer) -> Any:
        if answer.failure is not None:
            raise CannotTell(f"{self.base_url} gives no log-probabilities ({answer.failure}).")
        return answer.value

    async def _opening(self, connection: _Connection, task: Task) -> _Answer:
        """The tokens of a prompt; of a server without vLLM's additions its likeliest first tokens."""
        body = self._chat_request(task, Sampling(max_tokens=1), "", 0)
        if self.extensions:
            return await self._ask(connection, "/chat/completions", body, lambda data: list(data["prompt_token_ids"]))
        body |= {"logprobs": True, "top_logprobs": MOST_TOKENS}
        return await self._ask(connection, "/chat/completions", body, _read_first_tokens)

    async def _given(self, connection: _Connection, task: Task, reply: str) -> _Answer:
        """The tokens of a prompt with a reply's beginning, and their log-probabilities."""
        body = self._chat_request(task, Sampling(max_tokens=1), reply, 0) | {"prompt_logprobs": 0}
        return await self._ask(connection, "/chat/completions", body, _read_given)

    async def _score(self, connection: _Connection, episode: Episode) -> _Answer:
        body = {
            "model": self.model,
            "prompt": episode.token_ids.tolist(),
            "max_tokens": 1,  # servers refuse 0
            "temperature": 1.0,
            "prompt_logprobs": 0,
        }
        return await self._ask(connection, "/completions", body, lambda data: _read_scores(data, episode))

    # ------------------------------------------------------------ asking, again if need be

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[_Connection]:
        key = self.api_key or os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with httpx.AsyncClient(base_url=self.base_url, headers=headers, timeout=self.timeout) as client:
            yield _Connection(client, asyncio.Semaphore(self.concurrency))

    async def _reach(self, connection: _Connection) -> None:
        """Once: is anybody there, do they have the model, and what can they do."""
        if self._reached:
            return
        answer = await self._ask(connection, "/models", None, _read_models)
        if answer.status is None:
            raise EndpointDown(f"nothing answers at {self.base_url} ({answer.failure}); check the address.")
        served = answer.value if answer.failure is None else {}  # not every server lists its models
        if served and self.model not in served:
            raise EndpointDown(
                f"the server at {self.base_url} does not have the model {self.model!r}; it has {', '.join(served)}."
            )
        if self.extensions is None:
            self.extensions = served.get(self.model, "").lower() in SERVERS_WITH_EXTENSIONS
        self._reached = True

    async def _ask(
        self, connection: _Connection, path: str, body: dict[str, Any] | None, read: Callable[[Any], Any]
    ) -> _Answer:
        """Post ``body`` (get, when None) and ``read`` the JSON that comes; failures are returned, not raised.

        The slot is kept while waiting to retry: a server that says it is busy is asked less.
        """
        failure, status = "", None
        async with connection.slots:
            for attempt in range(1, self.max_retries + 2):
                wait = min(60.0, self.backoff * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
                try:
                    response = await connection.client.request("GET" if body is None else "POST", path, json=body)
                    status = response.status_code
                    if status == 200:
                        return _Answer(read(response.json()), None, attempt, status)
                    failure = f"status {status}, {_complaint(response)}"
                    if status not in RETRYABLE:
                        self._refuse(response, path)
                        return _Answer(None, failure, attempt, status)
                    wait = _retry_after(response) or wait
                except httpx.TimeoutException:
                    failure = f"no answer in {self.timeout:g} s"
                except httpx.TransportError as error:
                    failure = str(error) or type(error).__name__
                except InputError:
                    raise
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    failure = f"an answer that is not of the protocol ({error})"
                if attempt <= self.max_retries:
                    await asyncio.sleep(wait)
        return _Answer(None, failure, self.max_retries + 1, status)

    def _refuse(self, response: httpx.Response, path: str) -> None:
        """Raise for what no other request would change: a refused key, a model or a path that is not there."""
        if response.status_code in (401, 403):
            raise EndpointDown(
                f"the server at {self.base_url} refuses the API key (status {response.status_code}); "
                "give api_key or set OPENAI_API_KEY."
            )
        if response.status_code == 404 and path != "/models":
            raise EndpointDown(
                f"the server at {self.base_url} does not have the model {self.model!r} or the path {path} "
                f"(status 404, {_complaint(response)})."
            )


class _Connection(NamedTuple):
    client: httpx.AsyncClient
    slots: asyncio.Semaphore


class _Answer(NamedTuple):
    value: Any
    failure: str | None
    attempts: int
    status: int | None
    """Of the last response; None when no attempt brought one."""

    @property
    def hopeless(self) -> bool:
        """Nobody answered, or the request itself was refused: asking the same later would not help."""
        return self.failure is not None and (self.status is None or self.status not in {200, *RETRYABLE})


class _Reply(NamedTuple):
    text: str
    outcome: Outcome
    prompt_tokens: int
    completion_tokens: int
    tokens: tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.float32]]


def _seeds(seed: int, asked: Sequence[tuple[Task, str]]) -> list[int]:
    """One seed a reply, of what it replies to, so that it does not depend on what else is asked.

    A question that comes again draws anew.
    """
    seen: Counter[str] = Counter()
    seeds = []
    for task, prefix in asked:
        question = hash_shown(*(part for m in task.messages for part in (m.role, m.content)), prefix)
        seeds.append(int(hash_shown(question, str(seed), str(seen[question]))[:7], 16))  # servers take 31 bits
        seen[question] += 1
    return seeds


def _read_chat(data: Any, sampling: Sampling) -> _Reply:
    choice, usage = data["choices"][0], data.get("usage") or {}
    return _Reply(
        text=choice["message"]["content"] or "",
        outcome=OUTCOMES.get(choice["finish_reason"], "error"),
        prompt_tokens=int(usage.get("prompt_tokens", 0)),
        completion_tokens=int(usage.get("completion_tokens", 0)),
        tokens=_read_tokens(data.get("prompt_token_ids"), choice, sampling),
    )


def _read_tokens(
    prompt: list[int] | None, choice: Mapping[str, Any], sampling: Sampling
) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.float32]]:
    reply = choice.get("token_ids")
    if prompt is None or reply is None:
        return _no_tokens()
    ids = np.array([*prompt, *reply], np.int32)
    chosen = np.arange(len(ids)) >= len(prompt)
    logprobs = np.zeros(len(ids), np.float32)
    as_reported = sampling.temperature in (0.0, 1.0) and sampling.top_p == 1.0 and not sampling.top_k
    reported = [entry["logprob"] for entry in (choice.get("logprobs") or {}).get("content") or []]
    logprobs[chosen] = reported if as_reported and len(reported) == len(reply) else np.nan
    return ids, chosen, logprobs


def _no_tokens() -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.float32]]:
    return np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)


def _read_first_tokens(data: Any) -> dict[str, float]:
    """Text of each of the likeliest first tokens -> nats; a blank before it adds up."""
    told = (data["choices"][0].get("logprobs") or {}).get("content") or []
    likeliest: dict[str, float] = {}
    for entry in told[0]["top_logprobs"] if told else ():
        text = str(entry["token"]).strip(" \u0120\u2581")  # as byte-level and sentence-piece tokenizers write a blank
        likeliest[text] = float(np.logaddexp(likeliest.get(text, -np.inf), entry["logprob"]))
    if not likeliest:
        raise LookupError("no top_logprobs")
    return likeliest


def _first_token(likeliest: Mapping[str, float], reply: str) -> float:
    return likeliest.get(reply, min(likeliest.values()))


def _read_given(data: Any) -> tuple[list[int], list[float]]:
    ids = list(data["prompt_token_ids"])
    told = data["prompt_logprobs"]  # one object {id: {"logprob": ...}} a token, null for the first
    return ids, [0.0 if entry is None else entry[str(i)]["logprob"] for i, entry in zip(ids, told, strict=True)]


def _read_scores(data: Any, episode: Episode) -> NDArray[np.float32]:
    reported = data["choices"][0]["prompt_logprobs"]  # one object {id: {"logprob": ...}} a token, null for the first
    scores = np.zeros(len(episode.token_ids), np.float32)
    for position in np.flatnonzero(episode.action_mask):
        scores[position] = reported[position][str(episode.token_ids[position])]["logprob"]
    return scores


def _read_models(data: Any) -> dict[str, str]:
    return {card["id"]: card.get("owned_by") or "" for card in data["data"]}


def _complaint(response: httpx.Response) -> str:
    """What the server says, in its own words: OpenAI's form, FastAPI's form, or the beginning of the text."""
    try:
        data = response.json()
        error = data.get("error", data)
        said = error if isinstance(error, str) else error.get("message") or error["detail"]
    except (ValueError, LookupError, AttributeError):
        said = response.text
    return " ".join(str(said).split()).rstrip(".")[:200] or "no reason given"


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks us to wait (it gives seconds, or a date), at most five minutes."""
    value = response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), 300.0)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop is running already (a notebook, a web server)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
