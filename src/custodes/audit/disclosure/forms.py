"""Forms of others, filled from a disclosure's lines: the Model Documentation Form and the public summary of training content.

The first belongs to the transparency chapter of the Code of Practice for general-purpose AI models (10 July 2025). The second is
the template of the AI Office for Article 53(1)(d) of Regulation (EU) 2024/1689 (24 July 2025). Headings are theirs, shortened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from custodes.audit.disclosure.lines import STATED, FilledLine
from custodes.page import NOT_RECORDED

Form = Mapping[str, Mapping[str, Sequence[str]]]
"""Heading -> field -> keys of the lines that answer it."""

MODEL_DOCUMENTATION: Form = {
    "General information": {
        "Legal name for the model provider": ["model.provider"],
        "Model name": ["model.unique_name"],
        "Model authenticity": ["model.authenticity"],
        "Release date": ["model.release_date"],
        "Union market release date": ["model.union_release_date"],
        "Model dependencies": ["model.dependencies"],
    },
    "Model properties": {
        "Model architecture and total model size": ["model.architecture"],
        "Design specifications of the model": ["model.design"],
        "Input modalities": ["model.inputs"],
        "Output modalities": ["model.outputs"],
    },
    "Methods of distribution and licenses": {
        "Distribution channels": ["model.distribution"],
        "License": ["model.license"],
    },
    "Use": {
        "Acceptable use policy": ["model.use_policy"],
        "Intended uses": ["model.intended_uses"],
        "Type and nature of AI systems": ["model.systems"],
        "Technical means for model integration": ["model.integration"],
        "Hardware": ["model.hardware"],
        "Software": ["model.software"],
    },
    "Training process": {
        "Design specifications of the training process": [
            "data.process", "policy.training", "reward.models", "reward.loss", "reward.disagreement",
        ],
        "Decision rationale": ["data.rationale"],
    },
    "Data used for training, testing and validation": {
        "Data type and modality": ["data.modalities"],
        "Data provenance": [
            "data.public_datasets", "data.licensed", "data.third_parties", "data.crawled", "data.user_data", "data.synthetic",
            "data.other_sources",
        ],
        "How data was obtained and selected": ["feedback.examples", "feedback.assignment", "feedback.evaluators", "data.files"],
        "Number of data points": ["data.amount", "feedback.types"],
        "Scope and main characteristics": ["data.characteristics"],
        "Data curation methodologies": ["data.curation", "feedback.quality", "feedback.guidelines"],
        "Measures to detect unsuitability of data sources": ["data.unsuitable", "feedback.poisoning"],
        "Measures to detect identifiable biases": ["data.biases", "reward.by_group"],
    },
    "Computational resources during training": {
        "Training time": ["data.duration"],
        "Amount of computation and how it was measured": ["data.computation"],
    },
    "Energy consumption": {
        "Energy used for training and how it was measured": ["data.energy"],
        "Computation used for inference and how it was measured": ["data.inference"],
    },
}  # fmt: skip

TRAINING_CONTENT: Form = {
    "1. General information": {
        "1.1 Provider identification": ["model.provider", "model.contact"],
        "1.2 Model identification": ["model.unique_name", "model.dependencies", "model.union_release_date"],
        "1.3 Modalities": ["data.modalities"],
        "1.3 Training data size": ["data.amount"],
        "1.3 Types of content": ["feedback.types", "feedback.examples"],
        "1.3 Latest date of data acquisition": ["data.latest"],
        "1.3 Linguistic characteristics": ["model.languages"],
        "1.3 Other characteristics": ["data.characteristics"],
    },
    "2. List of data sources": {
        "2.1 Publicly available datasets": ["data.public_datasets"],
        "2.2.1 Datasets licensed by rightsholders": ["data.licensed"],
        "2.2.2 Private datasets obtained from other third parties": ["data.third_parties"],
        "2.3 Data crawled and scraped from online sources": ["data.crawled"],
        "2.4 User data": ["data.user_data"],
        "2.5 Synthetic data": ["data.synthetic"],
        "2.6 Other sources of data": ["data.other_sources", "data.files", "feedback.evaluators"],
    },
    "3. Data processing aspects": {
        "3.1 Respect of reservation of rights": ["data.rights_reserved"],
        "3.2 Removal of illegal content": ["data.illegal_content"],
        "3.3 Other information": ["data.curation"],
    },
}
FORMS = {
    "MODEL_DOCUMENTATION_FORM.md": ("Model Documentation Form", MODEL_DOCUMENTATION),
    "TRAINING_CONTENT_SUMMARY.md": ("Public summary of training content", TRAINING_CONTENT),
}
"""File -> its title and form."""


def form_text(title: str, form: Form, lines: Mapping[str, FilledLine], made: str) -> str:
    """A filled form as Markdown; ``made`` says from what, and when."""
    text = [f"# {title}", "", f"*{made}*", ""]
    for heading, asked in form.items():
        text += [f"## {heading}", ""]
        for field, keys in asked.items():
            text += [f"### {field}", "", *answered_lines([lines[key] for key in keys]), ""]
    return "\n".join(text)


def answered_lines(lines: Sequence[FilledLine]) -> list[str]:
    """What some lines say, as Markdown; of several those that say something, each under its title."""
    filled = [line for line in lines if line.value or line.stated]
    if not filled:
        return [f"_{NOT_RECORDED}_"]
    text: list[str] = []
    for line in filled:
        text += [f"**{line.title}**", ""] if len(lines) > 1 else []
        text += [f"- {plain_markdown(told)}" for told in line.told]
        text += [f"- {plain_markdown(line.stated)} _({STATED})_"] if line.stated else []
        text += [""] if line is not filled[-1] else []
    return text


def plain_markdown(text: str) -> str:
    """Text that Markdown shows as it is: on one line, with what would be markup escaped."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]<>#|~" else c for c in " ".join(text.split()))
    return escaped.replace("&", "&amp;")
