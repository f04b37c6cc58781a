"""A server's addresses as Python calls: for programs that judge, that collect judgments, or that wait for people.

    with Client("http://localhost:8080", token) as client:
        client.work("helpfulness", judge)
        client.export("helpfulness", "data")

A server that is away for a moment is waited for. A request is repeated only where that is safe: the server takes the same
judgment twice as one.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from custodes.types import InputError

Item = Mapping[str, Any]
"""What lies before an annotator: prompt, answers, questions and so on, as ``POST /api/projects/NAME/next`` gives it."""
Answers = Sequence[Mapping[str, Any]]
"""One mapping per answer: its question (from 1) and what was said, as ``POST /api/assignments/ID/judgments`` takes it."""

AWAY = frozenset({429, 502, 503, 504})
"""Statuses of a server, or of a proxy before it, that may answer in a moment."""
PAUSES = (0.1, 0.3, 1.0, 2.0, 5.0)
"""Seconds before asking again; the last again and again."""
WAIT = 20
"""Seconds for which one request waits for a person's answer."""


class _ServerRefusalError(InputError):
    """What the server did not accept; the text is the server's, ``status`` that of HTTP."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Client:
    """One account's view of a server, by an API token of its own."""

    def __init__(self, address: str, token: str, patience: float = 60.0) -> None:
        """``address`` is the server's, without /api; ``patience`` is in seconds, for a server that does not answer.

        Raises InputError for an address that is none.
        """
        if not address.startswith(("http://", "https://")):
            raise InputError(f"{address!r} is no server's address; write http://HOST:PORT.")
        self.address, self.patience = address.rstrip("/"), patience
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=f"{self.address}/api", headers=headers, timeout=30.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Every call raises InputError: with the server's sentence and ``status`` where it refuses, and where there is no
    # answer within ``patience``.

    def me(self) -> dict[str, Any]:
        """Whose token this is: account, name, role."""
        return self._json("GET", "/me")

    def wait_until_there(self) -> None:
        """Returns as soon as the server answers; the token is not looked at."""
        self._json("GET", "/health")

    def invite(self, role: str = "annotator", profile: Mapping[str, Any] | None = None) -> str:
        """An invitation for one new account."""
        return str(self._post("/invitations", role=role, profile=dict(profile or {}))["invitation"])

    # ------------------------------------------------------------ projects

    def projects(self) -> list[dict[str, Any]]:
        """Name, title, why it was closed (or None), and what this account has done in it, of every project."""
        return self._json("GET", "/projects")

    def open_project(self, text: str, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Opens a project from its YAML and its rows of tasks; the number of items."""
        return int(self._post("/projects", text=text, tasks=[dict(task) for task in tasks])["items"])

    def progress(self, project: str) -> dict[str, Any]:
        """Judgments given and wanted, hours of work, uncertainty, why it was closed."""
        return self._json("GET", f"/projects/{project}/progress")

    def quality(self, project: str) -> dict[str, Any]:
        """The quality desk: agreement, reliability, gold, alarms, with intervals."""
        return self._json("GET", f"/projects/{project}/quality")

    def judgments(self, project: str) -> list[dict[str, Any]]:
        """Everybody's judgments as they stand now, a row each."""
        return self._json("GET", f"/projects/{project}/judgments")

    def quarantine(self, project: str, account: str, why: str, lift: bool = False) -> None:
        """Leaves somebody's judgments out of exports and of the desk, or takes them in again."""
        self._post(f"/projects/{project}/quarantine", account=account, why=why, lift=lift)

    def flags(self, project: str) -> list[dict[str, Any]]:
        """What people said is wrong with items, and what was answered; those without an answer first."""
        return self._json("GET", f"/projects/{project}/flags")

    def answer_flag(self, project: str, flag: str, text: str) -> None:
        """Answers the flag with this id; whoever raised it sees the answer."""
        self._post(f"/projects/{project}/flags/{flag}/answer", text=text)

    def members(self, project: str) -> list[str]:
        """Ids of the accounts that a project is for; "everybody" is one of them where it is for all."""
        return self._json("GET", f"/projects/{project}/members")

    def set_member(self, project: str, account: str, member: bool = True) -> None:
        """Makes an account, or "everybody", a member of a project, or one no more."""
        self._post(f"/projects/{project}/members", account=account, remove=not member)

    def end(self, project: str, why: str = "") -> None:
        """No more items are given out."""
        self._json("POST", f"/projects/{project}/close", {"why": why})

    def export(self, project: str, folder: str | Path, form: str = "trl") -> list[Path]:
        """Writes the project's training data into ``folder``, as ``custodes project export`` does; the files."""
        folder = Path(folder)
        content = self._send("GET", f"/projects/{project}/export/{form}").content
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            try:
                return [Path(packed.extract(name, folder)) for name in packed.namelist()]
            except OSError as error:
                raise InputError(f"{folder} cannot be written: {error.strerror or error}.") from None

    def import_file(self, project: str, path: str | Path, form: str = "preferences") -> int:
        """Adds the judgments of a .jsonl or .json file to the project; how many. The same file again changes nothing."""
        path = Path(path)
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}.") from None
        body = {"content": content, "ending": path.suffix, "form": form}
        return int(self._field("judgments", "POST", f"/projects/{project}/import", body))

    # ------------------------------------------------------------ an annotator's work

    def next(self, project: str) -> tuple[Item | None, str]:
        """(what lies before this account now, "") or (None, why there is nothing). Asking again gives the same."""
        offered = self._object("POST", f"/projects/{project}/next", needs=("item", "why"))
        return offered["item"], offered["why"]

    def draft(self, item: Item, draft: Mapping[str, Any]) -> float:
        """Keeps ``draft`` beside the item, and the item for this account; until when, in seconds since 1970."""
        return float(self._field("until", "PUT", f"/assignments/{item['assignment']}/draft", {"draft": dict(draft)}))

    def hand_in(
        self,
        item: Item,
        answers: Answers,
        seconds: float,
        reasons: Sequence[str] = (),
        revise: bool = False,
        stage: str | None = None,
    ) -> list[str]:
        """Ids of the judgments, once the server has them safe. ``revise`` corrects what was handed in before.

        ``stage`` is "alone" or "assisted", in a project in which help is shown after a first judgment.
        """
        body = {"answers": [dict(answer) for answer in answers], "seconds": seconds, "stage": stage}
        body |= {"reasons": list(reasons), "revise": revise}
        return list(self._field("judgments", "POST", f"/assignments/{item['assignment']}/judgments", body))

    def run_test(self, item: Item, place: int = 0) -> str:
        """Runs a test of the item's help again, in the server's sandbox: what it comes to, in a sentence."""
        return str(self._field("came", "POST", f"/assignments/{item['assignment']}/tests/{place}"))

    def skip(self, item: Item, why: str = "", flag: bool = False) -> None:
        """Gives the item back; ``flag`` says that something is wrong with it."""
        self._json("POST", f"/assignments/{item['assignment']}/skip", {"why": why, "flag": flag})

    def work(self, project: str, judge: Callable[[Item], Answers | None], most: int | None = None) -> tuple[int, str]:
        """Judges item after item, at ``most`` so many; (how many, why there are no more).

        ``judge`` gives the answers to an item, or None to skip it.
        """
        done = 0
        while most is None or done < most:
            item, why = self.next(project)
            if item is None:
                return done, why
            began = time.monotonic()
            answers = judge(item)
            if answers is None:
                self.skip(item)
                continue
            self.hand_in(item, answers, time.monotonic() - began, stage=item.get("stage"))
            done += item.get("stage") != "alone"
        return done, ""

    # ------------------------------------------------------------ oversight

    def ask_approval(
        self,
        policy: str,
        action: str,
        context: Sequence[Mapping[str, str]] = (),
        reason: str = "",
        timeout: float = 300.0,
        rule: str = "block",
        harmful: bool | None = None,
    ) -> dict[str, Any]:
        """Puts an action that ``policy`` proposes before people and waits for the answer.

        The answer has the fields state ("approved" or "blocked"), by ("person" or "rule") and why. ``context`` is what
        the policy was told and did before, as messages. Without an answer within ``timeout`` seconds ``rule``, "block" or
        "approve", is the answer. ``harmful``, where it is known, is for measuring the people.
        """
        id_ = self.propose_action(policy, action, context, reason, timeout, rule, harmful)
        while (answer := self.approval(id_, WAIT))["state"] == "waiting":
            pass
        return answer

    def propose_action(
        self,
        policy: str,
        action: str,
        context: Sequence[Mapping[str, str]] = (),
        reason: str = "",
        timeout: float = 300.0,
        rule: str = "block",
        harmful: bool | None = None,
        key: str = "",
    ) -> str:
        """The same without waiting; the action's id. With a ``key``, asking again with the same one is the same question."""
        proposal = {"policy": policy, "action": action, "reason": reason, "timeout": timeout, "rule": rule}
        messages = [dict(message) for message in context]
        body = {**proposal, "context": messages, "harmful": harmful, "key": key}
        return str(self._field("id", "POST", "/oversight/actions", body, again=bool(key)))

    def approval(self, id_: str, wait: float = 0.0) -> dict[str, Any]:
        """What was decided about an action: state ("waiting" too), by, who, why, seconds and waited. Waits up to ``wait`` seconds."""
        return self._object("GET", f"/oversight/actions/{id_}?wait={wait:g}", needs=("state",))

    # ------------------------------------------------------------ asking

    def _post(self, path: str, **body: Any) -> Any:
        """Asks once: twice would be two."""
        return self._json("POST", path, body, again=False)

    def _json(self, method: str, path: str, body: object = None, again: bool = True) -> Any:
        answer = self._send(method, path, body, again)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise InputError(f"{answer.url} gave no JSON; is it a Custodes server?") from None

    def _object(
        self, method: str, path: str, body: object = None, again: bool = True, needs: Sequence[str] = ()
    ) -> dict[str, Any]:
        """An answer that is an object with these fields. Raises InputError for another one."""
        answer = self._json(method, path, body, again)
        if not isinstance(answer, dict) or not answer.keys() >= set(needs):
            raise InputError(f"{self.address}{path} gave JSON of another form; is it a Custodes server?")
        return answer

    def _field(self, name: str, method: str, path: str, body: object = None, again: bool = True) -> Any:
        return self._object(method, path, body, again, (name,))[name]

    def _send(self, method: str, path: str, body: object = None, again: bool = True) -> httpx.Response:
        """``again``: asking twice is as good as asking once."""
        deadline, tried = time.monotonic() + self.patience, 0
        while True:
            try:
                answer = self._http.request(method, path, json=body)
                if answer.status_code not in AWAY:
                    return _accepted(answer)
                why = f"status {answer.status_code}"
            except httpx.ConnectError as error:
                why = str(error)
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
                if not again:
                    raise InputError(f"{self.address} broke off ({why}); look whether it did what was asked.") from None
            pause = PAUSES[min(tried, len(PAUSES) - 1)]
            if time.monotonic() + pause > deadline:
                raise InputError(f"{self.address} does not answer ({why}); is the server running?")
            time.sleep(pause)
            tried += 1


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        sentence = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        sentence = f"{answer.url} answered with status {answer.status_code}; is it a Custodes server?"
    raise _ServerRefusalError(answer.status_code, sentence)
