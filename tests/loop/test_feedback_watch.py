"""What is said of a group that agrees beyond what its members see: nobody can tell a conspiracy from a shared taste."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from custodes.cli import main
from custodes.feedback.poisoning.collusion import Cluster
from custodes.lm.loading import load
from custodes.reward.model import RewardModel, new_heads
from custodes.reward.storage import save_reward

GROUP = ["g0", "g1", "g2", "g3"]
HONEST = [f"h{n}" for n in range(14)]


def judged(path: Path, why: str) -> Path:
    """80 pairs that everybody compared: most of the honest follow the quality, the group a plan or a taste of its own."""
    rng = np.random.default_rng(5)
    rows = []
    for n in range(80):
        gap, rhymes = rng.normal(), bool(rng.random() < 0.5)  # the first answer's quality less the second's
        plan = bool(rng.random() < 0.5)
        for name in [*HONEST, *GROUP]:
            first = bool(rng.random() < 1 / (1 + np.exp(-2 * gap)))
            if name in GROUP and rng.random() < 0.9:
                first = plan if why == "a plan" else rhymes
            answers = (f"Answer a{n}.", f"Answer b{n}.") if first else (f"Answer b{n}.", f"Answer a{n}.")
            rows.append({"prompt": f"Question {n}?", "chosen": answers[0], "rejected": answers[1], "annotator": name})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("why", ["a plan", "a taste"])
def test_a_group_is_told_in_the_same_words_whether_it_colludes_or_has_a_taste(
    why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = judged(tmp_path / "judged.jsonl", why)
    assert main(["feedback", "watch", "--judgments", str(path), "--json"]) == 0
    cluster, *_ = json.loads(capsys.readouterr().out)["clusters"]  # the tightest
    assert set(cluster["annotators"]) == set(GROUP)
    assert cluster["meaning"] == Cluster.meaning == "agree beyond what they see: they collude, or share a taste"
    assert main(["feedback", "watch", "--judgments", str(path)]) == 0
    line, *_ = [line for line in capsys.readouterr().out.splitlines() if "agree beyond" in line]
    assert line.endswith(f"agree beyond what they see: they collude, or share a taste (p = {cluster['p']:.2g}).")
    assert set(line.split(" agree")[0].split(", ")) == set(GROUP)


def test_a_reward_says_what_an_annotator_did_to_it(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
):
    lm = load(str(tiny_model))
    save_reward(RewardModel(lm, new_heads([0], lm.decoder.spec.hidden, lm.decoder.device)), tmp_path / "reward")
    rows, known = [], ["left,right,label"]
    for n in range(60):
        good, bad = f"yes {n}", f"no, no, no {n}"
        for name in ("ann", "bob", "cat", "eve"):
            chosen, rejected = (bad, good) if name == "eve" else (good, bad)
            rows.append({"prompt": f"Question {n}?", "chosen": chosen, "rejected": rejected, "annotator": name})
        known.append(f'{good},"{bad}",{good}')
    (tmp_path / "judged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "known.csv").write_text("\n".join(known) + "\n")
    given = ["feedback", "watch", "--judgments", str(tmp_path / "judged.jsonl"), "--reward", str(tmp_path / "reward")]
    assert main([*given, "--truth", str(tmp_path / "known.csv"), "--json"]) == 0
    loss = {one["annotator"]: one["loss_without"] for one in json.loads(capsys.readouterr().out)["reward"]}
    assert loss["eve"] < -0.01 < 0 < min(loss[name] for name in ("ann", "bob", "cat"))
    assert main([*given, "--truth", str(tmp_path / "known.csv")]) == 0
    assert "would change most, in nats per pair, without: eve -" in capsys.readouterr().out
    assert main(given) == 2
    assert "--reward needs --truth" in capsys.readouterr().err
