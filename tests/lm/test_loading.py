from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import write_model
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from custodes.cli import main
from custodes.lm.loading import _StoredConfig, check_model, lasting_name, load, model_folder
from custodes.types import InputError, Message


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def refusal(name: str | Path) -> str:
    """The one sentence with which a model is refused."""
    with pytest.raises(InputError) as caught:
        load(name)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_folder_without_tokenizer(folder: Path):
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer" in refusal(folder)


def test_a_damaged_tokenizer(folder: Path):
    (folder / "tokenizer.json").write_text("{")
    assert f"the tokenizer in {folder} cannot be read" in refusal(folder)


def test_an_unknown_architecture(folder: Path):
    change(folder / "config.json", model_type="mystery")
    assert "architecture 'mystery'" in refusal(folder)


@pytest.mark.parametrize("content", ["{", "[1, 2]"])
def test_a_config_that_is_no_json_object(folder: Path, content: str):
    (folder / "config.json").write_text(content)
    assert f"{folder / 'config.json'} is not a JSON object" in refusal(folder)


def test_a_folder_that_is_no_model(tmp_path: Path):
    assert "has no config.json" in refusal(tmp_path)


def test_damaged_weights(folder: Path):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    said = refusal(folder)
    assert said.startswith(f"{weights} cannot be read as safetensors")
    assert said.endswith("download or save it again.")


def test_no_weights(folder: Path):
    (folder / "model.safetensors").unlink()
    assert "has no weights" in refusal(folder)


def test_a_missing_tensor(folder: Path):
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights)
    assert "no tensor 'model.layers.1.mlp.up_proj.weight'" in refusal(folder)


def test_weights_of_another_size_than_the_configuration(folder: Path):
    change(folder / "config.json", intermediate_size=96)
    assert "mlp.gate_proj.weight has shape (64, 32) instead of (96, 32)" in refusal(folder)


def test_no_end_of_sequence_token(folder: Path):
    change(folder / "config.json", eos_token_id=None)
    change(folder / "tokenizer_config.json", eos_token=None)
    (folder / "generation_config.json").unlink()
    assert load(folder).tokenizer.convert_ids_to_tokens(load(folder).end_ids[0]) == "<|im_end|>"  # by the template
    (folder / "chat_template.jinja").unlink()
    assert "names no end-of-sequence token" in refusal(folder)


def test_what_can_be_checked_before_weights_are_read(folder: Path):
    check_model(folder)
    (folder / "model.safetensors").unlink()
    for missing, said in (
        ("", "has no weights"),
        ("tokenizer.json", "has no tokenizer"),
        ("config.json", "no config.json"),
    ):
        if missing:
            (folder / missing).unlink()
        with pytest.raises(InputError, match=said):
            check_model(folder)
    (folder / "ledger.db").touch()
    with pytest.raises(InputError, match="holds a run and no model"):
        check_model(folder)


def test_a_long_text_is_read_without_a_word(folder: Path, capfd: pytest.CaptureFixture[str]):
    assert len(load(folder).encode((Message("user", "fox " * 3000),))) > 3000
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["no-such-model", "./missing/folder", "/missing", "a/b/c"])
def test_an_unknown_name(name: str):
    assert f"no model '{name}'" in refusal(name)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "model 'nobody/no-such-model' could not be fetched from the hub" in refusal("nobody/no-such-model")


def test_a_configuration_that_leaves_nothing_out_is_read_as_transformers_reads_it(folder: Path):
    """The short way to a Llama's configuration and the long one give the same model."""
    short = load(folder, dtype="float32")
    assert isinstance(short.config, _StoredConfig)
    stored = json.loads((folder / "config.json").read_text())
    del stored["mlp_bias"]
    (folder / "config.json").write_text(json.dumps(stored))
    long = load(folder, dtype="float32")
    assert not isinstance(long.config, _StoredConfig)
    assert short.decoder.spec == long.decoder.spec
    assert short.end_ids == long.end_ids


@pytest.mark.parametrize("old", [True, False])
def test_both_spellings_of_the_rotary_base_are_read(folder: Path, old: bool):
    rope = {"rope_type": "default", "rope_theta": 5000.0}
    stored = json.loads((folder / "config.json").read_text())
    stored.pop("rope_parameters", None)
    stored |= {"rope_theta": 5000.0} if old else {"rope_parameters": rope}
    (folder / "config.json").write_text(json.dumps(stored))
    D = 8
    assert load(folder).decoder.spec.inv_freq[1] == pytest.approx(5000.0 ** (-2 / D))


def test_weights_in_several_files_are_one_model(folder: Path, tiny_model: Path):
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert load(folder, dtype="float32").fingerprint() == load(tiny_model, dtype="float32").fingerprint()


