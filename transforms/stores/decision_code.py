"""How the effect store writes decisions down: what repeats from decision to decision stands once beside them.

A decision names the features and facts it saw and every candidate with why it fell. The names, and the few hundred ways
in which candidates fall, are the same in millions of decisions: they become *words*, stored under the hash of their
content, and a decision keeps the values and the words' hashes. That is a third of the bytes and of the time of writing
them out whole. Words hold no personal data, so erasure leaves them.

Pure: no database, no Beam. State: words seen, bounded; losing them changes no answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgspec

from contracts.exchange import Candidate, Decision

_HASH_BYTES = 8
_REMEMBERED = 20_000
_FIELDS = tuple(field.name for field in fields(Decision))
_CODED = ("candidates", "features", "facts")
_PLAIN = tuple(name for name in _FIELDS if name not in _CODED)
_plain = attrgetter(*_PLAIN)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Word = bytes
"""The hash under which a content is stored."""


class DecisionCode:
    """Writes and reads bodies of decisions. ``unsaved`` holds the words that the store does not have for sure yet."""

    def __init__(self) -> None:
        self.unsaved: dict[Word, bytes] = {}
        self._of_names: dict[tuple[str, ...], Word] = {}
        # by identity, since the policy hands out the same candidate again: hashing one costs more than writing it
        self._of_candidate: dict[int, tuple[Candidate, Word]] = {}
        self._meanings: dict[Word, Any] = {}

    def saved(self) -> None:
        """The unsaved words are in the store for good."""
        self.unsaved.clear()

    def encode(self, decision: Decision) -> bytes:
        """The body; every word in it that was not met before is in ``unsaved`` then."""
        features, facts = decision.features, decision.facts
        return _encode(
            (
                _plain(decision),
                b"".join([self._candidate(candidate) for candidate in decision.candidates]),
                self._names(features),
                list(features.values()),
                self._names(facts),
                list(facts.values()),
            )
        )

    def decode(self, body: bytes, look_up: Callable[[Word], bytes]) -> Decision:
        """The inverse of ``encode``; ``look_up`` gives the content of a word from the store."""
        plain, candidates, feature_names, features, fact_names, facts = _decode(body)
        words = [candidates[at : at + _HASH_BYTES] for at in range(0, len(candidates), _HASH_BYTES)]
        # fields added to the end of the class since then take their defaults
        values: dict[str, Any] = dict(zip(_PLAIN, plain, strict=False))
        return Decision(
            candidates=tuple([Candidate(*self._meaning(word, look_up)) for word in words]),
            features=dict(zip(self._meaning(feature_names, look_up), features, strict=True)),
            facts=dict(zip(self._meaning(fact_names, look_up), facts, strict=True)),
            **values,
        )

    def _names(self, of: Mapping[str, object]) -> Word:
        names = tuple(of)
        word = self._of_names.get(names)
        if word is None:
            if len(self._of_names) >= _REMEMBERED:
                self._of_names.clear()
            word = self._of_names[names] = self._new_word(names)
        return word

    def _candidate(self, candidate: Candidate) -> Word:
        known = self._of_candidate.get(id(candidate))
        if known is None:
            if len(self._of_candidate) >= _REMEMBERED:
                self._of_candidate.clear()
            # the candidate is kept with its word, so that its identity stays its own
            known = self._of_candidate[id(candidate)] = (candidate, self._new_word(_values(candidate)))
        return known[1]

    def _new_word(self, content: tuple[object, ...]) -> Word:
        encoded = _encode(content)
        word = hashlib.blake2b(encoded, digest_size=_HASH_BYTES).digest()
        self.unsaved[word] = encoded
        return word

    def _meaning(self, word: Word, look_up: Callable[[Word], bytes]) -> Any:
        meaning = self._meanings.get(word)
        if meaning is None:
            if len(self._meanings) >= _REMEMBERED:
                self._meanings.clear()
            meaning = self._meanings[word] = _decode(look_up(word))
        return meaning


def _values(candidate: Candidate) -> tuple[object, ...]:
    return (
        candidate.name,
        candidate.action,
        candidate.channel,
        candidate.priority,
        candidate.dropped_by,
        candidate.reason,
    )
