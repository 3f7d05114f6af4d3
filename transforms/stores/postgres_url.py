"""The URL of a PostgreSQL database: its parts, what may be said of it, and what may not.

A URL holds a password, or names hosts that are nobody's business. It is taken apart once, where the database is
opened; messages name the database and the place that the URL came from. No complaint of libpq about a URL is passed
on, since it quotes what it could not read.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from contracts.errors import ConfigurationError

_SCHEMES = ("postgresql://", "postgres://")
_SECRET = ("password", "sslpassword")

_DEFAULTS = {
    "application_name": "wayline",
    "client_encoding": "utf8",
    # a server that no longer answers is noticed in half a minute, not in the two hours of the system
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


def connection_parameters(url: str, where: str) -> dict[str, Any]:
    """The parts of a URL as libpq names them, with our defaults for what it leaves open.

    Raises:
        ConfigurationError: it is no URL of a database; ``where`` names the place, the URL is not shown.
    """
    hint = "write postgresql://USER:PASSWORD@HOST/DATABASE, with special characters as %40 and the like"
    if not url.startswith(_SCHEMES):
        raise ConfigurationError(where, None, "does not hold the URL of a PostgreSQL database", hint=hint)
    try:
        found = conninfo_to_dict(url)
    except (psycopg.Error, ValueError):
        raise ConfigurationError(where, None, "holds a URL that PostgreSQL cannot read", hint=hint) from None
    if not found.get("dbname"):
        raise ConfigurationError(where, None, "holds a URL that names no database", hint=hint)
    return {**_DEFAULTS, **found}


def database_label(parameters: dict[str, Any], where: str) -> str:
    """What names the database in a message."""
    return f"the PostgreSQL database {parameters['dbname']!r} ({where})"


def without_secrets(text: str, parameters: dict[str, Any]) -> str:
    """A message in which no secret part of the URL stands, whoever wrote it."""
    for name in _SECRET:
        secret = parameters.get(name)
        if secret:
            text = text.replace(str(secret), "***")
    return text
