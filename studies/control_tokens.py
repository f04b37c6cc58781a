"""Do control tokens before lines make a model write code with fewer style errors?

    python studies/control_tokens.py --out runs/control-tokens
    python studies/control_tokens.py --out runs/control-tokens --full    # three seeds

Conditional training (2302.08582) on Python of the standard library: before each line a token says whether the line has style
errors. Beside it the same text without tokens, and with --filter the passages with the cleanest lines alone. The errors are those of
pycodestyle's rules E and W as ruff implements them, so a line longer than 79 characters is one. Asked of 500 samples: has a text
that was asked for with the aligned token fewer errors a line than one with the other token, and than one of the model that read
the same text without tokens? And of held-out lines without errors: what does their perplexity cost?
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arms import over_seeds

from custodes.files import plain_json, save_json, save_text
from custodes.ledger import Ledger
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import load
from custodes.loop.policy_tune import PolicyTune, policy_tune
from custodes.policy.methods import Conditional, Filter, Mle
from custodes.policy.passages import Passage, TextMethod
from custodes.stats import mean_interval

RULES = "E,W"
"""pycodestyle's errors and warnings, those that ruff calls preview among them."""
CHARACTERS = 3.2
"""Characters a token of the embedded model has in such code, about: how much text is read."""


def errors(text: str) -> list[int]:
    """Style errors of each line of a text; a text that is no Python has them as well."""
    lines = text.splitlines()
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select",
        RULES,
        "--ignore",
        "W292",
        "--preview",
        "--isolated",
        "--no-cache",
    ]
    command += ["--line-length", "79", "--output-format", "json", "--exit-zero", "--stdin-filename", "text.py", "-"]
    done = subprocess.run(command, input="\n".join([*lines, ""]), capture_output=True, text=True, check=True)
    rows = Counter(found["location"]["row"] for found in json.loads(done.stdout) if found["code"])
    return [rows[i] for i in range(1, len(lines) + 1)]


def style(text: str) -> list[float]:
    """The score of each line: minus its errors."""
    return [-float(count) for count in errors(text)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/control-tokens"), help="folder of the study")
    parser.add_argument("--model", default="smollm2-135m", help="an embedded model, or a folder")
    parser.add_argument("--tokens", type=int, default=400_000, help="tokens of text, about")
    parser.add_argument("--samples", type=int, default=500, help="texts drawn from each model")
    parser.add_argument("--max-tokens", type=int, default=96, help="longest sample")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--filter", action="store_true", help="a third arm: the passages with the cleanest lines alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="seeds 0, 1 and 2 in place of --seed alone")
    over_seeds(study, parser.parse_args(), "control_tokens")


