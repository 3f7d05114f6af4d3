"""How long a pattern may look at one value before it says no. Pure.

Python's regular expressions try one way after another. Where a value can be divided among the repeats of a pattern in
many ways, as among those of ``(a+)+``, a value that does not match in the end costs all of them, and one of thirty
letters may take years. So the ways are counted before a pattern is used: ``Cost.steps`` is an upper bound of the places
in the pattern that are tried on a value of ``longest`` characters, each at some place of the value.

A repeat of single characters that cannot be the next one has one way to end (``[^@]+@``). What looks around, and what
does not go back by what it says, leaves one way. Input: a pattern, matched against a whole value. Errors: ``re.error``.
State: none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from re import _constants as codes  # type: ignore[attr-defined]  # the parser is public in all but its name
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

_REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)
_ALL = frozenset(range(129))
"""The characters of ASCII, and one that stands for every other."""
_OTHER = 128
_END, _ANYTHING = [("end", None)], [("anything", None)]
"""What may follow a part: nothing more of the value, or who knows what."""
_NEVER = 10**30
"""Steps that nobody waits for; counting ends there."""


class Cost(NamedTuple):
    """``ways``: in which a part of a pattern can be left, at most; ``steps``: what trying all of them takes."""

    ways: int
    steps: int


def cost_of(pattern: str, longest: int) -> Cost:
    """The cost of a pattern on a value of at most so many characters. Raises re.error."""
    return _Counting(longest).sequence(parser.parse(pattern, re.IGNORECASE), _END)


class _Counting:
    """Counts on values of one length. ``groups``: the characters of those groups that match exactly one."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.groups: dict[int, frozenset[int] | None] = {}

    def sequence(self, items: Iterable[Any], following: Sequence[Any]) -> Cost:
        """Of parts one after the other; ``following``: what comes after them."""
        parts = list(items)
        ways, steps = 1, 1
        for place, item in enumerate(parts):
            cost = self.item(item, [*parts[place + 1 :], *following])
            steps = min(_NEVER, steps + ways * cost.steps)
            ways = min(_NEVER, ways * cost.ways)
        return Cost(ways, steps)

    def item(self, item: Any, following: Sequence[Any]) -> Cost:
        code, given = item
        if code in _REPEATS:
            least, most, inner = given
            cost = self.repeat(least, most, inner, following)
            return Cost(1, cost.steps) if self.ends_in_one_way(list(inner), following) else cost
        if code is codes.POSSESSIVE_REPEAT:
            least, most, inner = given
            return Cost(1, self.repeat(least, most, inner, _ANYTHING).steps)
        if code is codes.SUBPATTERN:
            if given[0] is not None:
                self.groups[given[0]] = self.single(item)
            return self.sequence(given[-1], following)
        if code is codes.ATOMIC_GROUP:
            return Cost(1, self.sequence(given, _ANYTHING).steps)
        if code in (codes.ASSERT, codes.ASSERT_NOT):
            return Cost(1, self.sequence(given[1], _ANYTHING).steps)
        if code is codes.BRANCH:
            return _together(self.sequence(branch, following) for branch in given[1])
        if code is codes.GROUPREF_EXISTS:
            return _together(self.sequence(branch, following) for branch in given[1:] if branch is not None)
        return Cost(1, self.longest if code is codes.GROUPREF and self.groups.get(given) is None else 1)

    def repeat(self, least: int, most: int, inner: Iterable[Any], following: Sequence[Any]) -> Cost:
        """Of a part said again and again: after each time it may end, once it was said ``least`` times."""
        once = self.sequence(inner, following if most == 1 else _ANYTHING)
        most = min(most, max(least, self.longest))
        if once.ways == 1:
            return Cost(most - least + 1, min(_NEVER, most * once.steps + 1))
        ways, steps, reached = 0, 1, 1
        for time in range(most + 1):
            ways += reached if time >= least else 0
            steps += reached * once.steps
            reached *= once.ways
            if steps >= _NEVER:
                return Cost(_NEVER, _NEVER)
        return Cost(ways, steps)

    def ends_in_one_way(self, inner: Sequence[Any], following: Sequence[Any]) -> bool:
        """Whether a repeat of single characters ends at the first character that is another, or not at all."""
        repeated = self.single(inner[0]) if len(inner) == 1 else None
        after = self.single(following[0])
        return repeated is not None and after is not None and repeated.isdisjoint(after)

    def single(self, item: Any) -> frozenset[int] | None:
        """The characters that a part matches, if it matches exactly one; ignoring case. None of them after the end."""
        code, given = item
        if item == _END[0]:
            return frozenset()
        if code is codes.ANY:
            return _ALL
        if code is codes.LITERAL:
            return _both_cases({given})
        if code is codes.NOT_LITERAL:
            return (_ALL - _both_cases({given})) | {_OTHER}
        if code is codes.GROUPREF:
            return self.groups.get(given)
        if code is codes.SUBPATTERN:
            return self.single(given[-1][0]) if len(given[-1]) == 1 else None
        return _in_set(given) if code is codes.IN else None


def _in_set(given: Iterable[Any]) -> frozenset[int]:
    found: set[int] = set()
    negated = False
    for kind, value in given:
        if kind is codes.NEGATE:
            negated = True
        elif kind is codes.LITERAL:
            found |= _both_cases({value})
        elif kind is codes.RANGE:
            low, high = value
            found |= _both_cases(range(low, min(high, _OTHER) + 1))
        elif kind is codes.CATEGORY:
            found |= _CATEGORIES.get(value, _ALL)
    # another character may be in a range and outside of it: there are many
    return frozenset((_ALL - found) | {_OTHER} if negated else found)


def _together(costs: Iterable[Cost]) -> Cost:
    each = list(costs)
    return Cost(sum(cost.ways for cost in each), sum(cost.steps for cost in each) + 1)


def _both_cases(characters: Iterable[int]) -> frozenset[int]:
    cased = {same for one in characters for same in (chr(one).lower(), chr(one).upper()) if len(same) == 1}
    return frozenset(min(ord(same), _OTHER) for same in cased)


def _of_ascii(pattern: str) -> frozenset[int]:
    return frozenset({one for one in range(_OTHER) if re.match(pattern, chr(one))} | {_OTHER})


_CATEGORIES = {
    codes.CATEGORY_DIGIT: _of_ascii(r"\d"),
    codes.CATEGORY_NOT_DIGIT: _of_ascii(r"\D"),
    codes.CATEGORY_SPACE: _of_ascii(r"\s"),
    codes.CATEGORY_NOT_SPACE: _of_ascii(r"\S"),
    codes.CATEGORY_WORD: _of_ascii(r"\w"),
    codes.CATEGORY_NOT_WORD: _of_ascii(r"\W"),
}
