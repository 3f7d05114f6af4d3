"""The server of the board: this machine only unless told otherwise, nothing from outside, nothing written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from contracts.errors import LockedError, WaylineError
from reports.page.board import SCRIPT, STYLE, page

_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; " + (
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Kept:
    """What a slow function gave last, asked anew after ``seconds``; one asks at a time."""

    def __init__(self, make: Callable[[], str], seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._make, self._seconds, self._clock = make, seconds, clock
        self._lock = threading.Lock()
        self._text, self._until = "", float("-inf")

    def get(self) -> str:
        """The text, at most ``seconds`` old. Raises what the function raises."""
        with self._lock:
            if self._clock() >= self._until:
                self._text = self._make()
                self._until = self._clock() + self._seconds
            return self._text


def board_server(port: int, content: Kept, person: Callable[[str], str]) -> ThreadingHTTPServer:
    """A bound server on 127.0.0.1. ``person`` gives the story of an id as text. Raises LockedError: port taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in ("127.0.0.1", "localhost"):
                # another site's name that leads here would let its scripts read the answers
                self._send(403, page("Refused", "<p>Ask by 127.0.0.1 or localhost.</p>", live=False))
                return
            where = urlsplit(self.path)
            asked = parse_qs(where.query).get("id", [""])[0]
            try:
                if where.path == "/":
                    self._send(200, page("Wayline board", content.get(), live=True))
                elif where.path == "/fragment":
                    self._send(200, content.get())
                elif where.path == "/board.css":
                    self._send(200, STYLE, "text/css")
                elif where.path == "/board.js":
                    self._send(200, SCRIPT, "text/javascript")
                elif where.path == "/person":
                    story = f'<h2>Person</h2><pre tabindex="0">{escape(person(asked))}</pre>'
                    self._send(200, page("Person", story, live=False, asked=asked))
                else:
                    self._send(404, page("Not found", "<p>There is no such page.</p>", live=False))
            except WaylineError as error:
                said = f'<p role="alert">{escape(str(error))}</p>'
                self._send(404 if where.path == "/person" else 503, page("Wayline", said, live=False, asked=asked))

        def _send(self, status: int, text: str, kind: str = "text/html") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a path may hold an identifier."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise LockedError(f"port {port} cannot be used: {error.strerror}; name another with --port") from error
