"""A small server that speaks OpenAI's chat protocol and misbehaves on request: ``python server.py``.

It prints its port, then serves on the loopback address. ``POST /script`` sets what the next chat
requests meet, one word each: "429", "429 wait" (with Retry-After), "500", "400", "401", "slow",
"garbage", "empty" (JSON of another shape), "drop" (the connection breaks off); a request beyond the script is answered.
A reply is "word " per token, as many as max_tokens allows, at most 5. ``GET /seen`` tells what came.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

LONGEST = 5
PROMPT_IDS = [11, 12, 13]
app = FastAPI()
script: list[str] = []
seen: dict[str, Any] = {}
options: dict[str, Any] = {}


@app.post("/script")
async def set_script(request: Request) -> None:
    script[:] = (asked := await request.json())["faults"]
    options.clear()
    options.update({"owned_by": "someone", "key": None, "together": 1} | asked.get("options", {}))
    seen.clear()
    seen.update(bodies=[], times=[], authorization=None, at_once=0, most_at_once=0)


@app.get("/seen")
async def get_seen() -> dict[str, Any]:
    return seen


@app.get("/v1/models")
async def models(request: Request) -> Response:
    if refusal := refuse_key(request):
        return refusal
    return JSONResponse({"data": [{"id": "parrot", "owned_by": options["owned_by"]}]})


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    if refusal := refuse_key(request):
        return refusal
    seen["bodies"].append(body := await request.json())
    seen["times"].append(time.monotonic())
    seen["authorization"] = request.headers.get("authorization")
    seen["at_once"] += 1
    seen["most_at_once"] = max(seen["most_at_once"], seen["at_once"])
    try:
        await others_come(len(seen["bodies"]))
        return await misbehave(script.pop(0)) if script else reply(body)
    finally:
        seen["at_once"] -= 1


async def others_come(number: int) -> None:
    """Wait until as many requests as come together are there, however slow the machine is; at most 10 seconds."""
    together, until = options["together"], time.monotonic() + 10
    last = -(-number // together) * together  # of those that come together with this one
    while len(seen["bodies"]) < last and time.monotonic() < until:
        await asyncio.sleep(0.01)
    if together > 1:
        await asyncio.sleep(0.1)  # more than are allowed would come now


def reply(body: dict[str, Any]) -> Response:
    count = min(LONGEST, body["max_tokens"])
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": "word " * count},
        "finish_reason": "length" if count == body["max_tokens"] else "stop",
    }
    answer = {"choices": [choice], "usage": {"prompt_tokens": len(PROMPT_IDS), "completion_tokens": count}}
    if body.get("return_token_ids"):
        answer["prompt_token_ids"] = PROMPT_IDS
        choice["token_ids"] = list(range(20, 20 + count))
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{"token": "word ", "logprob": -0.5 - i} for i in range(count)]}
    return JSONResponse(answer)


async def misbehave(fault: str) -> Response:
    if fault == "slow":
        await asyncio.sleep(3)
        return PlainTextResponse("at last")
    if fault == "garbage":
        return PlainTextResponse('{"choices": [{"mess', media_type="application/json")
    if fault == "empty":
        return JSONResponse({"choices": []})
    if fault == "drop":  # promises more than it sends, so the server breaks the connection off
        return StreamingResponse(iter([b"{"]), headers={"content-length": "1000"})
    status, *wait = fault.split()
    headers = {"retry-after": "1"} if wait else {}
    return JSONResponse({"error": {"message": f"scripted {status}."}}, int(status), headers)


@app.post("/v1/completions")
async def completions(request: Request) -> Response:
    """Scores token k of the prompt with -k / 100."""
    body = await request.json()
    scores = [None] + [{str(t): {"logprob": -i / 100}} for i, t in enumerate(body["prompt"]) if i]
    return JSONResponse({"choices": [{"text": "x", "prompt_logprobs": scores}]})


def refuse_key(request: Request) -> Response | None:
    if options["key"] and request.headers.get("authorization") != f"Bearer {options['key']}":
        return JSONResponse({"error": {"message": "wrong key"}}, 401)
    return None


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="critical", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
    sys.exit(0)
