"""A model in this process as a policy: every reply comes back as soon as it ends, and nothing is computed twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from custodes.gaming.policies import Conversation, Drawn, EnginePolicy, Flow
from custodes.gaming.transcript import close_call
from custodes.lm.engine import TorchEngine
from custodes.lm.requests import Request, make_request
from custodes.types import InputError


class ModelPolicy(EnginePolicy):
    """A model in this process, whose replies come back as they end: see :class:`custodes.lm.stream.Stream`."""

    engine: TorchEngine

    def flow(self) -> ModelFlow:
        """ScriptReplies by the weights as they are now."""
        return ModelFlow(self)

    @property
    def under_way(self) -> int:
        return self.batch


class ModelFlow(Flow):
    """Conversations that a model continues side by side; each reply comes out as it ends."""

    policy: ModelPolicy

    def __init__(self, policy: ModelPolicy) -> None:
        super().__init__(policy)
        self.lm = policy.engine.lm
        self.replies = policy.engine.stream(policy.sampling)
        self.room = self.replies.room()
        self.held: dict[Hashable, Request] = {}  # until there is room, in the order in which they came
        self.asked: dict[Request, Hashable] = {}
        self.refused: list[tuple[Hashable, InputError]] = []

    def ask(self, key: Hashable, conversation: Conversation) -> None:
        prompt = self.lm.encode(conversation.messages, conversation.prefix)
        self.held[key] = make_request(prompt, conversation.seed, prefix=conversation.prefix)
        self._admit()

    def leave(self, key: Hashable) -> None:
        self.held.pop(key, None)
        self.room.leave(key)
        self._admit()

    def _admit(self) -> None:
        for key, request in list(self.held.items()):
            if not self.room.admits(key, len(request.prompt) + self.policy.sampling.max_tokens):
                continue
            del self.held[key]
            try:
                self.replies.ask(request)
                self.asked[request] = key
            except InputError as error:  # too long for the context: it must not take the others with it
                self.refused.append((key, error))

    @property
    def busy(self) -> bool:
        return bool(self.asked or self.refused)

    def draw(self, idle: bool) -> list[tuple[Any, Drawn]]:
        """One pass through the model. Raises InputError where the model can answer none of its first conversations."""
        refused, self.refused = self.refused, []
        if refused and not self.asked and not self.policy.asker.worked:
            raise refused[0][1]
        drawn: list[tuple[Any, Drawn]] = [(key, Drawn("", str(error))) for key, error in refused]
        for request in self.replies.advance():
            self.policy.asker.worked = True
            cost = {"prompt_tokens": float(len(request.prompt)), "completion_tokens": float(len(request.tokens))}
            text = request.prefix + request.text
            text = close_call(text) if request.outcome == "stop" else text
            drawn.append((self.asked.pop(request), Drawn(text, "", cost)))
        return drawn
