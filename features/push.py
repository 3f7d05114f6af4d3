"""Push the newest vectors into the online store.

Contract: ``OnlineFeatures`` in, nothing out. Errors: LockedError and OutputError of the store end the bundle, which the
runner retries; writing again changes nothing. State: none; a bundle's rows are held until 500 persons have come.
"""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam

from contracts.exchange import OnlineFeatures
from features.online_address import OnlineAddress
from features.online_writer import OnlineWriter


class PushFeatures(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Host of ``OnlineWriter``.

    Args:
        address: of the online store; it holds no secret.
    """

    def __init__(self, address: OnlineAddress) -> None:
        self._address = address
        self._writer: OnlineWriter | None = None

    def setup(self) -> None:
        self._writer = OnlineWriter(self._address)
        self._writer.setup()

    def start_bundle(self) -> None:
        self._opened().discard()

    def process(self, element: OnlineFeatures) -> Iterable[None]:
        self._opened().write(element)
        return ()

    def finish_bundle(self) -> None:
        self._opened().flush()

    def teardown(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _opened(self) -> OnlineWriter:
        assert self._writer is not None, "Beam calls setup() first"
        return self._writer
