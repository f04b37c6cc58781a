"""MODEL_CARD.md: a model card in the form of the Hugging Face Hub, with its YAML header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from custodes.audit.disclosure.forms import Form, answered_lines, plain_markdown
from custodes.audit.disclosure.history import RecordedHistory
from custodes.audit.disclosure.lines import FilledLine, Measure

SECTIONS: Form = {
    "Model details": {
        "Developed by": ["model.provider", "model.contact"],
        "Finetuned from": ["feedback.base_model"],
        "License": ["model.license"],
        "Identity": ["model.authenticity", "model.architecture"],
    },
    "Uses": {"Direct use": ["model.intended_uses"], "Out-of-scope use": ["model.use_policy"]},
    "Bias, risks and limitations": {
        "Risks that are expected": ["system.risks"],
        "Failures that were found": ["system.failures", "policy.over_optimisation", "policy.gamed"],
        "Whom the reward serves least": ["reward.by_group"],
    },
    "Training details": {
        "Human feedback": [
            "feedback.types", "feedback.evaluators", "feedback.selection", "feedback.demographics", "feedback.quality",
            "feedback.agreement", "feedback.poisoning",
        ],
        "Reward": ["reward.models", "reward.loss", "reward.disagreement"],
        "Procedure": ["policy.training", "data.process"],
        "How evaluators were paid and treated": ["society.pay", "society.exposure", "society.skipping", "society.breaks"],
    },
    "Evaluation": {
        "Reward": ["reward.results"],
        "Policy": ["policy.results", "policy.diversity"],
        "Red teaming": ["reward.red_teaming", "policy.red_teaming", "policy.capabilities"],
    },
    "Environmental impact": {"Time and machines": ["society.machines", "data.computation", "data.energy"]},
    "After release": {"Monitoring and correction": ["system.monitoring", "system.corrections", "system.plans"]},
    "The record": {"What this card rests on": ["system.record"]},
}  # fmt: skip
LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_card(history: RecordedHistory, lines: Mapping[str, FilledLine], made: str) -> str:
    """The card; ``made`` says from what, and when."""
    title = lines["model.unique_name"].stated or next(iter(_policies(history)), "A model that learned from feedback")
    head = yaml.safe_dump(_header(history, lines, title), sort_keys=False, allow_unicode=True)
    text = [f"---\n{head}---", "", f"# {plain_markdown(title)}", "", f"*{made}*", ""]
    for heading, asked in SECTIONS.items():
        text += [f"## {heading}", ""]
        for field, keys in asked.items():
            text += [f"### {field}", "", *answered_lines([lines[key] for key in keys]), ""]
    return "\n".join(text)


def _header(history: RecordedHistory, lines: Mapping[str, FilledLine], title: str) -> dict[str, Any]:
    """What the Hub reads. Nothing is guessed: a license or a language that nobody stated is left out."""
    header: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    license, languages = lines["model.license"].stated.lower(), lines["model.languages"].stated
    if license:
        header |= (
            {"license": license} if LICENSE.fullmatch(license) else {"license": "other", "license_name": "see-card"}
        )
    codes = [code.strip().lower() for code in languages.split(",")]
    if all(re.fullmatch("[a-z]{2,3}", code) for code in codes):
        header["language"] = codes
    bases = [row.record.name for row in history.rows("model", "base") if HUB_ID.fullmatch(row.record.name)]
    if bases:
        header["base_model"] = bases[0]
    algorithms = [row.record.metadata.get("algorithm") for row in history.rows("model", "policy")]
    header["tags"] = ["rlhf", "custodes", *dict.fromkeys(str(name) for name in algorithms if name)]
    if results := list(_results(lines)):
        header["model-index"] = [{"name": title, "results": results}]
    return header


def _results(lines: Mapping[str, FilledLine]) -> Iterator[dict[str, Any]]:
    metrics = [
        {"type": key.partition(".")[0], "name": name, "value": shown.interval.estimate}
        for key in ("policy.results", "reward.results")
        for name, shown in lines[key].value.items()
        if isinstance(shown, Measure)
    ]
    if metrics:
        task, data = {"type": "text-generation"}, {"type": "held-out", "name": "held-out tasks of the run"}
        yield {"task": task, "dataset": data, "metrics": metrics}


def _policies(history: RecordedHistory) -> list[str]:
    return [row.record.name for row in history.rows("model", "policy")]
