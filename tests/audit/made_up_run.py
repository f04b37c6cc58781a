"""A recorded run of the main job, made up: two arms of which the naive one games its reward."""

from __future__ import annotations

import numpy as np

from custodes import audit
from custodes.feedback.kinds.comparison import Comparison
from custodes.ledger import Decision, Evaluation, Ledger, Model
from custodes.types import Annotator, Episode, Message, Task

WORDS = [
    "river",
    "stone",
    "quiet",
    "lamp",
    "copper",
    "garden",
    "letter",
    "winter",
    "bread",
    "engine",
    "paper",
    "harbour",
    "violet",
    "ladder",
    "morning",
    "salt",
    "window",
    "thread",
    "forest",
    "candle",
    "orbit",
    "mirror",
    "valley",
    "cotton",
    "signal",
    "marble",
    "tide",
]
CHECKS = (
    "at_most_words",
    "exact_sentences",
    "contains_word",
    "avoids_word",
    "ends_with_question",
    "bullets",
    "json_keys",
)
STEPS = (0, 10, 20, 30, 40, 60, 80)
NATURES = (
    ("expert",) * 8
    + ("hasty",) * 5
    + ("length_biased",) * 3
    + ("position_biased",) * 3
    + ("random",) * 3
    + ("poisoner",) * 2
)
TRUTH = {"expert": 1.5, "hasty": 0.9, "length_biased": 0.45, "position_biased": 0.5, "random": 0.0, "poisoner": -1.2}


def build_run(ledger: Ledger, arms: tuple[str, ...] = ("naive", "careful"), tasks: int = 192, seed: int = 7) -> str:
    rng = np.random.default_rng(seed)
    run = ledger.start_run("quickstart", {"arms": list(arms), "steps": 80, "kl": {"coefficient": 0.05}}, seed)
    asked = [_task(i, rng) for i in range(tasks)]
    ledger.write(run, asked)
    ledger.write(
        run,
        [
            Model("5f" * 32, "base", "policy"),
            *(Model(f"{k + 1}c" * 32, f"{a} reward", "reward") for k, a in enumerate(arms)),
        ],
    )
    base = [_episode(t, "base", k, rng, 12) for t in asked for k in range(4)]
    ledger.write(run, base)
    _judges(ledger, run, base, rng)
    truth = rng.beta(2, 2, tasks)
    for arm in arms:
        _arm(ledger, run, arm, asked, base, truth, rng)
    _write(ledger, run, "base", audit.Samples(episode=[e.id for e in base], policy="base"))
    _write(ledger, run, "run", audit.Resources(
        seconds={"judging": 41.0, "reward": 188.5, "policy": 702.3, "evaluation": 96.0}, peak_memory_gb=4.82, cores=2,
        command=f"custodes quickstart --out runs/demo --seed {seed} --arms all", tokens_sampled=1_240_000, tokens_trained=806_000,
    ))  # fmt: skip
    ledger.write(run, [Decision("d1", "hand over step 60", "largest lower bound of the penalised reward", arms[-1])])
    ledger.end_run(run)
    return run


