"""Rows with one answer: demonstrations, and completions that somebody found acceptable or not."""

from __future__ import annotations

from custodes.dialogue import Messages, alike, as_completion, as_prompt
from custodes.feedback.collection import LABEL
from custodes.feedback.forms.preferences import ANNOTATOR
from custodes.feedback.forms.prompts import asked, check_answer, note_tokens
from custodes.feedback.forms.source import SKIP, Source, content, empty, number, truth, who
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.label import Label
from custodes.tables import Row
from custodes.types import Example, InputError

ANSWERS = ("completion", "output", "response", "answer")
WHOLE = ("messages", "conversations", "text")
COMPLETION_VERDICTS = ("label", "kto_tag")


def labelled(row: Row, source: Source) -> None:
    """A completion with ``label`` (true: acceptable), as KTO wants it."""
    example = example_of(row, source)
    if example.weight != 1:
        source.leave_out("the column 'weight': a label has none")
    if example.label is None:
        raise InputError(f"{row.place}, field 'label': it is missing; it should be true or false ({SKIP}).")
    said = {"name": LABEL, "value": "yes" if example.label else "no", "annotator": example.annotator}
    source.say(Label, example.prompt, (example.completion,), **said)


def demonstrated(row: Row, source: Source) -> None:
    """An answer to imitate; of several turns the last, and those before it are asked."""
    example = example_of(row, source)
    if example.weight != 1:
        source.leave_out("the column 'weight': a demonstration has none")
    prompt = example.prompt + example.completion[:-1]
    source.say(Demonstration, prompt, (), text=example.completion[-1].content, annotator=example.annotator)


def example_of(row: Row, source: Source) -> Example:
    """The example that a row holds. Raises InputError naming file, row and field."""
    held = [name for name in (*ANSWERS, *WHOLE) if not empty(row.values.get(name)) or name in row.values]
    answers, whole = [n for n in held if n in ANSWERS], [n for n in held if n in WHOLE]
    if len(answers) + len(whole[:1] if answers else whole) != 1:
        what = f"columns {' and '.join(held)} say it twice" if held else "no column with an answer"
        raise InputError(
            f"{row.place}: {what}; found {', '.join(row.values) or 'no column'}, "
            f"expected completion (and optionally prompt), messages or text ({SKIP})."
        )
    name, given = held[0], content(row, held[0])
    prompt: Messages = ()
    if name in ANSWERS:
        prompt, completion = asked(row, source) or (), as_completion(given)
        if len(completion) > len(prompt) and prompt and alike(completion[: len(prompt)], prompt):
            completion = completion[len(prompt) :]
    elif name == "text":
        completion = as_completion(given)
    else:
        turns = as_prompt(given)
        prompt, completion = turns[:-1], turns[-1:]
        system = asked(Row(row.path, row.number, {k: v for k, v in row.values.items() if k == "system"}), source)
        prompt = (*(system or ()), *prompt)
    check_answer(row, name, completion)
    note_tokens(source, "answer", *(m.content for m in completion))
    verdict = next((v for v in COMPLETION_VERDICTS if v in row.values), None)
    return Example(
        prompt,
        completion,
        label=truth(row, verdict) if verdict else None,
        weight=number(row, "weight", 0, float("inf")) if "weight" in row.values else 1.0,
        annotator=who(row, *ANNOTATOR),
        line=row.number,
    )