def study(out: Path, chosen: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One seed."""
    out.mkdir(parents=True, exist_ok=True)
    corpus = out / "corpus.jsonl"
    if not corpus.exists():
        write_corpus(corpus, int(chosen.tokens * CHARACTERS), seed)
    common: dict[str, Any] = {
        "text": str(corpus),
        "score": f"{Path(__file__).resolve()}:style",
        "learning_rate": chosen.learning_rate,
        "batch": 8,
        "texts_drawn": chosen.samples,
        "seed": seed,
    }
    kinds = {"conditional": Conditional, "plain": Mle} | ({"filter": Filter} if chosen.filter else {})
    methods = {name: kind(**common) for name, kind in kinds.items()}
    texts: dict[str, np.ndarray] = {}
    for name, method in methods.items():
        tune = PolicyTune(out=out / name, model=chosen.model, method=method, full=True, max_tokens=chosen.max_tokens)
        policy_tune(tune)
        with Ledger.open(out / name / "ledger.db", read_only=True) as ledger:
            (row,) = ledger.evaluations(ledger.runs()[-1].id, "tuning")
        drawn = {asked: -np.array(scores) for asked, scores in row.metrics["texts"].items()}
        texts["base"] = drawn.pop("text, before")
        texts |= {asked.removesuffix(", after").replace("text", name): counts for asked, counts in drawn.items()}
    aligned, minus = texts["aligned"], {}
    for name in texts.keys() - {"aligned", "base"}:
        n = min(len(aligned), len(texts[name]))  # drawn one by one, each on its own
        minus[f"aligned minus {name}"] = mean_interval(aligned[:n] - texts[name][:n])
    told = {
        "errors a line": {name: mean_interval(counts) for name, counts in texts.items()},
        "difference in errors a line": minus,
        "clean held-out lines": clean_lines(out, methods),
    }
    return dict(plain_json({"seed": seed} | told))


def clean_lines(out: Path, methods: dict[str, TextMethod]) -> dict[str, Any]:
    """Perplexity of the clean lines of held-out text: with the aligned token before each, and under the model that read it plain."""
    file = out / "clean_lines.json"
    if not file.exists():
        passages = held_out(out / "held-out.jsonl", methods["conditional"])
        losses = {name: line_losses(out / name, methods[name], passages) for name in ("conditional", "plain")}
        save_json(file, losses)
    losses = {name: np.array(rows) for name, rows in json.loads(file.read_text()).items()}  # (lines, 2): nats, tokens
    tokens = losses["plain"][:, 1]
    means = {name: float(rows[:, 0].sum() / tokens.sum()) for name, rows in losses.items()}
    share = tokens / tokens.mean()
    ratio = mean_interval(share * (losses["conditional"][:, 0] - losses["plain"][:, 0]) / tokens)
    return {
        "perplexity": {name: float(np.exp(value)) for name, value in means.items()},
        "log of the ratio, conditional over plain": ratio,
    }


def held_out(file: Path, method: TextMethod) -> list[Passage]:
    """Passages of files that no model read, with the lines without errors called aligned."""
    passages = []
    for row in map(json.loads, file.read_text().splitlines()):
        lines, counts = row["text"].splitlines(keepends=True), errors(row["text"])
        start, used = 0, 0
        for i in range(len(lines) + 1):
            if i == len(lines) or (used and used + len(lines[i]) > method.passage):
                clean = tuple(count == 0 for count in counts[start:i])
                passages.append(Passage(f"{row['file']}, line {start + 1}", tuple(lines[start:i]), clean))
                start, used = i, 0
            used += len(lines[i]) if i < len(lines) else 0
    return passages


def line_losses(folder: Path, method: TextMethod, passages: Sequence[Passage]) -> list[tuple[float, int]]:
    """(nats, tokens) of each clean line."""
    lm = load(folder)
    episodes = [method.episode(lm, passage) for passage in passages]
    rows = []
    for passage, episode, logprobs in zip(passages, episodes, TorchEngine(lm).logprobs(episodes), strict=True):
        own = logprobs[episode.action_mask].astype(np.float64)
        start = 0
        for ids, clean in zip(lm.chat.texts(passage.lines), passage.aligned, strict=True):
            if clean and ids:
                rows.append((-float(own[start : start + len(ids)].sum()), len(ids)))
            start += len(ids)
    return rows


def write_corpus(file: Path, characters: int, seed: int) -> None:
    """Files of the standard library, in an order that the seed draws, and a tenth as much of others beside it, held out."""
    library = Path(sysconfig.get_paths()["stdlib"])
    names = [p for p in sorted(library.rglob("*.py")) if not {"site-packages", "test", "tests", "lib2to3"} & {*p.parts}]
    random.Random(seed).shuffle(names)
    rows: tuple[list[str], list[str]] = ([], [])
    read = [0, 0]
    for name in names:
        try:
            text = name.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        text = text[: 20_000 if characters > 20_000 else characters]  # so that no file is a large share
        text = text[: text.rfind("\n") + 1].replace("\x0c", "").replace("\r", "")
        side = 0 if read[0] < characters else 1
        if text.strip() and read[1] < characters / 10:
            rows[side].append(json.dumps({"file": str(name.relative_to(library)), "text": text}) + "\n")
            read[side] += len(text)
    save_text(file, "".join(rows[0]))
    save_text(file.with_name("held-out.jsonl"), "".join(rows[1]))


if __name__ == "__main__":
    main()
