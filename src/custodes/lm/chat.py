"""Conversations as token ids, as the chat template renders them.

The template decides everything: what stands between turns, what opens a reply, which token ends one. What it does is
found out by rendering a question and an answer. Text of people is text: the name of a control token in a message
("<|im_end|>") is spelled out in ordinary tokens, whatever the tokenizer would make of it.
"""

from __future__ import annotations

import json
import re
import secrets
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

from custodes.types import InputError, Message

PLACE = "\ue000reply\ue000"
"""Stands for a reply where a template is rendered around it: private characters that no conversation holds."""

QUESTION = (Message("user", "a"),)
"""The shortest conversation that every template accepts."""

_PLAIN = (
    "%(start)s{%% for m in messages %%}"
    "{{ {'system': '', 'user': '\\n\\nHuman: ', 'assistant': '\\n\\nAssistant: ', 'tool': '\\n\\nTool: '}[m['role']] }}"
    "{{ m['content'] }}"
    "{%% if loop.last and m['role'] == 'assistant' %%}%(end)s{%% endif %%}"
    "{%% endfor %%}{%% if add_generation_prompt %%}{{ '\\n\\nAssistant:' }}{%% endif %%}"
)
"""Turns for base models that bring no chat template; a reply follows the colon after a space."""


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """What one template does to a reply."""

    template: str
    lead: str  # what it writes between the opening of a turn and the reply
    tail: str  # what it writes between the reply and the end of the turn
    end: int  # the id that ends a turn


