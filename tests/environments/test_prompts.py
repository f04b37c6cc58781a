import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.dialogue import read_dialogue
from custodes.environments.prompts import prompts_are_text, read_tasks, task_id
from custodes.types import InputError, Message

USER = [{"role": "user", "content": "Why is the sky blue?"}]
REPLY = {"role": "assistant", "content": "Scattering."}
DIALOGUE = "\n\nHuman: Hi there\n\nAssistant: Hello.\n\nHuman: Why is the sky blue?\n\nAssistant: Scattering."


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why is the sky blue?"},
        {"prompt": USER},
        {"messages": [*USER, REPLY]},
        {"messages": USER},
        {"chosen": [*USER, REPLY], "rejected": [*USER, REPLY]},
        {"prompt": USER, "chosen": [REPLY], "rejected": [REPLY]},
        {"chosen": "\n\nHuman: Why is the sky blue?\n\nAssistant: Scattering.", "rejected": "..."},
        {"prompt": "\n\nHuman: Why is the sky blue?\n\nAssistant:", "completion": " Scattering."},
    ],
)
def test_every_form_gives_the_same_task(tmp_path, row):
    (task,) = read_tasks(write_jsonl(tmp_path / "p.jsonl", [row]))
    assert task.messages == (Message("user", "Why is the sky blue?"),)
    assert task.id == task_id(task.messages)
    assert not task.metadata


def test_every_format_gives_the_same_tasks(tmp_path):
    rows = [{"prompt": "Why?", "answer": "Because"}, {"prompt": 'How, "ever"?\nNow.', "answer": "So"}]
    write_jsonl(tmp_path / "p.jsonl", rows)
    (tmp_path / "p.json").write_text(json.dumps(rows))
    with gzip.open(tmp_path / "p.jsonl.gz", "wt") as file:
        file.write((tmp_path / "p.jsonl").read_text())
    with (tmp_path / "p.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "answer"])
        writer.writeheader()
        writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    read = [read_tasks(tmp_path / f"p.{kind}") for kind in ("jsonl", "jsonl.gz", "json", "csv", "parquet")]
    assert all(tasks == read[0] for tasks in read)
    assert [t.metadata for t in read[0]] == [{"answer": "Because"}, {"answer": "So"}]


def test_conversations_keep_their_turns_and_prompts_come_once_which_is_said(tmp_path):
    rows = [{"chosen": DIALOGUE}, {"chosen": DIALOGUE + " And more."}, {"prompt": "Why?"}]
    with pytest.warns(UserWarning, match=r"p\.jsonl: 1 of 3 rows repeat a prompt"):
        first, second = read_tasks(write_jsonl(tmp_path / "p.jsonl", rows))
    assert [m.role for m in first.messages] == ["user", "assistant", "user"]
    assert second.messages[0].content == "Why?"


def test_raw_dialogue_with_empty_and_doubled_turns():
    text = "\n\nHuman: a\n\nHuman: b\n\nAssistant:\n\nAssistant: c, Human: not a turn\n\nHuman: "
    assert read_dialogue(text) == (
        Message("user", "a\nb"),
        Message("assistant", "c, Human: not a turn"),
        Message("user", ""),
    )
    assert read_dialogue("Once upon a time, a Human: said") == ()


turns = st.lists(st.text("ab \n", min_size=1).filter(str.strip).map(str.strip), min_size=1, max_size=5)


@given(turns)
def test_raw_dialogue_gives_back_what_was_written(contents):
    speakers = [("user", "Human"), ("assistant", "Assistant")]
    text = "".join(f"\n\n{speakers[i % 2][1]}: {c}" for i, c in enumerate(contents))
    assert [(m.role, m.content) for m in read_dialogue(text)] == [
        (speakers[i % 2][0], c) for i, c in enumerate(contents)
    ]


def test_metadata_is_plain_json(tmp_path):
    import datetime

    pq.write_table(pa.Table.from_pylist([{"prompt": "Why?", "day": datetime.date(2020, 1, 2)}]), tmp_path / "p.parquet")
    (task,) = read_tasks(tmp_path / "p.parquet")
    assert task.metadata == {"day": "2020-01-02"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompt": "ok"', "row 3: not valid JSON"),
        ('["prompt"]', "row 3: found list"),
        ('{"question": "a"}', "row 3 has no prompt.*question"),
        ('{"prompt": "  "}', "row 3: column 'prompt' is empty"),
        ('{"prompt": 7}', "row 3, column 'prompt' is int"),
        ('{"prompt": [{"role": "person", "content": "a"}]}', "row 3, column 'prompt', message 1"),
        ('{"prompt": [{"role": "user", "content": ""}]}', "row 3, column 'prompt', message 1"),
        ('{"prompt": ["Hi"]}', "row 3, column 'prompt', message 1"),
        ('{"prompt": [{"role": "assistant", "content": "a"}]}', "row 3: column 'prompt' has no user message"),
        ('{"messages": []}', "row 3: column 'messages' has no user message"),
        ('{"chosen": "just an answer", "rejected": "another"}', "row 3: column 'chosen' is text without a prompt"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, line, says):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "fine"}\n\n' + line + "\n")
    with pytest.raises(InputError, match="p.jsonl, " + says) as error:
        read_tasks(path)
    assert "\n" not in str(error.value)


def test_bad_files_are_named(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "plain.jsonl.gz").write_text("{}")
    (tmp_path / "text.parquet").write_text("{}")
    (tmp_path / "wide.csv").write_text("prompt\na,b\n")
    (tmp_path / "p.docx").touch()
    pq.write_table(pa.Table.from_pylist([{"prompt": "Why?"}, {"prompt": ""}]), tmp_path / "row.parquet")
    for name, says in {
        "absent.jsonl": "does not exist",
        "empty.jsonl": "is empty",
        "binary.jsonl": "is not UTF-8",
        "plain.jsonl.gz": "is damaged",
        "text.parquet": "is damaged",
        "wide.csv": "row 2: more fields",
        "p.docx": "unknown extension",
        "row.parquet": "row 2: column 'prompt' is empty",
    }.items():
        with pytest.raises(InputError, match=f"{name}.*{says}"):
            read_tasks(tmp_path / name)


def test_a_column_with_the_system_prompt_opens_the_conversation(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"system": "Be terse.", "prompt": "Why?"}) + "\n")
    (task,) = read_tasks(path)
    assert [(m.role, m.content) for m in task.messages] == [("system", "Be terse."), ("user", "Why?")]


def test_a_prompt_may_stand_in_a_column_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"question": "What is 6 times 7?", "answer": "#### 42"}\n')
    (task,) = read_tasks(tmp_path / "p.jsonl", "question", "Be brief.")
    assert [m.content for m in task.messages] == ["Be brief.", "What is 6 times 7?"]
    assert task.metadata == {"answer": "#### 42"}
    assert prompts_are_text(tmp_path / "p.jsonl", "question")


def test_messages_and_dialogues_are_no_plain_text(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"prompt": [{"role": "user", "content": "Hello"}]}\n')
    (tmp_path / "t.jsonl").write_text('{"prompt": "Hello"}\n')
    (tmp_path / "d.jsonl").write_text('{"prompt": "\\n\\nHuman: Hello\\n\\nAssistant:"}\n')
    assert [prompts_are_text(tmp_path / f"{name}.jsonl") for name in "mtd"] == [False, True, False]
