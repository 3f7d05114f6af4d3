"""Dead letters: what could not go on, kept whole, encrypted and replayable; and the closed list of reasons.

Pure: no Beam, no clock. Input of a rejection: where and why it happened, and the bytes. Output: ``DeadLetter``, whose
id is a keyed hash, so that the same thing rejected again is the same dead letter and replaying twice changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from contracts.errors import ConfigurationError
from contracts.event import Event
from contracts.event_codec import encode_event
from contracts.exchange import DeadLetter

EVENT_PAYLOAD, RAW_PAYLOAD, ROW_PAYLOAD = "event", "raw", "row"

UNDATED = 0
"""``at`` of a dead letter that has no received time; the tables show it as null. The time of the run would make the row
depend on how often and when its file is read."""

REASONS: dict[str, str] = {
    "not_avro": "The file or message is no Avro: it does not begin like one, or its header cannot be read.",
    "unreadable": "The file could be listed but not read; its bytes are not in the dead letter, only its name is.",
    "incompatible_schema": "It is Avro, but its schema cannot be resolved to the event schema.",
    "unsafe_schema": "Its schema is recursive or has items of no size: a few bytes could exhaust the reader.",
    "unsupported_codec": "The file is compressed by a codec that is not supported here.",
    "truncated": "The file ends inside a block; its events up to the cut are read, the payload is the cut block.",
    "corrupt_block": "A block of the file cannot be decoded; its events up to the fault are read.",
    "undecodable": "A message or record cannot be decoded into an event.",
    "unknown_schema": "A message names a schema that is not known here; replay it once the schema is.",
    "missing_field": "A required field is empty.",
    "out_of_range": "A field is longer or larger than the limits allow, or no legal value.",
    "time_out_of_range": "The event time or received time lies before 2000 or after the greatest time accepted.",
    "clock_skew": "The event claims to have happened later than it was received, beyond the bound.",
    "oversize": "The event is larger than the limit.",
    "no_identifier": "The event names no identifier.",
    "no_usable_identifier": "Every identifier of the event is blocked, empty or of an unknown kind.",
    "identity_store_unavailable": "The identity store was away longer than a stream waits for it; replay the event.",
    "expired_late": "It was received longer after it happened than the lateness bound; its table is expired_late.",
    "failed_fold": "A streaming stage failed on it; a defect of Wayline, or of a model or policy that it was given.",
    "conflicting_payload": "Another event has the same event_id and other content; the other one was kept.",
}
"""The closed list; ``docs/dead_letters.md`` shows it and a test keeps both equal."""

_FORMAT = b"\x01"
"""First byte of every plaintext: leaves room for another format, and keeps the plaintext non-empty."""
_ID_BYTES = 16


class DeadLetterBox:
    """Makes dead letters and opens them again.

    The payload is encrypted by AES-256-SIV under a key derived from ``key``, bound to the dead letter's id. SIV is
    deterministic: the same rejection gives the same bytes, on every worker and every retry, and needs no nonce.

    Args:
        key: the dead letter key, at least 16 bytes; see ``transforms.keys``.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ConfigurationError("dead letter key", None, f"has {len(key)} bytes; at least 16 are needed")
        self._key = key
        self._id_key = hmac.digest(key, b"wayline dead letter id", "sha256")
        self._cipher = AESSIV(hmac.digest(key, b"wayline dead letter payload", "sha512"))

    def __reduce__(self) -> tuple[type[DeadLetterBox], tuple[bytes]]:
        return (DeadLetterBox, (self._key,))

    def reject(
        self,
        stage: str,
        reason: str,
        detail: str,
        source: str,
        schema_id: str,
        at: int,
        payload_schema: str,
        payload: bytes,
        *,
        expired: bool = False,
    ) -> DeadLetter:
        """One dead letter.

        Args:
            stage: the stage that rejects.
            reason: a code of ``REASONS``.
            detail: what exactly was wrong, free of personal data.
            source: the source as the ledger counts it.
            schema_id: fingerprint of the schema that it was read with; empty when there was none.
            at: received time in microseconds where known, else ``UNDATED``.
            payload_schema: ``event``, ``raw`` or ``row``: what ``payload`` is.
            payload: the whole thing, in clear.
            expired: true for an event later than the lateness bound.
        """
        identity = hmac.new(self._id_key, digestmod=hashlib.sha256)
        for part in (stage.encode(), reason.encode(), payload_schema.encode()):
            identity.update(len(part).to_bytes(4, "big"))
            identity.update(part)
        identity.update(payload)
        letter_id = identity.digest()[:_ID_BYTES].hex()
        return DeadLetter(
            letter_id,
            stage,
            reason,
            detail,
            source,
            schema_id,
            at,
            payload_schema,
            self._cipher.encrypt(_FORMAT + payload, [letter_id.encode()]),
            expired,
        )

    def reject_event(
        self, stage: str, reason: str, detail: str, event: Event, schema_id: str, *, source: str | None = None
    ) -> DeadLetter:
        """``reject`` for a decoded event: its payload is the event in the newest schema, its time the received time."""
        return self.reject(
            stage,
            reason,
            detail,
            event.source if source is None else source,
            schema_id,
            event.received_time,
            EVENT_PAYLOAD,
            encode_event(event),
            expired=reason == "expired_late",
        )

    def open(self, dead_letter_id: str, payload: bytes) -> bytes:
        """The payload in clear.

        Raises:
            ConfigurationError: the key is another one, or the payload or its id was changed.
        """
        try:
            plain = self._cipher.decrypt(payload, [dead_letter_id.encode()])
        except (InvalidTag, ValueError) as error:
            raise ConfigurationError(
                "dead letter key",
                None,
                f"does not open dead letter {dead_letter_id}",
                hint="give the key in force when it was written, by default OUT/keys/dead_letter.key",
            ) from error
        if plain[:1] != _FORMAT:
            raise ConfigurationError(
                "dead letter key", None, f"dead letter {dead_letter_id} was written by a newer version of Wayline"
            )
        return plain[1:]
