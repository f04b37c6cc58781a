"""Text whose lines are scored: what is aligned, what each method learns of it, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_policy import adapted
from transformers import AutoModelForCausalLM, AutoTokenizer

from custodes.feedback.reading import JudgmentsOptions
from custodes.lm.chat import Chat
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.lm.packing import pack
from custodes.policy.methods import Conditional, Filter, Mle
from custodes.policy.methods.conditional import ALIGNED, MISALIGNED
from custodes.policy.passages import TextMethod, opening_id
from custodes.policy.tuning import tune
from custodes.types import InputError, Sampling, Task

NONE = JudgmentsOptions(judgments="")
GOOD, BAD = "The quick brown fox.\n", "A lazy dog.\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Documents of twelve lines, of which the score likes those with a fox; the first half has more of them."""
    rows = [{"text": "".join(GOOD if i % 4 < 3 - (n >= 4) * 2 else BAD for i in range(12))} for n in range(8)]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "score.py").write_text("def fox(text):\n    return ['fox' in line for line in text.splitlines()]\n")
    return tmp_path


def method(kind: type[TextMethod], corpus: Path, **options: object) -> TextMethod:
    own = {"text": str(corpus / "text.jsonl"), "score": f"{corpus}/score.py:fox", "quantile": 0.6, "passage": 100}
    return kind(**own | options)  # type: ignore[arg-type]


def test_lines_above_the_quantile_are_aligned_and_passages_are_whole_lines(corpus: Path) -> None:
    passages = method(Mle, corpus).examples(NONE)
    for passage in passages:
        assert passage.aligned == tuple(line == GOOD for line in passage.lines)
        assert sum(map(len, passage.lines)) <= 100
    rows = [json.loads(row)["text"] for row in (corpus / "text.jsonl").read_text().splitlines()]
    assert "".join(line for passage in passages for line in passage.lines) == "".join(rows)
    assert len({passage.place for passage in passages}) == len(passages)
    (long,) = [p for p in method(Mle, corpus, passage=1).examples(NONE) if p.place.endswith("row 8, line 12")]
    assert long.lines == (BAD,)


def test_the_three_ways_read_the_same_tokens(corpus: Path, tiny_model: Path) -> None:
    base = load(tiny_model, dtype="float32")
    conditional = method(Conditional, corpus, drop=0.0)
    lm = conditional.begin(base, corpus)
    passages = conditional.examples(NONE)
    ids = dict(zip((ALIGNED, MISALIGNED), lm.tokenizer.convert_tokens_to_ids([ALIGNED, MISALIGNED]), strict=True))
    for passage in passages:
        plain, told = method(Mle, corpus).episode(lm, passage), conditional.episode(lm, passage)
        said = [told.token_ids[told.action_mask], plain.token_ids[plain.action_mask]]
        np.testing.assert_array_equal(*said)  # the text is what is learned, and control tokens are not
        assert not set(said[0].tolist()) & set(ids.values())
        marks = [i for i in told.token_ids.tolist() if i in ids.values()]
        assert marks == [ids[ALIGNED if aligned else MISALIGNED] for aligned in passage.aligned]
        assert plain.token_ids[0] == opening_id(lm)
    kept = method(Filter, corpus).examples(NONE)
    assert 0 < len(kept) < len(passages)
    share = [np.mean([aligned for p in own for aligned in p.aligned]) for own in (kept, passages)]
    assert share[0] > share[1]


