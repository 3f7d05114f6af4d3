"""Writes the newest vectors into the online store, in batches. No Beam, no Feast."""

from __future__ import annotations

from contracts.exchange import OnlineFeatures
from features.journey_features import FEATURE_NAMES
from features.online_address import OnlineAddress, Vectors, open_online

BATCH = 500
"""Persons written in one transaction: more saves little, and holds the write lock longer."""

PAUSES = (0.1, 0.3, 1.0, 3.0, 5.0, 10.0, 10.0)
"""Seconds between the attempts of a write while a server is away: about as long as a file is waited for."""

Row = tuple[str, int, int, tuple[float, ...]]


class OnlineWriter:
    """Collects vectors and writes them in batches; of one person only the newest revision is written.

    Args:
        address: of the store.
    """

    def __init__(self, address: OnlineAddress) -> None:
        self._address = address
        self._table: Vectors | None = None
        self._rows: dict[str, Row] = {}
        self._retired: set[str] = set()

    def setup(self) -> None:
        """Open the store. Raises ConfigurationError, LockedError or OutputError."""
        self._table = open_online(self._address, pauses=PAUSES)
        self._table.create()

    def write(self, element: OnlineFeatures) -> None:
        """Take in vectors and retired persons; writes when a batch is full."""
        for person_id in element.retired:
            self._rows.pop(person_id, None)
            self._retired.add(person_id)
        for row in element.rows:
            held = self._rows.get(row[0])
            if held is None or held[1] <= row[1]:
                self._rows[row[0]] = row
        if len(self._rows) + len(self._retired) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what is held: removals first, so that a person retired and come back stays."""
        assert self._table is not None, "setup() comes first"
        if self._retired:
            self._table.retire(sorted(self._retired))
            self._retired.clear()
        if self._rows:
            rows = list(self._rows.values())
            for start in range(0, len(rows), BATCH):
                self._table.write(FEATURE_NAMES, rows[start : start + BATCH])
            self._rows.clear()

    def discard(self) -> None:
        """Forget what is held and not written: the bundle it came with is tried again."""
        self._rows.clear()
        self._retired.clear()

    def close(self) -> None:
        """Close the store."""
        if self._table is not None:
            self._table.close()
            self._table = None