def _arm(
    ledger: Ledger,
    run: str,
    arm: str,
    asked: list[Task],
    base: list[Episode],
    truth: np.ndarray,
    rng: np.random.Generator,
) -> None:
    M, naive = len(asked), arm == "naive"
    noise = rng.normal(0, 0.25, M)
    for step in STEPS:
        d = 0.0 if step == 0 else (0.35 if naive else 0.28) * np.sqrt(step)
        gold_gain = d * (0.16 - (0.075 if naive else 0.028) * np.log(max(d, 1e-9))) if d else 0.0
        proxy_gain = d * ((1.15 if naive else 0.8) - 0.12 * np.log(max(d, 1e-9))) if d else 0.0
        gold = np.clip(truth + gold_gain + rng.normal(0, 0.16, M) * (step > 0), 0, 1)
        proxy = 2 * truth + noise + proxy_gain + rng.normal(0, 0.5, M) * (step > 0)
        vocabulary = 27 if step == 0 else max(4, 24 - int(step * (0.22 if naive else 0.1)))
        made = [e for i, e in enumerate(base) if i % 4 == 0] if step == 0 else [
            _episode(t, f"{arm}-{step}", 0, rng, 12 + step // (4 if naive else 12), vocabulary) for t in asked
        ]  # fmt: skip
        ledger.write(run, made)
        _write(ledger, run, arm, audit.PolicyHeldout(
            step=step, episode=[e.id for e in made], task=[t.id for t in asked], kl=(d**2 + rng.normal(0, 0.6, M) * (step > 0)).tolist(),
            proxy=proxy.tolist(), gold=gold.tolist(), length=[e.actions for e in made],
            entropy=rng.normal(2.4 - 0.12 * d, 0.3, M).tolist(), chosen=step == 60, policy=f"{arm}-{step}",
        ), f"held-{arm}-{step}")  # fmt: skip
    last = [_episode(t, f"{arm}-60", k, rng, 20, 10 if naive else 18) for t in asked for k in range(1, 5)]
    ledger.write(run, last)
    _write(ledger, run, arm, audit.Samples(episode=[e.id for e in last], policy=f"{arm}-60"))
    _steps(ledger, run, arm, rng)
    _reward(ledger, run, arm, rng)
    _best_of_n(ledger, run, arm, asked, truth, rng)
    _checks(ledger, run, arm, asked, rng)


def _judges(ledger: Ledger, run: str, base: list[Episode], rng: np.random.Generator) -> None:
    names = [f"judge-{i + 1:02d}" for i in range(len(NATURES))]
    ledger.write(run, [Annotator(n, "simulated", {"nature": nature}) for n, nature in zip(names, NATURES, strict=True)])
    comparisons = []
    for k in range(960):
        i = 4 * int(rng.integers(len(base) // 4))
        a, b = base[i], base[i + 1]
        comparisons.append(Comparison(
            id=f"c{k}", annotator=names[k % len(names)], task=a.task.id, episodes=(a.id, b.id), strength=int(rng.choice([-2, -1, 1, 2]))
        ))  # fmt: skip
    ledger.write(run, comparisons)
    for name, nature in zip(names, NATURES, strict=True):
        truth = TRUTH[nature] + rng.normal(0, 0.08)
        _write(ledger, run, name, audit.AnnotatorEstimate(
            judgments=40, reliability=truth + rng.normal(0, 0.12), reliability_se=0.17,
            position=(1.4 if nature == "position_biased" else 0.0) + rng.normal(0, 0.15), position_se=0.2,
            length=(1.6 if nature == "length_biased" else 0.1) + rng.normal(0, 0.15), length_se=0.22,
            repeats=10, repeats_same=int(rng.binomial(10, 0.5 if nature == "random" else 0.88)),
            nature=nature, true_reliability=truth,
        ))  # fmt: skip
    _write(
        ledger,
        run,
        "annotators",
        audit.AnnotatorAgreement(alpha=0.31, alpha_low=0.26, alpha_high=0.36, items=220, judgments=960),
    )


def _steps(ledger: Ledger, run: str, arm: str, rng: np.random.Generator) -> None:
    naive = arm == "naive"
    for step in range(1, 81):
        _write(ledger, run, arm, audit.PolicyStep(
            step=step, kl=(0.12 if naive else 0.08) * step + rng.normal(0, 0.2), proxy=0.03 * step - 1 + rng.normal(0, 0.1),
            proxy_std=0.3 + (0.004 if naive else 0.001) * step + rng.normal(0, 0.01), entropy=2.4 - 0.006 * step + rng.normal(0, 0.03),
            length=12 + step * (0.25 if naive else 0.08) + rng.normal(0, 0.5), clip_fraction=abs(0.05 + rng.normal(0, 0.015)),
            value_error=2 / (1 + 0.1 * step) + abs(rng.normal(0, 0.05)), grad_norm=abs(0.8 + rng.normal(0, 0.1)), episodes=64,
        ), f"step-{arm}-{step}")  # fmt: skip


def _reward(ledger: Ledger, run: str, arm: str, rng: np.random.Generator) -> None:
    n = 320
    gold = rng.normal(0, 0.3, n)
    margin = 4 * gold + rng.normal(0, 1.4, n)
    outcome = rng.random(n) < 1 / (1 + np.exp(-2.2 * gold - 0.3 * rng.normal(size=n)))
    _write(ledger, run, arm, audit.RewardHeldout(
        margin=margin.tolist(), outcome=outcome.astype(int).tolist(), temperature=2.1, members=1 if arm == "naive" else 4,
        length_difference=np.round(6 * gold + 5 * margin + rng.normal(0, 9, n)).astype(int).tolist(),
        spread=None if arm == "naive" else np.abs(rng.normal(0.4, 0.1, n)).tolist(), gold_difference=gold.tolist(),
    ))  # fmt: skip


def _best_of_n(
    ledger: Ledger, run: str, arm: str, asked: list[Task], truth: np.ndarray, rng: np.random.Generator
) -> None:
    gold = np.clip(truth[:, None] + rng.normal(0, 0.15, (len(asked), 16)), 0, 1)
    proxy = 2 * gold + rng.normal(0, 0.5 if arm == "naive" else 0.35, gold.shape)
    _write(ledger, run, arm, audit.BestOfNSamples(task=[t.id for t in asked], proxy=proxy.tolist(), gold=gold.tolist()))


def _checks(ledger: Ledger, run: str, arm: str, asked: list[Task], rng: np.random.Generator) -> None:
    check = [CHECKS[(i + k) % len(CHECKS)] for i in range(len(asked)) for k in range(2)]
    moved = {"at_most_words": -0.25 if arm == "naive" else 0.0, "contains_word": 0.2, "bullets": 0.35, "json_keys": 0.1}
    base = rng.random(len(check)) < 0.5
    after = np.array([_moved(b, moved.get(c, 0.03), rng) for b, c in zip(base, check, strict=True)])
    _write(ledger, run, arm, audit.Checks(
        task=[t.id for t in asked for _ in range(2)], check=check, base=base.astype(float).tolist(), optimised=after.astype(float).tolist()
    ))  # fmt: skip


def _moved(held: bool, by: float, rng: np.random.Generator) -> bool:
    """The check after optimisation: mostly as before, raised or lowered with probability 2 |by|."""
    return bool(by > 0) if rng.random() < 2 * abs(by) else bool(held)


def _task(i: int, rng: np.random.Generator) -> Task:
    text = f"Write about the {rng.choice(WORDS)} in at most {rng.integers(8, 30)} words. End with a question & use <b>{WORDS[i % 27]}</b>."
    return Task(f"t{i:03d}", (Message("user", text),), metadata={"split": "held_out"})


def _episode(task: Task, policy: str, k: int, rng: np.random.Generator, words: int, vocabulary: int = 27) -> Episode:
    chosen = rng.choice(WORDS[:vocabulary], max(4, int(rng.normal(words, 3))))
    text = " ".join(chosen).capitalize() + ". <script>alert('x')</script>"
    T = len(chosen) + 5
    return Episode(
        f"{task.id}-{policy}-{k}", task, (*task.messages, Message("assistant", text)), np.arange(T, dtype=np.int32),
        np.arange(T) >= 5, np.where(np.arange(T) >= 5, -rng.gamma(2, 0.5, T), 0).astype(np.float32), "stop", policy,
    )  # fmt: skip


def _write(ledger: Ledger, run: str, subject: str, row: audit.Row, key: str = "") -> None:
    ledger.write(run, [Evaluation(key or f"{row.NAME}-{subject}", row.NAME, subject, row.metrics(), row.n)])
