"""From people to a reward: simulated people judge over the server's API, and what they say trains a reward model.

A real server runs beside; everybody joins by an invitation, gets a token and works with the Python client. Two of nine do harm.
The people are simulated; everything else is what real ones would meet.

    python examples/people_to_reward.py
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from custodes import Client
from custodes.cli import main
from custodes.loop.reward_evaluate import RewardEvaluate, reward_evaluate

PROJECT = """
name: kindness
title: Which answer would you rather get?
tasks: ""
guidelines: {version: "1", text: Prefer the answer that is kind.}
members: everybody
questions: [{kind: comparison}]
assignment: {overlap: 3, gold_share: 0.0, repeat_share: 0.0}
"""
SKILL = [0.95] * 7 + [0.5, 0.0]  # how often the kinder answer is preferred; the last two guess, and mean ill
THINGS = ["the salt", "a map", "your name", "some time", "the key", "a pen", "an answer", "more light", "a chair"]
KIND = ["Please give me {}.", "Could I have {}, please?", "I would be glad of {}, thank you."]
RUDE = ["Give me {} now.", "I want {}, at once.", "Hand over {}, you fool."]


def serve(folder: Path) -> tuple[subprocess.Popen[str], str, str]:
    """(server process, its address, the invitation for its first lead)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "custodes", "serve", "--db", str(folder / "people.db"), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    invitation = re.search(r"invitation=(\S+)", server.stdout.readline())
    assert invitation is not None, "the server did not start"
    return server, f"http://127.0.0.1:{port}", invitation[1]


def join(address: str, invitation: str, name: str, scopes: list[str]) -> str:
    """A token of a new account."""
    with httpx.Client(base_url=f"{address}/api", timeout=60) as http:
        told = {"name": name, "password": "a long password"}
        http.post("/join", json={"invitation": invitation, **told}).raise_for_status()
        csrf = http.post("/sign-in", json=told).raise_for_status().json()["csrf"]
        made = http.post("/tokens", json={"name": "work", "scopes": scopes}, headers={"X-CSRF-Token": csrf})
        token: str = made.raise_for_status().json()["token"]
        return token


def judge(skill: float, rng: random.Random) -> object:
    """Somebody who prefers the kinder answer with probability ``skill``."""

    def answers(item: dict[str, list[list[dict[str, str]]]]) -> list[dict[str, object]]:
        left_is_kind = any(word in item["answers"][0][0]["content"].lower() for word in ("please", "glad"))
        left = left_is_kind == (rng.random() < skill)
        return [{"question": 1, "verdict": "prefer", "strength": rng.choice([1, 2, 3]) * (1 if left else -1)}]

    return answers


def pairs(count: int, rng: random.Random) -> list[tuple[str, str, str]]:
    """(prompt, kind answer, rude answer)."""
    found = []
    for n in range(count):
        thing = rng.choice(THINGS)
        found.append((f"Ask for {thing} (number {n}).", rng.choice(KIND).format(thing), rng.choice(RUDE).format(thing)))
    return found


parser = argparse.ArgumentParser()
parser.add_argument("--model", default="smollm2-135m")
parser.add_argument("--tasks", type=int, default=60)
chosen = parser.parse_args()
rng = random.Random(0)
asked, held_out = pairs(chosen.tasks, rng), pairs(40, random.Random(1))

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    server, address, invitation = serve(folder)
    try:
        with Client(address, "nobody's") as waiting:
            waiting.wait_until_there()
        lead = Client(address, join(address, invitation, "lead", ["read", "manage"]))
        lead.open_project(PROJECT, [{"prompt": q, "answers": [good, bad]} for q, good, bad in asked])
        people = [Client(address, join(address, lead.invite(), f"person-{n}", ["annotate"])) for n in range(len(SKILL))]
        began = time.monotonic()
        with ThreadPoolExecutor(len(people)) as pool:
            work = [
                pool.submit(p.work, "kindness", judge(s, random.Random(n)))
                for n, (p, s) in enumerate(zip(people, SKILL, strict=True))
            ]
            done = [one.result()[0] for one in work]
        print(f"{sum(done)} judgments by {len(done)} people in {time.monotonic() - began:.1f} s: {done}")
        found = lead.quality("kindness")["people"].values()
        print("Reliability:", ", ".join(f"{person['reliability']['estimate']:+.2f}" for person in found))
        lead.export("kindness", folder / "data")
    finally:
        server.terminate()
        server.wait()

    train = [
        "reward",
        "train",
        "--judgments",
        str(folder / "data" / "aggregated.jsonl"),
        "--out",
        str(folder / "reward"),
    ]
    assert main([*train, "--model", chosen.model, "--first-layer", "-2"]) == 0
    file = folder / "held_out.jsonl"
    rows = [{"prompt": q, "chosen": good, "rejected": bad} for q, good, bad in held_out]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = reward_evaluate(RewardEvaluate(model=folder / "reward", judgments=str(file)))
    print(f"Accuracy of the reward on held-out pairs: {result.evaluation.accuracy}")
