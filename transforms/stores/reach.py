"""Whether a PostgreSQL server answers, asked without changing anything in its database.

Input: where the URL is found. Output: the server's clock, UTC microseconds. Errors: ``ConfigurationError`` for a URL
that is not there or is none, ``LockedError`` when no server answers or it refuses. State: none. No message holds the
URL's secrets.
"""

from __future__ import annotations

import psycopg

from contracts.errors import ConfigurationError, LockedError
from transforms.secret import SecretReference
from transforms.stores.postgres_url import connection_parameters, database_label, without_secrets


def postgres_clock(reference: SecretReference, timeout: float) -> int:
    """The time by the server's clock. ``timeout``: seconds to wait for a connection."""
    try:
        url = reference.read().decode()
    except UnicodeDecodeError:
        raise ConfigurationError(reference.where, None, "holds no text") from None
    parameters = connection_parameters(url, reference.where) | {"connect_timeout": str(max(int(timeout), 2))}
    label = database_label(parameters, reference.where)
    try:
        with psycopg.connect(**parameters, autocommit=True) as connection:
            row = connection.execute(b"SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
    except psycopg.Error as error:
        said = without_secrets(" ".join(str(error).split()), parameters)
        raise LockedError(f"{label} does not answer: {said}", hint="start the server, or mend its URL") from None
    assert row is not None
    return int(row[0])
