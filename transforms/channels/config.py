"""Which channels there are, from the ``channels`` section of a configuration file, checked before the run.

::

    channels:
      default: {type: file}   # serves every name without an entry; null: such a name is an error of the message
      sales:
        type: webhook
        url: https://crm.example.com/hooks/wayline
        secret: {env: WAYLINE_SALES_SECRET}
        idempotent: true
        in_doubt: retry
        rate: 10
        timeout: 5s
        attempts: 3

Secrets are named here and read where they are used, so that no configuration and no pipeline graph contains one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from contracts.documents import Node
from contracts.event import SECOND
from transforms.channels.base import Channel
from transforms.channels.file import FileChannel, valid_name
from transforms.channels.webhook import WebhookChannel
from transforms.secret import SecretReference, parse_secret

TYPES = ("file", "webhook")
DEFAULT = "default"
_COMMON = ("type", "rate", "attempts", "in_doubt")
_WEBHOOK = (*_COMMON, "url", "secret", "idempotent", "timeout")


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One channel. ``rate`` is messages a second and worker, None without bound; ``timeout`` is in microseconds.

    ``attempts`` bounds how often one run tries to send a message. ``retry_in_doubt``: a message whose first sending may
    have come through is sent again under the same key; otherwise it stays in doubt.
    """

    kind: str = "file"
    url: str = ""
    secret: SecretReference | None = None
    idempotent: bool = True
    retry_in_doubt: bool = True
    rate: float | None = None
    attempts: int = 3
    timeout: int = 5 * SECOND


@dataclass(frozen=True, slots=True)
class ChannelsConfig:
    """The channels by name. ``default`` serves every other name; without one, a message to an unknown name fails."""

    named: dict[str, ChannelConfig] = field(default_factory=dict)
    default: ChannelConfig | None = ChannelConfig()

    def of(self, name: str) -> ChannelConfig | None:
        return self.named.get(name, self.default)

    def preflight(self) -> None:
        """Read every secret once, so that a missing one is told before the run. Raises ConfigurationError."""
        for config in (*self.named.values(), self.default):
            if config is not None and config.secret is not None:
                config.secret.read()

    def retried_in_doubt(self, names: frozenset[str]) -> frozenset[str]:
        """Those of ``names`` on which a message in doubt is sent again."""
        return frozenset(name for name in names if (config := self.of(name)) is not None and config.retry_in_doubt)


def parse_channels(node: Node) -> ChannelsConfig:
    """The ``channels`` section.

    Raises:
        ConfigurationError: with file and line, on anything unknown, missing or out of range.
    """
    named: dict[str, ChannelConfig] = {}
    default: ChannelConfig | None = ChannelConfig()
    for name, child in node.items():
        if not valid_name(name):
            child.fail(f"channel {name!r} has a name that cannot name a file", hint="use letters, digits, _ and -")
        if name != DEFAULT:
            named[name] = _channel(child)
        else:
            default = None if child.value is None else _channel(child)
    return ChannelsConfig(named, default)


def _channel(node: Node) -> ChannelConfig:
    kind = node.need("type").choice(TYPES)
    node.mapping(_WEBHOOK if kind == "webhook" else _COMMON)
    rate, attempts, policy = node.get("rate"), node.get("attempts"), node.get("in_doubt")
    idempotent = kind == "file"
    url, secret, timeout = "", None, 5 * SECOND
    if kind == "webhook":
        url = _url(node.need("url"))
        if (found := node.get("idempotent")) is not None:
            idempotent = found.boolean()
        if (found := node.get("secret")) is not None:
            secret = parse_secret(found)
        if (found := node.get("timeout")) is not None:
            timeout = found.duration(minimum=SECOND // 10)
    retry = kind == "file" if policy is None else policy.choice(("keep", "retry")) == "retry"
    if policy is not None and retry and not idempotent:
        policy.fail(
            f"{policy.where} cannot be 'retry' for a receiver that is not idempotent: a customer could get it twice",
            hint="set idempotent: true if the receiver honours Idempotency-Key",
        )
    return ChannelConfig(
        kind=kind,
        url=url,
        secret=secret,
        idempotent=idempotent,
        retry_in_doubt=retry,
        rate=None if rate is None else rate.number(minimum=0.001),
        attempts=3 if attempts is None else attempts.integer(minimum=1, maximum=20),
        timeout=timeout,
    )


def _url(node: Node) -> str:
    text = node.string()
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or not text.isascii() or " " in text:
        node.fail(f"{node.where} must be an http or https address")
    if parts.username or parts.password:
        node.fail(f"{node.where} must not contain a user or a password", hint="use secret: {env: NAME}")
    return text


def open_channel(name: str, config: ChannelConfig, folder: Path) -> Channel:
    """A channel ready to send; ``folder`` is where file channels write.

    Raises:
        ConfigurationError: its secret is not there.
        OutputError: its file cannot be written.
    """
    if config.kind == "file":
        return FileChannel(name, folder)
    secret = config.secret.read() if config.secret else None
    return WebhookChannel(
        name, config.url, secret=secret, idempotent=config.idempotent, timeout=config.timeout / SECOND
    )
