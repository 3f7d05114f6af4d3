"""Protect: from here on no raw identifier, e-mail address or phone number exists in the graph.

Pure: no Beam. ``Pseudonymiser`` replaces identifier values by keyed hashes, per namespace.
"""

from __future__ import annotations

import hmac

from contracts.errors import ConfigurationError
from contracts.event import Identifier

_PSEUDONYM_BYTES = 16
_CACHE_LIMIT = 200_000


class Pseudonymiser:
    """HMAC-SHA256 of an identifier's value under a key derived for its namespace, cut to 128 bits, as 32 hex digits.

    The same value in two namespaces has unrelated pseudonyms. The value is taken as it is: normalise it first
    (``IdentityRules.normalise``). State: a bounded cache, which changes no answer.

    Args:
        key: the pseudonym key, at least 16 bytes; see ``transforms.keys``.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ConfigurationError("pseudonym key", None, f"has {len(key)} bytes; at least 16 are needed")
        self._key = key
        self._namespace_keys: dict[str, bytes] = {}
        self._cache: dict[Identifier, Identifier] = {}

    def __reduce__(self) -> tuple[type[Pseudonymiser], tuple[bytes]]:
        return (Pseudonymiser, (self._key,))

    def pseudonym(self, identifier: Identifier) -> Identifier:
        """The pseudonymised identifier, in the same namespace."""
        known = self._cache.get(identifier)
        if known is not None:
            return known
        namespace, value = identifier
        namespace_key = self._namespace_keys.get(namespace)
        if namespace_key is None:
            namespace_key = hmac.digest(self._key, b"wayline pseudonym\0" + namespace.encode(), "sha256")
            self._namespace_keys[namespace] = namespace_key
        # surrogatepass: a value that is no legal text must not stop the stream; Avro refuses it long before
        digest = hmac.digest(namespace_key, value.encode("utf-8", "surrogatepass"), "sha256")
        made = Identifier(namespace, digest[:_PSEUDONYM_BYTES].hex())
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        self._cache[identifier] = made
        return made
