"""Beam coders of the contracts: every element between two stages has one, so nothing is pickled by accident.

``register()`` is called by the graph before it is built, and once in each worker through import of this module.
"""

from __future__ import annotations

from typing import Any

from apache_beam import coders

from contracts import exchange, wire

COMPRESSED: tuple[type[Any], ...] = (
    exchange.ShardInput,
    exchange.StrandBatch,
    exchange.LinkBatch,
    exchange.IdentityRows,
    exchange.StrandMessages,
)
"""Batches: large, repetitive, crossing a shuffle."""

PLAIN: tuple[type[Any], ...] = (
    exchange.Received,
    exchange.DeadLetter,
    exchange.RejectedElement,
    exchange.LedgerCount,
    exchange.Link,
    exchange.Assignment,
    exchange.StrandEvent,
    exchange.StrandRecord,
    exchange.ErasedMark,
    exchange.Purge,
    exchange.Decision,
    exchange.Action,
    exchange.Outcome,
    exchange.LearnInput,
    exchange.Label,
    exchange.OnlineFeatures,
    exchange.TableFile,
    exchange.StatedRows,
)


_ROUGH_SIZE = 256


class WireCoder(coders.Coder):  # type: ignore[misc]  # Beam's base class is untyped
    """MessagePack of one contract dataclass; see ``contracts.wire``."""

    kind: type[Any]

    def encode(self, value: Any) -> bytes:
        return wire.pack(value)

    def decode(self, encoded: bytes) -> Any:
        return wire.unpack(self.kind, encoded)

    def estimate_size(self, value: Any) -> int:
        """A constant: Beam asks it of a sample of elements, only for its display, and would encode each of them."""
        return _ROUGH_SIZE

    def is_deterministic(self) -> bool:
        return False

    def to_type_hint(self) -> type[Any]:
        return self.kind

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class CompressedWireCoder(WireCoder):
    """``WireCoder`` with zstd around it."""

    def encode(self, value: Any) -> bytes:
        return wire.pack_compressed(value)

    def decode(self, encoded: bytes) -> Any:
        return wire.unpack_compressed(self.kind, encoded)


def _coder_for(kind: type[Any], base: type[WireCoder]) -> type[WireCoder]:
    """A named, importable coder class of one element class: Beam stores coders by their module and name."""
    name = f"{kind.__name__}Coder"
    made = type(name, (base,), {"kind": kind, "__module__": __name__, "__doc__": f"Coder of {kind.__name__}."})
    globals()[name] = made
    return made


CODERS: dict[type[Any], type[WireCoder]] = {
    **{kind: _coder_for(kind, CompressedWireCoder) for kind in COMPRESSED},
    **{kind: _coder_for(kind, WireCoder) for kind in PLAIN},
}


def register() -> None:
    """Tell Beam's registry about every coder here. Safe to call again."""
    for kind, coder in CODERS.items():
        coders.registry.register_coder(kind, coder)


register()
