"""A time stamp of a head by a real authority, which the tests run: OpenSSL's, behind HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.ledger import Ledger
from custodes.ledger.heads import make_key

CONFIG = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[tsa]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
[stamps]
signer_cert = tsa.pem
signer_key = tsa.key
serial = serial
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha256
ess_cert_id_chain = no
"""


class Authority:
    """What ``openssl ts`` answers; ``answer`` may be changed to answer something else."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.answer = folder, self.stamped
        (folder / "openssl.cnf").write_text(CONFIG)
        (folder / "serial").write_text("01\n")
        self.openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Roots -extensions ca")
        self.openssl("req -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -subj /CN=Stamps")
        self.openssl("x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -out tsa.pem -extfile openssl.cnf -extensions tsa")

    def openssl(self, command: str, stdin: bytes = b"") -> bytes:
        words = ["openssl", *command.split()]
        words += ["-config", "openssl.cnf"] if words[1] in ("req", "ts") else []
        return subprocess.run(words, input=stdin, cwd=self.folder, check=True, capture_output=True, timeout=60).stdout

    def stamped(self, query: bytes) -> bytes:
        (self.folder / "query.tsq").write_bytes(query)
        return self.openssl("ts -reply -section stamps -queryfile query.tsq")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, str]]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, which is the authority")
    authority = Authority(tmp_path_factory.mktemp("authority"))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            answer = authority.answer(query) if self.headers["Content-Type"] == "application/timestamp-query" else b""
            self.send_response(200 if answer else 503)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield authority, f"http://127.0.0.1:{server.server_address[1]}/tsr"
        server.shutdown()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("CUSTODES_LEDGER_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with Ledger.open(tmp_path / "ledger.db") as opened:
        opened.start_run("test", {}, seed=0)
    return str(tmp_path / "ledger.db")


def test_a_head_is_stamped_and_the_stamp_is_checked_offline(
    ledger: str, tmp_path: Path, running: tuple[Authority, str], capsys: pytest.CaptureFixture[str]
) -> None:
    authority, url = running
    heads = tmp_path / "heads.jsonl"
    kept = ["--head-file", str(heads)]
    assert main(["ledger", "sign", ledger, *kept, "--time-stamp", url]) == 0  # without a key
    public = make_key(tmp_path / "key")
    assert main(["ledger", "sign", ledger, *kept, "--time-stamp", url, "--key", str(tmp_path / "key")]) == 0
    roots = ["--time-roots", str(authority.folder / "ca.pem")]
    assert main(["verify", ledger, *kept, *roots]) == 0
    assert "line 2: row 1 was there on 20" in capsys.readouterr().out
    assert main(["verify", ledger, *kept]) == 0
    assert "its time stamp was not checked; give --time-roots" in capsys.readouterr().out
    line = json.loads(heads.read_text().splitlines()[1])
    heads.write_text(json.dumps(line) + "\n")
    assert main(["verify", ledger, *kept, *roots, "--public-key", str(public)]) == 0
    for name, value, said in (
        ("time", "2020-01-01", "its time stamp does not hold: Mismatch between messages"),
        ("stamp", line["stamp"][:-40] + "A" * 40, "its time stamp does not hold"),
        ("stamp", "no base64", "its time stamp does not hold"),
        ("stamp", "", "it has no time stamp"),
    ):
        heads.write_text(json.dumps(line | {name: value}) + "\n")
        assert main(["verify", ledger, *kept, *roots]) == 1
        assert said in capsys.readouterr().out
    heads.write_text(json.dumps(line) + "\n")
    other = Authority(tmp_path)
    assert main(["verify", ledger, *kept, "--time-roots", str(other.folder / "ca.pem")]) == 1
    assert main(["verify", ledger, *roots]) == 2
    assert main(["verify", ledger, *kept, "--time-roots", str(heads)]) == 2


def test_an_authority_that_fails_says_so_and_nothing_is_lost(
    ledger: str, tmp_path: Path, running: tuple[Authority, str], capsys: pytest.CaptureFixture[str]
) -> None:
    authority, url = running
    heads = tmp_path / "heads.jsonl"
    heads.write_text("")
    earlier = authority.stamped(authority.openssl("ts -query -digest " + "ab" * 32 + " -sha256 -cert"))
    before = Path(ledger).read_bytes()
    for service, answer, said in (
        ("http://127.0.0.1:1/", None, "cannot be reached"),
        ("no url", None, "cannot be reached"),
        (url, b"", "answered 503; nothing was kept"),
        (url, b"hello", "gave no time stamp; nothing was kept"),
        (url, earlier, "stamped something else; nothing was kept"),
    ):
        authority.answer = lambda query, answer=answer: answer  # type: ignore[method-assign]
        assert main(["ledger", "sign", ledger, "--head-file", str(heads), "--time-stamp", service]) == 2
        assert said in capsys.readouterr().err
    authority.answer = authority.stamped  # type: ignore[method-assign]
    assert heads.read_text() == ""
    assert Path(ledger).read_bytes() == before
    assert main(["verify", ledger]) == 0
