"""A real client of the protocol opens and saves files; findings come as diagnostics."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types
from pygls.lsp.client import BaseLanguageClient

from custodes.critic.review.editor import EditorNote, ignoring, moved_notes
from custodes.critic.review.findings import Reviewed

FILE = "file:///made/up/code.py"
CODE = "def f(a, b):\n    c = a\n    return c  # ünïcode\n"


class Editor:
    """A client that opens one file of a server."""

    def __init__(self, uri: str = FILE) -> None:
        self.uri, self.version, self.client = uri, 1, BaseLanguageClient("test", "1")
        self.published: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()

        @self.client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def publishes(params: types.PublishDiagnosticsParams) -> None:
            self.published.put_nowait(params)

    async def opened(self, command: list[str], code: str) -> types.PublishDiagnosticsParams:
        await self.client.start_io(*command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        await self.client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
        self.client.initialized(types.InitializedParams())
        item = types.TextDocumentItem(self.uri, "python", 1, code)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        return await self.told()

    async def told(self) -> types.PublishDiagnosticsParams:
        return await asyncio.wait_for(self.published.get(), 240)

    async def edited(self, text: str) -> types.PublishDiagnosticsParams:
        self.version += 1
        whole = [types.TextDocumentContentChangeWholeDocument(text)]
        identifier = types.VersionedTextDocumentIdentifier(uri=self.uri, version=self.version)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(identifier, whole))
        return await self.told()

    async def saved(self) -> types.PublishDiagnosticsParams:
        self.client.text_document_did_save(types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(self.uri)))
        return await self.told()

    async def actions(self, line: int) -> list[types.CodeAction]:
        """What can be done about a line, from 0."""
        at, identifier = types.Position(line, 0), types.TextDocumentIdentifier(self.uri)
        params = types.CodeActionParams(identifier, types.Range(at, at), types.CodeActionContext([]))
        found = await asyncio.wait_for(self.client.text_document_code_action_async(params), 120)
        return [action for action in found or [] if isinstance(action, types.CodeAction)]

    async def closed(self) -> types.PublishDiagnosticsParams:
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(self.uri)))
        return await self.told()

    async def ended(self) -> None:
        await self.client.shutdown_async(None)
        self.client.exit(None)
        await self.client.stop()


async def diagnostics_of(command: list[str], edited: str, code: str = CODE) -> list[types.PublishDiagnosticsParams]:
    """What the server publishes when a file is opened, and when it is saved after a change."""
    editor = Editor()
    first = await editor.opened(command, code)
    await editor.edited(edited)
    second = await editor.saved()
    await editor.ended()
    return [first, second]


def test_findings_are_published_on_opening_and_on_saving(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path))
    command = [
        sys.executable,
        "-m",
        "custodes",
        "lsp",
        "--no-evidence",
        "--model",
        str(tiny_model),
        "--strictness",
        "99",
    ]
    silenced = CODE.replace("(a, b):", "(a, b):  # custodes: ignore")
    first, second = asyncio.run(diagnostics_of(command, silenced))
    assert first.uri == FILE
    assert {d.range.start.line for d in first.diagnostics} <= {0, 1, 2}
    assert first.diagnostics
    assert all(d.source == "custodes" and "confidence" in d.message for d in first.diagnostics)
    assert not second.diagnostics
    assert second.version == 2


def served(lives: int, test: str = "") -> list[str]:
    """A server whose critic remarks on `- 1`, with a test that fails if one is given, and dies after some pieces."""
    return [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from review_data import LineCritic\n"
        "from custodes.critic.review.flow import ReviewOptions\n"
        "from custodes.critic.jobs.lsp import _make_server\n"
        f"_make_server(lambda: (LineCritic(lives={lives}, test={test!r}), None), ReviewOptions(), None).start_io()",
    ]


def shown(published: types.PublishDiagnosticsParams) -> list[tuple[int, int, int, int]]:
    ranges = (d.range for d in published.diagnostics)
    return [(r.start.line, r.start.character, r.end.line, r.end.character) for r in ranges]


def test_findings_move_with_edits_can_be_ignored_or_tested_and_go_on_closing(tmp_path: Path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "tests").mkdir()
    file = tmp_path / "code.py"
    code = "def f(x):\n    return x - 1\n\n\ndef g(x):\n    y = '''a\n    b''' - 1\n    return y\n"
    file.write_text(code)
    test = "def test_f():\n    assert f(1) == 1\n"

    async def session() -> None:
        editor = Editor(file.as_uri())
        first = await editor.opened(served(99, test), code)
        assert [r[0] for r in shown(first)] == [1, 6]
        moved = await editor.edited(f"import os\n\n\n{code}")
        assert (moved.version, [r[0] for r in shown(moved)]) == (2, [4, 9])
        assert [r[0] for r in shown(await editor.edited(f"# one\n{code.replace('x - 1', 'x - 1 - 1')}"))] == [7]
        back = f"# one\n{code}"
        await editor.edited(back)
        assert [r[0] for r in shown(await editor.saved())] == [2, 7]

        ignore, insert = await editor.actions(2)
        assert ignore.title == "Ignore failing-example in this line"
        (edit,) = ((ignore.edit and ignore.edit.changes) or {})[editor.uri]
        assert (edit.range.start.line, edit.new_text) == (2, "    return x - 1  # custodes: ignore[failing-example]")
        lines = back.split("\n")
        lines[2] = edit.new_text
        await editor.edited("\n".join(lines))
        assert [r[0] for r in shown(await editor.saved())] == [7]

        created, appended = (insert.edit and insert.edit.document_changes) or [None, None]
        assert isinstance(created, types.CreateFile)
        assert isinstance(appended, types.TextDocumentEdit)
        assert created.uri == appended.text_document.uri == (tmp_path / "tests" / "test_code.py").as_uri()
        assert [e.new_text for e in appended.edits if isinstance(e, types.TextEdit)] == [test]
        (tmp_path / "tests" / "test_code.py").write_text("import code")
        _, insert = await editor.actions(7)
        (appended,) = (insert.edit and insert.edit.document_changes) or [None]
        assert isinstance(appended, types.TextDocumentEdit)
        (addition,) = appended.edits
        assert isinstance(addition, types.TextEdit)
        assert (addition.range.start.character, addition.new_text) == (11, f"\n\n\n{test}")
        assert await editor.actions(0) == []

        cleared = await editor.closed()
        assert (cleared.uri, list(cleared.diagnostics)) == (editor.uri, [])
        await editor.ended()

    asyncio.run(session())


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8), st.integers(1, 8))
def test_a_note_stays_on_its_line_or_goes(old: list[str], new: list[str], line: int):
    lines = old or [""]
    line = min(line, len(lines))
    note = EditorNote(line, line, "m")
    for moved in moved_notes([note], "\n".join(lines), "\n".join(new)):
        assert (new or [""])[moved.start - 1] == lines[line - 1]
    assert moved_notes([note], "\n".join(lines), "\n".join(lines)) == [note]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("x = 1\n", 1, (1, "x = 1  # custodes: ignore[argument-only]")),
        ("x = 1  # why\n", 1, (1, "x = 1  # why  # custodes: ignore[argument-only]")),
        ("x = 1  # custodes: ignore[other]\n", 1, (1, "x = 1  # custodes: ignore[other, argument-only]")),
        ("def f():\n    return 1 + \\\n        2\n", 2, (1, "def f():  # custodes: ignore[argument-only]")),
        ("s = '''\na\n'''\n", 2, None),
        ("def f(:\n    x = 1\n", 2, (2, "    x = 1  # custodes: ignore[argument-only]")),
    ],
)
def test_an_ignoring_comment_stands_where_it_counts_and_changes_no_code(
    text: str, line: int, expected: tuple[int, str] | None
):
    note = EditorNote(line, line, "m", Reviewed("f.py", line, line, "q", "m", 0.9, ((line, line),)))
    edit = ignoring(text, note)
    assert (edit and (edit.line, edit.text)) == expected


def test_ranges_are_those_of_the_editor_whatever_the_text_holds():
    strange = "a = '\f\x0b\u2028\x85'\r\ndef f(x):\r\n\f    return '😀' + x - 1\r\n"
    first, second = asyncio.run(diagnostics_of(served(99), f"# one\n{strange}", strange))
    assert shown(first) == [(2, 5, 2, 24)]
    assert shown(second) == [(3, 5, 3, 24)]


def test_what_was_not_reviewed_is_told_and_does_not_look_clean():
    first, second = asyncio.run(diagnostics_of(served(1), "x = 3 - 1\n", "x = 2 - 1\n\ndef f(:\n    pass\n"))
    finding, broken = first.diagnostics
    assert (finding.severity, broken.severity) == (
        types.DiagnosticSeverity.Warning,
        types.DiagnosticSeverity.Information,
    )
    assert shown(first) == [(0, 0, 0, 9), (2, 0, 2, 7)]
    assert "not reviewed: lines 3 to 4 do not parse" in broken.message
    (died,) = second.diagnostics
    assert died.message == "stopped: 1 of 1 piece was not reviewed: connection refused"
    assert shown(second) == [(0, 0, 0, 9)]