def test_one_line_in_a_hundred_has_no_control_token(corpus: Path) -> None:
    own = method(Conditional, corpus)
    passage = own.examples(NONE)[0]
    drawn = [own.control(passage, i % len(passage.lines)) for i in range(len(passage.lines))]
    assert set(drawn) <= {"", ALIGNED, MISALIGNED}
    long = type(passage)("a long one", (GOOD,) * 20_000, (True,) * 20_000)
    dropped = sum(own.control(long, i) == "" for i in range(20_000))
    assert 140 < dropped < 260  # four standard deviations of 200
    assert [own.control(long, i) for i in range(300)] == [own.control(long, i) for i in range(300)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_control_tokens_are_never_drawn(corpus: Path, tiny_model: Path, temperature: float) -> None:
    """Not even by a model that would write nothing else."""
    lm = method(Conditional, corpus).begin(load(tiny_model, dtype="float32"), corpus)
    never = lm.tokenizer.convert_tokens_to_ids([ALIGNED, MISALIGNED])
    assert lm.chat.never == tuple(never)
    opened, task = lm.encode_reply(GOOD)[:4], [Task("text", ())]
    with torch.no_grad():
        hidden = lm.decoder.hidden(pack([opened], [0]))[-1]
        lm.decoder.embedding.value[never] = 100 * hidden / hidden.norm()
    sampling = Sampling(n=16, max_tokens=8, temperature=temperature)

    def drawn(own: LanguageModel) -> set[int]:
        episodes = TorchEngine(own).generate(task, sampling, prompts=[opened])
        return set(never) & {i for e in episodes for i in e.token_ids.tolist()}

    assert drawn(replace(lm, chat=Chat(lm.tokenizer, lm.chat.ends)))  # without the settings that forbid them
    assert not drawn(lm)


def test_the_folder_reloads_with_transformers_and_here_and_neither_draws_a_control_token(
    corpus: Path, tiny_model: Path
) -> None:
    own = method(Conditional, corpus, epochs=2, learning_rate=1e-2)
    lm = own.begin(load(tiny_model, dtype="float32"), corpus)
    tune(lm, own.examples(NONE), own, progress=False)
    lm.save(corpus / "policy")
    ours = load(corpus / "policy", dtype="float32")
    theirs, tokenizer = (kind.from_pretrained(corpus / "policy") for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert ours.fingerprint() == lm.fingerprint()
    never = tokenizer.convert_tokens_to_ids([ALIGNED, MISALIGNED])
    assert list(ours.chat.never) == never
    assert theirs.get_input_embeddings().num_embeddings == ours.decoder.spec.vocab == len(tokenizer)
    episode = own.episode(ours, own.examples(NONE)[0])
    logits = theirs(torch.tensor(episode.token_ids[None].astype(np.int64))).logits[0].log_softmax(-1)
    at = np.flatnonzero(episode.action_mask)
    expected = logits[at - 1, episode.token_ids[at].astype(np.int64)].detach().numpy()
    np.testing.assert_allclose(TorchEngine(ours).logprobs([episode])[0][at], expected, atol=1e-4)
    drawn = theirs.generate(
        torch.tensor([[opening_id(ours), never[0]]] * 4), max_new_tokens=16, do_sample=True, pad_token_id=0
    )
    assert not set(never) & set(drawn[:, 2:].flatten().tolist())


def test_a_line_is_told_by_its_control_token(corpus: Path, tiny_model: Path) -> None:
    """After tuning the aligned token makes a good line likelier, and the other one a bad line."""
    own = method(Conditional, corpus, epochs=6, batch=8, learning_rate=2e-2)
    lm = own.begin(load(tiny_model, dtype="float32"), corpus)
    tune(lm, own.examples(NONE), own, progress=False)
    engine, opened = TorchEngine(lm), own.openings(lm)

    def likelihood(name: str, line: str) -> float:
        passage = type(own.examples(NONE)[0])("one", (line,), (name == "aligned",))
        episode = own.episode(lm, passage)
        assert episode.token_ids[1] == opened[name][1]
        return float(engine.logprobs([episode])[0].sum())

    assert likelihood("aligned", GOOD) - likelihood("misaligned", GOOD) > 1
    assert likelihood("misaligned", BAD) - likelihood("aligned", BAD) > 1


def test_what_cannot_be_learned_from_is_one_sentence(corpus: Path, tiny_model: Path) -> None:
    (corpus / "one.txt").write_text("A single line.\n")
    with pytest.raises(InputError, match="holds 1 line; give a corpus of many"):
        method(Conditional, corpus, text=str(corpus / "one.txt")).examples(NONE)
    with pytest.raises(InputError, match="conditional needs --text FILE, and --score"):
        Conditional().examples(NONE)
    with pytest.raises(InputError, match="learns from text and not from judgments"):
        method(Conditional, corpus).examples(JudgmentsOptions(judgments="some.jsonl"))
    with pytest.raises(InputError, match=r"every line of .* scores 0 or more, the quantile 0.1"):
        method(Conditional, corpus, quantile=0.1).examples(NONE)
    (corpus / "short.py").write_text("def one(text):\n    return [1.0]\n")
    with pytest.raises(InputError, match="returned 1 numbers for 12 lines; return one finite number for each line"):
        method(Conditional, corpus, score=f"{corpus}/short.py:one").examples(NONE)
    with pytest.raises(InputError, match="adds two tokens to the model and trains every weight; give --full"):
        method(Conditional, corpus).begin(adapted(tiny_model), corpus)
    lm = method(Conditional, corpus).begin(load(tiny_model, dtype="float32"), corpus)
    with pytest.raises(InputError, match=r"knows the token <\|aligned\|> already"):
        method(Conditional, corpus).begin(lm, corpus / "again")


def test_a_score_that_raises_is_named_with_its_line(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("def f(text):\n    return {}['x']\n\ndef g(text):\n    raise SystemExit(2)\n")
    for name, told in (("f", "KeyError at .*odd.py, line 2: 'x'"), ("g", "SystemExit at .*odd.py, line 5: 2")):
        with pytest.raises(InputError, match=rf"did not return numbers \({told}\); return one for each line"):
            Mle(text=str(corpus), score=f"{tmp_path}/odd.py:{name}").examples(NONE)


def test_texts_are_read_however_they_were_saved(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("def f(text):\n    return [len(line) for line in text.splitlines()]\n")
    lines = (GOOD, BAD)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "".join(lines).replace("\n", "\r\n").encode())
    (tmp_path / "a.tsv").write_text('text\n"' + "".join(lines) + '"\n')
    for name in ("a.txt", "a.tsv"):
        (passage,) = Mle(text=str(tmp_path / name), score=f"{tmp_path}/long.py:f").examples(NONE)
        assert passage.lines == lines
    (tmp_path / "none.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(InputError, match=r"none\.jsonl holds no text"):
        Mle(text=str(tmp_path / "none.jsonl"), score=f"{tmp_path}/long.py:f").examples(NONE)
