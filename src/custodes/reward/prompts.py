"""Lessons by prompt, so that a prompt and each of its replies are computed once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from custodes.lm.packing import PackedBatch
from custodes.reward.objective import Lesson
from custodes.reward.reading import Tokens


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Lessons by prompt, with the distinct replies of each: what is packed and computed together."""

    lessons: list[list[int]]  # of each prompt
    sequences: list[list[Tokens]]  # of each prompt: prompt and reply, every reply once
    wanted: list[list[tuple[int, int]]]  # of each prompt: (sequence, token) at which a score is read, each once
    places: list[tuple[int, ...]]  # of each lesson: its readings among its prompt's wanted

    @classmethod
    def of(cls, lessons: Sequence[Lesson]) -> Prompts:
        numbers: dict[Hashable, int] = {}
        members: list[list[int]] = []
        replies: list[dict[bytes, int]] = []  # of each prompt: reply -> its number
        sequences: list[list[Tokens]] = []
        readings: list[list[tuple[int, int]]] = []  # of each lesson
        for i, lesson in enumerate(lessons):
            number = numbers.setdefault(lesson.prompt, len(numbers))
            if number == len(members):
                members.append([])
                replies.append({})
                sequences.append([])
            members[number].append(i)
            read = []
            for sequence, token in lesson.readings:
                reply = replies[number].setdefault(sequence.tobytes(), len(replies[number]))
                if reply == len(sequences[number]):
                    sequences[number].append(sequence)
                read.append((reply, token % len(sequence)))
            readings.append(read)
        wanted = [sorted({reading for i in own for reading in readings[i]}) for own in members]
        places: list[tuple[int, ...]] = [()] * len(lessons)
        for own, of_prompt in zip(members, wanted, strict=True):
            place = {reading: n for n, reading in enumerate(of_prompt)}
            for i in own:
                places[i] = tuple(place[reading] for reading in readings[i])
        return cls(members, sequences, wanted, places)

    def at(self, prompts: Sequence[int]) -> tuple[list[int], list[tuple[int, ...]]]:
        """The lessons of ``prompts``, and the places of their readings among all that ``prompts`` want, in order."""
        own: list[int] = []
        places: list[tuple[int, ...]] = []
        start = 0
        for prompt in prompts:
            own += self.lessons[prompt]
            places += [tuple(start + place for place in self.places[i]) for i in self.lessons[prompt]]
            start += len(self.wanted[prompt])
        return own, places

    def tokens(self, prompts: Sequence[int], packed: PackedBatch) -> Tensor:
        """(M,) int64: the packed tokens at which scores are read, where ``packed`` holds the sequences of ``prompts``."""
        rows, tokens, start = [], [], 0
        for prompt in prompts:
            rows += [start + sequence for sequence, _ in self.wanted[prompt]]
            tokens += [token for _, token in self.wanted[prompt]]
            start += len(self.sequences[prompt])
        return packed.rows[
            torch.tensor(rows, device=packed.rows.device), torch.tensor(tokens, device=packed.rows.device)
        ]
