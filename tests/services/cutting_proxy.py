"""A way to a server that breaks at a chosen moment, as a network does: between a request and its answer."""

from __future__ import annotations

import select
import socket
import threading
from typing import Literal

Cut = Literal["request", "answer"]


class CuttingProxy:
    """Passes bytes on between clients and a local port; breaks connections as ``cut_at`` says.

    ``cut_at(word, what, times)``: the next ``times`` requests that contain ``word`` lose their connection, before the
    server gets the ``request``, or when its ``answer`` is there and before the client has it.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._word, self._what, self._times = b"", "answer", 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut_at(self, word: bytes, what: Cut, times: int = 1) -> None:
        self._word, self._what, self._times = word, what, times

    @property
    def left(self) -> int:
        """How many cuts are still to come."""
        return self._times

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            cutting = False
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(65_536)
                    if not data or (cutting and source is server):
                        return
                    if source is client and self._times and self._word in data:
                        self._times -= 1
                        if self._what == "request":
                            return
                        cutting = True
                    (server if source is client else client).sendall(data)
