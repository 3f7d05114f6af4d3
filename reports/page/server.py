"""The server of the board: this machine only unless told otherwise, nothing from outside, nothing written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from contracts.errors import InputError, LockedError, WaylineError
from reports.page.board import LOOKED_UP, SCRIPT, STYLE, contents, page, part
from reports.page.renewal import Renewal

_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; " + (
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


_FINDABLE = re.compile(r"(?:--(?:person|decision) )?\b([pd]_[0-9a-f]{8,})\b")


def board_server(port: int, renewal: Renewal, story: Callable[[str], Callable[[], str]]) -> ThreadingHTTPServer:
    """A bound server on 127.0.0.1.

    Args:
        port: 0 for any free one.
        renewal: the sections.
        story: finds a person or a decision by any id; what it returns tells the story as HTML, which may take long.
            Both may raise WaylineError.

    Raises:
        LockedError: the port is taken.
    """
    sections = {one.name: one for one in renewal.sections}

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
                    shown = renewal.shown()
                    parts = (part(one, shown[name].html, shown[name].version) for name, one in sections.items())
                    whole = page("Wayline board", "".join(parts), live=True, navigation=contents(renewal.sections))
                    self._send(200, whole)
                elif where.path == "/versions":
                    versions = {name: one.version for name, one in renewal.shown().items()}
                    self._send(200, json.dumps(versions), "application/json")
                elif where.path.removeprefix("/section/") in sections:
                    name = where.path.removeprefix("/section/")
                    one = renewal.shown()[name]
                    self._send(200, part(sections[name], one.html, one.version))
                elif where.path == "/board.css":
                    self._send(200, STYLE, "text/css")
                elif where.path == "/board.js":
                    self._send(200, SCRIPT, "text/javascript")
                elif where.path == "/find":
                    self._tell(story(asked), asked)
                else:
                    self._send(404, page("Not found", "<p>There is no such page.</p>", live=False))
            except WaylineError as error:
                said = _alert(error)
                self._send(
                    404 if isinstance(error, InputError) else 503, page("Wayline", said, live=False, asked=asked)
                )

        def _tell(self, tell: Callable[[], str], asked: str) -> None:
            """The page at once, the story as soon as it is known; the end of the connection ends the page."""
            begin, end = page("Wayline story", f"{LOOKED_UP}\0", live=False, asked=asked).split("\0")
            self._head(200, "text/html")
            self.wfile.write(begin.encode())
            try:
                self.wfile.write(tell().encode())
            except WaylineError as error:
                self.wfile.write(_alert(error).encode())
            self.wfile.write(end.encode())

        def _send(self, status: int, text: str, kind: str = "text/html") -> None:
            body = text.encode()
            self._head(status, kind, len(body))
            self.wfile.write(body)

        def _head(self, status: int, kind: str, length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a path may hold an identifier."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise LockedError(f"port {port} cannot be used: {error.strerror}; name another with --port") from error


def _alert(error: WaylineError) -> str:
    """An error as the page says it: what a command would be given to look somebody up is a link here."""
    said = _FINDABLE.sub(r'<a href="/find?id=\1">\1</a>', escape(error.hint))
    hint = f"<br>{said}" if said else ""
    return f'<p role="alert">{escape(error.message)}{hint}</p>'
