"""The webhook channel: one POST a message, with an idempotency key and, given a secret, a signature.

The body is the message as JSON. ``Idempotency-Key`` is the action id. With a secret, ``Wayline-Signature`` is
``sha256=`` and the hex HMAC-SHA256 of the body, so that the receiver knows the sender.

2xx is taken. 408, 425, 429 and 503 say that the receiver did not act: they may be tried again. Every other 5xx is
uncertain, since a receiver may fail after it acted and a proxy does not know, and so is every failure once the request
has begun to leave. Any other answer is final. Redirects are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from transforms.channels.base import Message, PermanentError, Receipt, TransientError, UncertainError

_TRANSIENT = frozenset({408, 425, 429, 503})
_LONGEST_WAIT = 60.0


class WebhookChannel:
    """See the module. A connection a message: a kept one may die unseen, and then nobody knows what was taken.

    Args:
        name: the channel.
        url: http or https, without user and password.
        secret: key of the signature; None sends none.
        idempotent: the receiver honours ``Idempotency-Key``; then an uncertain sending may be repeated.
        timeout: seconds to connect, and again for the whole exchange.
    """

    chunk = 1

    def __init__(self, name: str, url: str, *, secret: bytes | None, idempotent: bool, timeout: float) -> None:
        self.name = name
        self.idempotent = idempotent
        self._parts = urlsplit(url)
        self._secret = secret
        self._timeout = timeout
        self._tls = ssl.create_default_context() if self._parts.scheme == "https" else None

    def close(self) -> None:
        """Nothing is kept open."""

    def send(self, messages: Sequence[Message]) -> Receipt:
        (message,) = messages
        connection = self._connected()
        # A socket's timeout starts anew with each byte received; this one does not.
        watchdog = threading.Timer(self._timeout, _cut, (connection.sock,))
        watchdog.daemon = True
        watchdog.start()
        try:
            status, retry_after = self._exchange(connection, message)
        except (OSError, http.client.HTTPException) as error:
            raise UncertainError(f"no answer: {type(error).__name__}") from error
        finally:
            watchdog.cancel()
            connection.close()
        if 200 <= status < 300:
            return Receipt(f"HTTP {status}")
        if status in _TRANSIENT:
            raise TransientError(f"HTTP {status}", retry_after)
        if status >= 500:
            raise UncertainError(f"HTTP {status}")
        raise PermanentError(f"HTTP {status}")

    def _connected(self) -> http.client.HTTPConnection:
        """A connection with nothing sent over it yet: until here, failing is harmless."""
        host, port = self._parts.hostname or "", self._parts.port
        connection = (
            http.client.HTTPConnection(host, port, timeout=self._timeout)
            if self._tls is None
            else http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)
        )
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise PermanentError(f"{host} shows no valid certificate") from error
        except OSError as error:
            raise TransientError(f"cannot connect to {host}: {type(error).__name__}") from error
        return connection

    def _exchange(self, connection: http.client.HTTPConnection, message: Message) -> tuple[int, float | None]:
        body = message.as_json()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": message.action_id,
            "User-Agent": "wayline",
            "Connection": "close",
        }
        if self._secret is not None:
            headers["Wayline-Signature"] = f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
        path = self._parts.path or "/"
        connection.request("POST", f"{path}?{self._parts.query}" if self._parts.query else path, body, headers)
        # The status says it all; waiting for the rest of the answer could only make a known result uncertain.
        answer = connection.getresponse()
        return answer.status, _seconds(answer.getheader("Retry-After"))


def _cut(sock: socket.socket) -> None:
    """End an exchange that takes too long: whoever waits on the socket gets an error at once."""
    try:
        # Past TLS, whose own shutdown would wait for the other side.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        # It ended by itself a moment ago.
        return


def _seconds(header: str | None) -> float | None:
    """``Retry-After`` in seconds, bounded; its form as a date is not used by webhooks and counts as absent."""
    if header is None or not header.strip().isdigit():
        return None
    return min(float(header), _LONGEST_WAIT)
