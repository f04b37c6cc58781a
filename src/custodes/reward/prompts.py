"""Preference pairs by prompt, so that a prompt and each of its replies are computed once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from custodes.reward.reading import TokenPair, Tokens


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Pairs by prompt, with the distinct replies of each: what is packed and computed together."""

    pairs: list[list[int]]  # of each prompt
    sequences: list[list[Tokens]]  # of each prompt: prompt and reply, every reply once
    places: list[tuple[int, int]]  # of each pair: its chosen and its rejected among its prompt's sequences

    @classmethod
    def of(cls, pairs: Sequence[TokenPair], prompts: Sequence[Hashable]) -> Prompts:
        numbers: dict[Hashable, int] = {}
        members: list[list[int]] = []
        known: list[dict[bytes, int]] = []  # reply -> place, of each prompt
        sequences: list[list[Tokens]] = []
        places: list[tuple[int, int]] = []
        for i, (pair, prompt) in enumerate(zip(pairs, prompts, strict=True)):
            number = numbers.setdefault(prompt, len(numbers))
            if number == len(members):
                members.append([])
                known.append({})
                sequences.append([])
            members[number].append(i)
            found = []
            for side in (pair.chosen, pair.rejected):
                place = known[number].setdefault(side.tobytes(), len(known[number]))
                if place == len(sequences[number]):
                    sequences[number].append(side)
                found.append(place)
            places.append((found[0], found[1]))
        return cls(members, sequences, places)

    def sides(self, prompts: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Pairs of ``prompts``, and where their sides stand among all sequences of ``prompts`` in order."""
        own: list[int] = []
        first: list[int] = []
        second: list[int] = []
        start = 0
        for prompt in prompts:
            for i in self.pairs[prompt]:
                own.append(i)
                first.append(start + self.places[i][0])
                second.append(start + self.places[i][1])
            start += len(self.sequences[prompt])
        return own, first, second
