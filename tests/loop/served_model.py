"""A tiny model behind the OpenAI protocol, with or without vLLM's additions, and with or without log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import torch
from serving import JsonHandler, serving

from custodes.lm.engine import TorchEngine
from custodes.lm.given import continued
from custodes.lm.loading import load
from custodes.types import Message, Sampling, Task

Gives = Literal["everything", "first tokens", "text"]


@contextmanager
def served(folder: Path, gives: Gives) -> Iterator[str]:
    """The name of the model behind its server, as commands take it."""
    engine, lock = TorchEngine(load(folder, dtype="float32")), Lock()

    class Handler(JsonHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply({"data": [{"id": "tiny", "owned_by": "vllm" if gives == "everything" else "someone"}]})

        def do_POST(self) -> None:
            body = self.asked_for()
            with lock:
                self.reply(_chat(engine, body, gives))

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"endpoint:http://127.0.0.1:{server.server_address[1]}/v1#tiny"


def _chat(engine: TorchEngine, body: dict[str, Any], gives: Gives) -> dict[str, Any]:
    messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
    said = messages[-1].content if messages[-1].role == "assistant" else ""
    messages = messages[:-1] if said else messages
    task = Task("t", messages)
    prompt, whole = engine.lm.encode(messages), engine.lm.encode(messages, said)
    if said:
        nats = engine.logprobs([continued(task, prompt, whole)])[0]
        scores = [None] + [{str(i): {"logprob": float(x)}} for i, x in zip(whole[1:], nats[1:], strict=True)]
        choice: dict[str, Any] = {"message": {"content": "."}, "finish_reason": "length"}
        return {"choices": [choice], "prompt_token_ids": whole.tolist(), "prompt_logprobs": scores, "usage": {}}
    (episode,) = engine.generate([task], Sampling(max_tokens=body["max_tokens"], seed=body["seed"]))
    drawn = episode.token_ids[episode.action_mask]
    choice = {"message": {"content": episode.completion}, "finish_reason": episode.outcome, "token_ids": drawn.tolist()}
    if gives == "everything":
        own = episode.logprobs[episode.action_mask]
        choice["logprobs"] = {
            "content": [{"token": str(t), "logprob": float(x)} for t, x in zip(drawn, own, strict=True)]
        }
    elif body.get("top_logprobs") and gives == "first tokens":
        choice["logprobs"] = {
            "content": [{"token": ".", "logprob": 0.0, "top_logprobs": _likeliest(engine, task, prompt)}]
        }
    return {"choices": [choice], "prompt_token_ids": prompt.tolist(), "usage": {"prompt_tokens": len(prompt)}}


def _likeliest(engine: TorchEngine, task: Task, prompt: np.ndarray) -> list[dict[str, Any]]:
    """Of every token that does not begin with a blank, so that a letter is one token."""
    tokens = engine.lm.tokenizer.convert_ids_to_tokens(range(len(engine.lm.tokenizer)))
    ids = [i for i, token in enumerate(tokens) if not token.startswith("Ġ")]
    with torch.no_grad():
        nats = engine.logprobs([continued(task, prompt, np.append(prompt, i).astype(np.int32)) for i in ids])
    return [{"token": tokens[i], "logprob": float(own[-1])} for i, own in zip(ids, nats, strict=True)]