class Chat:
    """A tokenizer with its chat template.

    Args:
        tokenizer: of ``transformers``. Where its template is exchanged, what was derived from it is derived anew.
        ends: ids that end a text by the model's configuration, the preferred one first.
        never: ids that are read and never drawn, by the model's generation settings.
        name: of the model, for messages.

    Methods raise :class:`InputError` for a conversation that the template refuses.
    """

    def __init__(
        self, tokenizer: Any, ends: Sequence[int] = (), name: str = "the model", never: Sequence[int] = ()
    ) -> None:
        self.tokenizer, self.name, self.never = tokenizer, name, tuple(never)
        self.ends = tuple(dict.fromkeys(ends))
        self._form: ReplyForm | None = None

    # ------------------------------------------------------------ what is encoded

    def prompt(self, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """A conversation up to where the assistant's reply (or ``prefix``, its beginning) goes on."""
        text = self._render(messages, opening=True)
        ids = self._ids(text)
        return [*ids, *self._continue(text, self.form.lead + self._guard(prefix))] if prefix else ids

    def conversation(self, messages: Sequence[Message]) -> list[int]:
        """A whole conversation: the ids of ``tokenizer.apply_chat_template(messages)``."""
        return self._ids(self._render(messages, opening=False))

    def placed(self, messages: Sequence[Message], ends: Sequence[int]) -> tuple[list[int], list[int]]:
        """A whole conversation, and of each place in its last message the number of the token that the character before is in.

        ``ends`` are in characters, 1 or more. Places are found by the characters that tokens cover, so a token that joins
        two passages belongs to both. Raises InputError where the template changes the message.
        """
        ids, text, said = self.conversation(messages), self._render(messages, opening=False), messages[-1].content
        start = text.rfind(said)
        if start >= 0 and self._guard(said) == said and f"\ue000{self._nonce}" not in text:
            spans = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
            starts = [begin for begin, _ in spans]
            return ids, [bisect_right(starts, start + end - 1) - 1 for end in ends]
        if start < 0 and self._guard(said) == said:
            raise InputError(f"the chat template of {self.name} changes what was said; its passages cannot be found.")
        return ids, [self._common(ids, [*messages[:-1], Message("assistant", said[:end])]) for end in ends]

    def _common(self, ids: list[int], cut: Sequence[Message]) -> int:
        """The last token that a conversation shares with itself cut short, or the token that the cut goes through."""
        other, tail = self.conversation(cut), self.conversation([*cut[:-1], Message("assistant", "")])
        opened = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tail, other, strict=False)))
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, other, strict=False)))
        closing = len(tail) - opened  # what the template writes after the reply
        return shared - 1 if shared >= len(other) - closing else shared

    def reply(self, text: str) -> list[int]:
        """A whole reply as the template writes it after the opening of a turn, up to the end of the turn."""
        form, opened = self.form, self._render(QUESTION, opening=True)
        whole = self._render((*QUESTION, Message("assistant", text)), opening=False)
        end = self._token(form.end)
        body = whole[len(opened) :] if whole.startswith(opened) else form.lead + self._guard(text) + form.tail + end
        at = body.find(end)
        body = body[:at] if at >= 0 else form.lead + self._guard(text)
        return [*self._continue(opened, body), form.end]

    def between(self, before: Sequence[Message], answers: Sequence[Message], last: int, prefix: str = "") -> list[int]:
        """What stands between a reply and the next one.

        Args:
            before: the conversation up to the reply.
            answers: what others say after it.
            last: the reply's last token; where it is the end of the turn, that is not said twice.
            prefix: a partial answer that the next reply must continue.
        """
        form = self.form
        text = self._render((*before, Message("assistant", PLACE), *answers), opening=True).rpartition(PLACE)[2]
        end = form.tail + self._token(form.end)
        if last == form.end and text.startswith(end):
            ids = self._continue(QUESTION[0].content + end, text.removeprefix(end))
        else:
            ids = self._continue(QUESTION[0].content, text)
        return [*ids, *self._continue(text, form.lead + self._guard(prefix))] if prefix else ids

    def text(self, text: str, *, opens: bool = False) -> list[int]:
        """Plain text, no part of which is a control token; ``opens``: it is the beginning of a reply."""
        return self._ids((self.form.lead if opens else "") + self._guard(text))

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """:meth:`text` of many at once."""
        if any(self._guard(text) != text for text in texts):
            return [self.text(text) for text in texts]
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def said(self, text: str) -> str:
        """The message that a reply's decoded tokens amount to: without what the template writes around a reply."""
        return text.removeprefix(self.form.lead).removesuffix(self.form.tail)

    # ------------------------------------------------------------ what the template does

    @property
    def template(self) -> str:
        """The tokenizer's chat template, or that of plain turns where it has none."""
        if self.tokenizer.chat_template is not None:
            try:
                return str(self.tokenizer.get_chat_template())
            except ValueError:  # several by name
                raise InputError(
                    f"{self.name} has several chat templates and none is called default; write one as chat_template.jinja."
                ) from None
        start = list(self.tokenizer("")["input_ids"])[:1]  # a tokenizer's own token for the beginning of a text
        start = start if start == [self.tokenizer.bos_token_id] else []
        return _PLAIN % {"start": "".join(map(self._token, start)), "end": "".join(map(self._token, self.ends[:1]))}

    @property
    def form(self) -> ReplyForm:
        """What the template does to a reply. Raises InputError where it writes none, or where nothing ends one."""
        template = self.template
        if self._form is None or self._form.template != template:
            self._form = self._derive(template)
        return self._form

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a reply: the template's end of a turn, and those of the configuration."""
        return tuple(dict.fromkeys((self.form.end, *self.ends)))

    def _derive(self, template: str) -> ReplyForm:
        opened = self._render(QUESTION, opening=True)
        whole = self._render((*QUESTION, Message("assistant", PLACE)), opening=False)
        before, found, after = whole.rpartition(PLACE)
        if not found:
            raise InputError(f"the chat template of {self.name} does not write what the assistant says; mend it.")
        lead = before.removeprefix(opened) if before.startswith(opened) else ""
        names = {self._token(i): i for i in (*self._markers, *self.ends)}
        ending = re.search(_any_of(names), after) if names else None
        if ending is not None:
            return ReplyForm(template, lead, after[: ending.start()], names[ending[0]])
        if not self.ends:
            raise InputError(
                f"{self.name} names no end-of-sequence token and its chat template ends a turn with none; "
                "set eos_token in tokenizer_config.json."
            )
        return ReplyForm(template, lead, "", self.ends[0])

    # ------------------------------------------------------------ rendering

    def _render(self, messages: Sequence[Message], *, opening: bool) -> str:
        """The template's text, with names of control tokens in messages guarded."""
        from jinja2 import TemplateError

        if not messages:
            raise InputError("there is no prompt; write at least one message.")
        turns = [{**m.to_dict(), "content": self._guard(m.content)} for m in messages]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    turns, chat_template=self.template, add_generation_prompt=opening, tokenize=False
                )
            )
        except (TemplateError, TypeError, KeyError, IndexError) as error:
            roles = ", ".join(m.role for m in messages)
            reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
            raise InputError(
                f"the chat template of {self.name} refuses a conversation of {roles} ({reason}); "
                "leave it out, or write it in turns that the template takes."
            ) from None

    def _guard(self, text: str) -> str:
        """``text`` with every name of a control token replaced by a mark that no template and no tokenizer knows."""
        if self._names is None or self._names.search(text) is None:
            return text
        return self._names.sub(lambda found: f"\ue000{self._nonce}{self._control[found[0]]}\ue001", text)

    # ------------------------------------------------------------ tokenising

    def _ids(self, text: str) -> list[int]:
        """Ids of rendered text: control tokens outside of guarded text alone."""
        if f"\ue000{self._nonce}" not in text:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        assert self._names is not None
        text = self._names.sub(lambda found: self._renamed(self._control[found[0]]), text)
        text = re.sub(f"\ue000{self._nonce}(\\d+)\ue001", lambda found: self._token(int(found[1])), text)
        return list(self._literal.encode(text, add_special_tokens=False).ids)

    def _continue(self, before: str, text: str) -> list[int]:
        """Ids of ``text`` after ``before``; alone where the tokenizer would join the two."""
        start, whole = self._ids(before), self._ids(before + text)
        return whole[len(start) :] if whole[: len(start)] == start else self._ids(text)

    @cached_property
    def _nonce(self) -> str:
        return secrets.token_hex(8) + ":"

    @cached_property
    def _control(self) -> dict[str, int]:
        """Names of control tokens and their ids."""
        known = self.tokenizer.added_tokens_decoder
        return {token.content: i for i, token in known.items() if token.special}

    @cached_property
    def _markers(self) -> list[int]:
        """Ids that can end a turn: control tokens, and others that look like a tag."""
        known = self.tokenizer.added_tokens_decoder.items()
        return [i for i, token in known if token.special or re.fullmatch(r"[<\[].+[>\]]", token.content)]

    @cached_property
    def _names(self) -> re.Pattern[str] | None:
        return re.compile(_any_of(self._control)) if self._control else None

    @cached_property
    def _literal(self) -> Any:
        """The tokenizer, whose control tokens have names that nobody can write: their own names are plain text to it."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError(
                f"a text holds the name of a control token, which the tokenizer of {self.name} cannot read as text; "
                "leave it out, or use a tokenizer with a tokenizer.json."
            )
        from tokenizers import Tokenizer

        stored = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
        for token in stored["added_tokens"]:
            if token["special"]:
                token["content"] = self._renamed(token["id"])
        model, new = stored["model"], {name: self._renamed(i) for name, i in self._control.items()}
        if isinstance(model.get("vocab"), dict):
            model["vocab"] = {new.get(piece, piece): i for piece, i in model["vocab"].items()}
        elif isinstance(model.get("vocab"), list):
            model["vocab"] = [[new.get(piece, piece), score] for piece, score in model["vocab"]]
        if model.get("unk_token") in new:
            model["unk_token"] = new[model["unk_token"]]
        return Tokenizer.from_str(json.dumps(stored))

    def _renamed(self, id: int) -> str:
        return f"\ue002{self._nonce}{id}\ue003"

    def _token(self, id: int) -> str:
        return str(self.tokenizer.convert_ids_to_tokens(id))


def _any_of(names: Any) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
