"""How well two groupings of the same events agree: by pair, by event, and by B-cubed.

Pure. Input: for each event the number of its true person and that of its predicted person, from 0 up. All measures are
functions of the table of how many events each (true, predicted) pair of persons has, so nothing here costs more than
sorting the events once. Errors: none. State: none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Score:
    """``precision`` and ``recall`` in [0, 1]; 1 where there was nothing to be right about."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True)
class Table:
    """How many events each pair of persons has in common: cell ``i`` says ``(true[i], predicted[i])`` has ``n[i]``.

    ``true_total`` and ``predicted_total`` are the events of each person, by number.
    """

    true: Ints
    predicted: Ints
    n: Ints
    true_total: Ints
    predicted_total: Ints

    @staticmethod
    def of(true: Ints, predicted: Ints) -> Table:
        """Count the events of each pair."""
        width = int(predicted.max(initial=-1)) + 1
        cells, n = np.unique(true.astype(np.int64) * max(width, 1) + predicted, return_counts=True)
        return Table(
            cells // max(width, 1), cells % max(width, 1), n, np.bincount(true), np.bincount(predicted)
        )  # fmt: skip

    @property
    def events(self) -> int:
        return int(self.n.sum())


def by_pair(table: Table) -> Score:
    """Of all pairs of events: those put together that belong together, of those put together and of those belonging."""
    right = _pairs(table.n)
    return Score(_share(right, _pairs(table.predicted_total)), _share(right, _pairs(table.true_total)))


def b_cubed(table: Table) -> Score:
    """B-cubed (Bagga and Baldwin, 1998): the mean over events of how pure, and how whole, the event's group is.

    The precision of an event is the share of its predicted person's events that are its true person's; its recall the
    share of its true person's events that its predicted person has.
    """
    squares = table.n.astype(np.float64) ** 2
    precision = float((squares / table.predicted_total[table.predicted]).sum())
    recall = float((squares / table.true_total[table.true]).sum())
    return Score(_share(precision, table.events), _share(recall, table.events))


@dataclass(frozen=True)
class Attribution:
    """Whom each predicted person stands for, and which predicted person stands for each true one.

    ``owner[p]``: the true person who has most of the events of predicted person ``p``, the lowest number of several.
    ``main[t]``: of the predicted persons whose owner is ``t``, the one with most of t's events, the lowest number of
    several; -1 if there is none. So every predicted person stands for at most one true person, and the other way round.
    """

    owner: Ints
    main: Ints
    score: Score


def by_event(table: Table) -> Attribution:
    """Events attributed to the right person.

    Precision: the share of events whose predicted person is owned by their true person. Recall: the share of events
    that are in the main predicted person of their true person; an event in another person of its own costs recall.
    """
    owner = np.full(len(table.predicted_total), -1, dtype=np.int64)
    order = np.lexsort((-table.true, table.n, table.predicted))
    owner[table.predicted[order]] = table.true[order]
    owned = owner[table.predicted] == table.true
    main = np.full(len(table.true_total), -1, dtype=np.int64)
    mine = np.flatnonzero(owned)
    order = mine[np.lexsort((-table.predicted[mine], table.n[mine], table.true[mine]))]
    main[table.true[order]] = table.predicted[order]
    whole = main[table.true] == table.predicted
    score = Score(_share(int(table.n[owned].sum()), table.events), _share(int(table.n[whole].sum()), table.events))
    return Attribution(owner, main, score)


def _pairs(counts: Ints) -> int:
    # whole numbers of Python: the square of a large person does not fit a machine word's precision
    return sum(n * (n - 1) // 2 for n in counts.tolist())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0
