"""The identity store: the links of all time, who everybody is by them, and the mailbox that tells the strands.

Beam has no cycles, so the identity graph has its own home. The stateless link stage reports links to it, in batches;
the store resolves the neighbourhood of what changed with the pure core, in the transaction that stores the links, and
writes down each strand whose assignment changed under a sequence number. A strand shard reads what is new since the
last number it saw. Resolution is a pure function of the set of links, so neither the order of arrival, nor batches, nor
several writers, nor repetition make a difference.

What is promised, with ``resolve`` of ``transforms.identity.resolve`` as the measure:

- **Without erasures** all answers are those of ``resolve`` on all links that were ever given, whatever their order,
  batches, repetitions and writers, and whether they came by ``link`` or ``load``.
- **Sequence numbers** are unique and ascending within a shard, in the order of commits: who has seen number n will
  never find a smaller one that was not there before. A strand stands under its newest number only.
- **Erasure.** A request covers what ``transforms.identity.erasure`` says by the links that are known when it arrives:
  given in one batch with all links, the answers are those of ``resolve``. It leaves tombstones, one an identifier,
  which never become earlier; evidence at or before them is deleted. A link that arrives later is cut by the tombstone
  of its left end, and one that is older than the request of a known identifier may widen it, by the links that still
  stand then. So a replay of what was erased brings nobody back: its strands are told again to erase, and its links do
  not stay. In whose hands a device was that is carried, only the fold of its strands knows: it gives the marks of what
  it erased (``keep_marks``), and is given them again (``marks_of``).
- **Rules.** A store answers by the rules it was last resolved under. Under other rules ``link`` and ``load`` refuse
  until ``reresolve`` was asked for by name.

Identifiers are pseudonyms (keyed hashes) by the time they come here; so are tombstones, which keep the hash of the
pseudonym alone once ``purge`` has said that the strands are erased elsewhere. Times are UTC microseconds of event time.

Every method is one transaction. Errors: ``LockedError`` when another process holds the store too long or its server is
away too long; ``OutputError`` when it cannot be used, or was written under other rules or with other shards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from contracts.event import Identifier
from contracts.exchange import Assignment, ErasedMark, IdentityRows, Link
from transforms.identity.graph import Links
from transforms.identity.ids import DEFAULT_SHARDS
from transforms.identity.neighbourhood import Neighbourhood
from transforms.identity.resolve import EdgeRow, Resolution
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.stores.database import DEFAULT_TIMEOUT, StoreAddress, open_database


class Linked(NamedTuple):
    """What a call changed.

    Attributes:
        links: links that are new, or whose evidence grew.
        resolved: identifiers that were resolved again.
        assignments: strands whose assignment is new or changed.
    """

    links: int
    resolved: int
    assignments: int


NOTHING = Linked(0, 0, 0)


Mark = tuple[int, ...]
"""How far somebody has read the rows of the store. Only the store knows what it means; keep it as it is."""


class GoneRows(NamedTuple):
    """Keys of rows that the tables may have and that are no more.

    Attributes:
        identifiers: without a row of their own; all their links are gone too. One whose name was forgotten (``purge``)
            is not among them, only its id is.
        ids: canonical ids of identifiers that are gone.
        edges: (left, right, kind) of links.
    """

    identifiers: tuple[Identifier, ...] = ()
    ids: tuple[str, ...] = ()
    edges: tuple[tuple[Identifier, Identifier, str], ...] = ()


class ChangedRows(NamedTuple):
    """A page of what changed; apply ``gone`` and ``rows`` in any order, for no key is in both.

    Attributes:
        rows: as the bounded run writes them to the tables, of ``persons`` what identity says of each id.
        gone: what the tables may hold and must not any more.
        mark: for the next page.
        more: whether there may be one already.
    """

    rows: IdentityRows
    gone: GoneRows
    mark: Mark
    more: bool


class IdentityStore(Protocol):
    """Links in, assignments out; see the module."""

    def link(self, links: Iterable[Link]) -> Linked:
        """Take links and resolve what they change.

        Evidence of the same ends and kind is merged. A link that is known, and whose evidence does not grow, costs a
        look-up; where only the last evidence grows, nothing is resolved unless a policy or a word of a person depends
        on it.
        """
        ...

    def seen_again(self, links: Iterable[Link]) -> Linked:
        """Take when known links were seen, from who holds the events and erases what is to be erased.

        As ``link``, but for this: what a tombstone covers is left out, and makes no request ask again. After an erasure
        it says with which of its sightings a link begins, since the store has the first and the last of each alone.
        """
        ...

    def load(self, links: Links, resolution: Resolution, crowded: Mapping[Identifier, bool] | None = None) -> Linked:
        """Take links of a backfill, resolved already, by the bulk path.

        Only changed assignments get a new sequence. Where the store has links of these identifiers that are not among
        these, both are resolved together by the way of ``link``.

        Args:
            links: all links of the backfill, or a part of them that is whole components.
            resolution: of these links, under the rules of this store.
            crowded: of a part, the identifiers that are crowded, whose links are in other parts too, and whether this
                part is to write their rows.
        """
        ...

    def adopt(self) -> None:
        """Take the rules and the number of shards that this store was opened with, before a backfill.

        Where they are others than before, everything is resolved again, and the mailboxes begin anew.
        """
        ...

    def reresolve(self) -> Linked:
        """Resolve everything under the rules that this store was opened with, which are in force from then on."""
        ...

    def erase(self, until: int, identifiers: Collection[Identifier] = (), persons: Collection[str] = ()) -> Linked:
        """Erase persons up to a time, named by identifiers or by any id they were ever shown under."""
        ...

    def purge(self, strands: Collection[StrandKey], up_to: int) -> int:
        """Forget the names of strands that were erased everywhere else; return how many were forgotten.

        Concerns strands that a tombstone covers up to ``up_to`` and that nothing was seen of since; others are left.
        """
        ...

    def compact(self) -> int:
        """Shorten the ledger of crowded identifiers; return how many links went.

        Of an identifier that links nothing because it was seen with more than ``crowd`` others, the links between a
        login and a device go but for the first ``crowd`` + 1: each further one becomes a sighting of its other end
        alone, and its strand stays. No answer about any person, strand or id changes; ``edges`` no longer lists those
        links, and the identifier stays crowded whatever is erased or re-resolved. Merges and unlinks stay.
        """
        ...

    def keep_marks(self, marks: Collection[ErasedMark]) -> None:
        """Keep what stays of erased events on devices that are carried (``ShardResult.marks``)."""
        ...

    def marks_of(self, devices: Collection[Identifier]) -> list[ErasedMark]:
        """What stays of erased events on these devices: to be given to every fold of their strands, with its events.

        A login that asks for more to be erased is found in them, and the device's strand without a login stands in the
        mailbox again. A login whose name is forgotten is named by its canonical id.
        """
        ...

    def assignments_since(self, shard: int, sequence: int, limit: int = 1_000) -> list[Assignment]:
        """The mailbox of a shard: what changed after a sequence number, ascending, at most ``limit``."""
        ...

    def assignments_of(self, strands: Collection[StrandKey]) -> dict[StrandKey, Assignment]:
        """The assignments of strands; those that no link allows for are left out."""
        ...

    def person_of(self, ids: Collection[str]) -> dict[str, str]:
        """Who has what was once shown as these ids (``canonical_id`` of any identifier); ids never made are left out.

        An id resolves for ever: after a merge to the survivor, after a split to who holds its identifier now, after an
        erasure to itself.
        """
        ...

    def edges(self, identifiers: Collection[Identifier], limit: int = 1_000) -> list[EdgeRow]:
        """The ledger of these identifiers: at most ``limit`` links, in their order, each with what became of it."""
        ...

    def rows_since(self, mark: Mark | None, limit: int = 10_000) -> ChangedRows:
        """The rows of the tables ``identifiers``, ``persons`` (of ids) and ``edges`` that changed since a mark.

        Whoever keeps tables applies page after page, and has what a bounded run of all links would have written: each
        row stands in the page of its last change. A row that did not change may be among them; what is gone need not
        have been there before. Links that ``compact`` took from the ledger are not gone. Read before ``purge``, which
        forgets the names of what is gone.

        Args:
            mark: of the page before; None for everything there is.
            limit: rows of each kind in a page.
        """
        ...

    def neighbourhood_of(self, identifier: Identifier) -> Neighbourhood:
        """The links that decide who an identifier is; resolving them, with or without one, explains it."""
        ...

    def erasures(self) -> dict[str, int]:
        """The tombstones: canonical id to the time up to which its events are erased."""
        ...

    def close(self) -> None:
        """Give up the connection."""
        ...


def open_identity(
    address: StoreAddress, rules: IdentityRules, shards: int = DEFAULT_SHARDS, timeout: float = DEFAULT_TIMEOUT
) -> IdentityStore:
    """The identity store in the database ``address``.

    Args:
        rules: the rules in force.
        shards: strand shards, the same number as events are keyed by; fixed when the store is first written.
        timeout: seconds to wait for another process that writes, or for a server that does not answer.

    Raises:
        LockedError, OutputError, ConfigurationError: as ``open_database``.
    """
    from transforms.stores.identity_schema import SCHEMA
    from transforms.stores.identity_store import StoredIdentity

    return StoredIdentity(open_database(address, SCHEMA, timeout), rules, shards)
