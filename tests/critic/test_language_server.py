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


async def diagnostics_of(command: list[str], edited: str) -> list[types.PublishDiagnosticsParams]:
    """What the server publishes when a file is opened with CODE, changed, and saved."""
    client = BaseLanguageClient("test", "1")
    published: asyncio.Queue[types.PublishDiagnosticsParams] = asyncio.Queue()

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def publishes(params: types.PublishDiagnosticsParams) -> None:
        published.put_nowait(params)

    await client.start_io(*command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
    client.initialized(types.InitializedParams())
    client.text_document_did_open(types.DidOpenTextDocumentParams(types.TextDocumentItem(FILE, "python", 1, CODE)))
    first = await published.get()
    whole = [types.TextDocumentContentChangeWholeDocument(edited)]
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(types.VersionedTextDocumentIdentifier(uri=FILE, version=2), whole)
    )
    client.text_document_did_save(types.DidSaveTextDocumentParams(types.TextDocumentIdentifier(FILE)))
    second = await published.get()
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()
    return [first, second]


def test_findings_are_published_on_opening_and_on_saving(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUSTODES_CACHE", str(tmp_path))
    command = [sys.executable, "-m", "custodes", "lsp", "--model", str(tiny_model), "--strictness", "99"]
    silenced = CODE.replace("(a, b):", "(a, b):  # custodes: ignore")
    first, second = asyncio.run(diagnostics_of(command, silenced))
    assert first.uri == FILE
    assert {d.range.start.line for d in first.diagnostics} <= {0, 1, 2}
    assert first.diagnostics
    assert all(d.source == "custodes" and "confidence" in d.message for d in first.diagnostics)
    assert not second.diagnostics
    assert second.version == 2
