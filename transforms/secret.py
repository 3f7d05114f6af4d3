"""Where a secret is found: named in files, read where it is used, so that no configuration or graph contains one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from contracts.documents import Node
from contracts.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is found: the environment variable ``env``, or the file ``path``, whose outer space is cut."""

    env: str | None = None
    path: str | None = None

    @property
    def where(self) -> str:
        """What names the place in a message; never the secret."""
        return self.path if self.path is not None else f"environment variable {self.env}"

    def read(self) -> bytes:
        """The secret. Raises ConfigurationError when it is not there."""
        if self.path is not None:
            try:
                found = Path(self.path).read_bytes().strip()
            except OSError as error:
                raise ConfigurationError(self.path, None, f"the secret cannot be read: {error.strerror}") from error
            if not found:
                raise ConfigurationError(self.path, None, "the secret is empty")
            return found
        text = os.environ.get(self.env or "", "")
        if not text:
            raise ConfigurationError(self.where, None, "is not set, but the configuration names it for a secret")
        return text.encode()


def parse_secret(node: Node) -> SecretReference:
    """``{env: NAME}`` or ``{file: PATH}``. Raises ConfigurationError, with file and line, on anything else."""
    node.mapping(("env", "file"))
    env, file = node.get("env"), node.get("file")
    if (env is None) == (file is None):
        node.fail(f"{node.where} needs either env or file, and no value of its own")
    return SecretReference(env.string() if env else None, file.string() if file else None)
