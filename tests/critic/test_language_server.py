"""A real client of the protocol opens and saves files; findings come as diagnostics."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from lsprotocol import types
from pygls.lsp.client import BaseLanguageClient

FILE = "file:///made/up/code.py"
CODE = "def f(a, b):\n    c = a\n    return c  # ünïcode\n"


async def diagnostics_of(command: list[str], edited: str, code: str = CODE) -> list[types.PublishDiagnosticsParams]:
    """What the server publishes when a file is opened, changed, and saved."""
    client = BaseLanguageClient("test", "1")
    published: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def publishes(params: types.PublishDiagnosticsParams) -> None:
        published.put_nowait(params)

    await client.start_io(*command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
    client.initialized(types.InitializedParams())
    client.text_document_did_open(types.DidOpenTextDocumentParams(types.TextDocumentItem(FILE, "python", 1, code)))
    first = await asyncio.wait_for(published.get(), 120)
    whole = [types.TextDocumentContentChangeWholeDocument(edited)]
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(types.VersionedTextDocumentIdentifier(uri=FILE, version=2), whole)
    )
    client.text_document_did_save(types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(FILE)))
    second = await asyncio.wait_for(published.get(), 120)
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()
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


def served(lives: int) -> list[str]:
    """A server whose critic remarks on `- 1`, and dies after some pieces."""
    return [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from review_data import LineCritic\n"
        "from custodes.critic.review.flow import ReviewOptions\n"
        "from custodes.critic.jobs.lsp import _make_server\n"
        f"_make_server(lambda: LineCritic(lives={lives}), ReviewOptions(), None).start_io()",
    ]


def shown(published: types.PublishDiagnosticsParams) -> list[tuple[int, int, int, int]]:
    ranges = (d.range for d in published.diagnostics)
    return [(r.start.line, r.start.character, r.end.line, r.end.character) for r in ranges]


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