def test_a_saved_folder_is_whole(folder: Path, tmp_path: Path):
    """Weights, configuration, tokenizer and chat template: nothing else is needed to load it anywhere."""
    lm = load(folder)
    lm.save(tmp_path / "saved")
    shutil.rmtree(folder)
    again = load(tmp_path / "saved")
    assert again.fingerprint() == lm.fingerprint()
    messages = (Message("user", "Hello"),)
    assert again.encode(messages).tolist() == lm.encode(messages).tolist()
    assert isinstance(AutoModelForCausalLM.from_pretrained(tmp_path / "saved"), LlamaForCausalLM)
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").chat_template


def test_ends_of_turn_come_from_every_place_that_names_one(folder: Path):
    change(folder / "generation_config.json", eos_token_id=[0, 7])
    lm = load(folder)
    assert set(lm.end_ids) == {lm.tokenizer.eos_token_id, 0, 7}
    assert lm.encode_reply("Hello")[-1] == lm.end_ids[0]


@pytest.mark.parametrize("template", ["{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}", None])
def test_the_beginning_of_the_sequence_is_marked_once(folder: Path, template: str | None):
    """A tokenizer that adds it by itself, with a template that writes it too, and without one (correctness 9)."""
    lm = load(folder)
    start = lm.tokenizer.convert_tokens_to_ids("<|im_start|>")
    lm.tokenizer.bos_token = "<|im_start|>"
    lm.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", start)]
    )
    assert lm.tokenizer("the")["input_ids"][0] == start
    lm.tokenizer.chat_template = template
    ids = lm.encode((Message("user", "the fox"),), prefix="quick")
    assert ids[0] == start
    assert (ids == start).sum() == 1
    assert start not in lm.encode_reply("the fox")


def test_a_prefix_is_appended_as_tokens(folder: Path):
    lm = load(folder)
    messages = (Message("user", "the fox"),)
    alone, continued = lm.encode(messages), lm.encode(messages, "quick")
    assert continued[: len(alone)].tolist() == alone.tolist()
    assert lm.tokenizer.decode(continued[len(alone) :]) == "quick"


def test_a_base_model_without_template_gets_plain_turns(folder: Path):
    (folder / "chat_template.jinja").unlink()
    lm = load(folder)
    text = lm.tokenizer.decode(lm.encode((Message("system", "Be."), Message("user", "Hello"))))
    assert text == "Be.\n\nHuman: Hello\n\nAssistant:"


def test_tied_and_untied_heads_are_told_apart(tmp_path: Path, tiny_model: Path):
    for tied in (True, False):
        theirs = write_model(tmp_path / str(tied), tiny_model, tie_word_embeddings=tied)
        decoder = load(tmp_path / str(tied), dtype="float32").decoder
        assert torch.equal(decoder.head_weight(), theirs.lm_head.weight)
        assert (decoder.head is None) == tied


def test_long_context_scaling_in_the_old_spelling_is_understood(folder: Path):
    scaling = {"rope_type": "linear", "factor": 4.0}
    change(folder / "config.json", rope_theta=10000.0, rope_scaling=scaling, rope_parameters=None)
    assert load(folder).decoder.spec.inv_freq[0] == pytest.approx(0.25)


def test_a_short_name_means_its_hub_id_a_copy_or_what_is_here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    name, hub = "qwen2.5-coder-0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct"
    said = refusal(name)
    assert f"model '{hub}' could not be fetched from the hub" in said
    assert str(tmp_path / "cache" / "models" / f"{name}.gguf") in said
    assert "smollm2-135m, which needs no hub" in said
    assert lasting_name(name) == hub
    copy = tmp_path / "cache" / "models" / name
    shutil.copytree(folder, copy)
    assert model_folder(name) == model_folder(hub) == copy
    assert load(name).name == hub  # what a saved adapter names as its base
    check_model(name)
    (tmp_path / name).mkdir()
    assert model_folder(name) == Path(name)


def test_the_list_tells_what_a_model_is_good_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path))
    (tmp_path / "models" / "qwen2.5-coder-0.5b").mkdir(parents=True)
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"smollm2-135m", "qwen2.5-coder-0.5b"} <= listed.keys()
    for model in (m for m in listed.values() if isinstance(m, dict)):
        assert model["license"] == "apache-2.0"
        assert model["bytes"] > 1e7
        assert "/" in model["hub"]
        assert model["good_for"]
    assert listed["qwen2.5-coder-0.5b"]["folder"] == str(tmp_path / "models" / "qwen2.5-coder-0.5b")
    assert listed["smollm2-135m"]["folder"] is None
    assert main(["models"]) == 0
    assert "Qwen/Qwen2.5-Coder-0.5B-Instruct" in capsys.readouterr().out
