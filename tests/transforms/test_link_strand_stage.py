"""Link and strand as Beam stages say what their pure cores say, on the runner of the bounded path."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from contracts import coders, wire
from contracts.event import Event, Identifier
from contracts.exchange import IdentityRows, LedgerCount, Link, LinkBatch, ShardInput, StrandBatch, StrandEvent
from transforms.dead_letter import DeadLetterBox
from transforms.identity.evidence import LinkBook
from transforms.identity.ids import canonical_id
from transforms.identity.rules_file import load_rules
from transforms.link import ResolveIdentity
from transforms.strand import Strand, shard_of

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
RULES = load_rules(Path(__file__).parents[2] / "ontology" / "identity.yaml")
SHARDS = 4


def identifiers(text: str) -> tuple[Identifier, ...]:
    return tuple(Identifier(*name.split(":")) for name in text.split())


def events() -> list[Event]:
    rows = [
        ("e1", 1, "anonymous_id:a", "view"),
        ("e2", 2, "anonymous_id:a user_id:1", "login"),
        ("e3", 3, "anonymous_id:b user_id:1", "view"),
        ("e3", 3, "anonymous_id:b user_id:1", "view"),
        ("e4", 4, "anonymous_id:c", "view"),
        ("e5", 5, "anonymous_id:d user_id:2", "view"),
        ("e6", 6, "user_id:2", "erasure_requested"),
        ("e7", 7, "anonymous_id:d user_id:2", "view"),
    ]
    return [Event(i, name, t, t, "web", "web", identifiers(names)) for i, t, names, name in rows]


def keyed(event: Event) -> tuple[bytes, bytes]:
    key = RULES.strand_key(event.identifiers)
    assert key is not None
    held = StrandEvent(
        event.event_id, event.event_time, event.received_time, "web", key.primary, key.login, wire.pack(event)
    )
    return shard_of(key.primary, SHARDS), wire.pack_compressed(ShardInput(events=(held,)))


def links() -> list[Link]:
    return [
        link for e in events() for link in RULES.links(e.identifiers, e.name, e.event_id, e.event_time, e.received_time)
    ]


def by_person(batch: tuple[bytes, StrandBatch]) -> list[tuple[str, str]]:
    return [
        (record.person_id, wire.unpack(Event, event).event_id) for record in batch[1].records for event in record.events
    ]


def fates(counts: list[LedgerCount]) -> None:
    total: Counter[str] = Counter()
    for count in counts:
        total[count.kind] += count.n
    assert total == {"accepted": 5, "duplicate": 1, "erased": 2}, total


def erased_rows(parts: list[tuple[bytes, IdentityRows]]) -> None:
    rows = [rows for _, rows in parts]
    assert sorted(row for batch in rows for row in batch.erasures) == [("anonymous_id", "d", 6), ("user_id", "2", 6)]
    persons = {row[0]: row[4] for batch in rows for row in batch.persons}
    assert persons[canonical_id(Identifier("anonymous_id", "a"))] == canonical_id(Identifier("user_id", "1"))


def test_links_and_events_meet_in_the_strand_fold_and_every_event_has_one_fate() -> None:
    coders.register()
    one, two, anonymous = (canonical_id(i) for i in identifiers("user_id:1 user_id:2 anonymous_id:c"))
    with beam.Pipeline(runner=RUNNER, options=PipelineOptions(["--direct_num_workers=1"])) as p:
        resolved = p | "Links" >> beam.Create([LinkBatch(tuple(links()))]) | ResolveIdentity(RULES, SHARDS)
        keyed_events = p | "Events" >> beam.Create([keyed(event) for event in events()])
        strands = (keyed_events, resolved.assignments) | Strand(DeadLetterBox(b"k" * 32), "schema", 4)
        belongs = strands.records | "Belongs" >> beam.FlatMap(by_person)
        expected = [(one, "e1"), (one, "e2"), (one, "e3"), (anonymous, "e4"), (two, "e7")]
        assert_that(belongs, equal_to(expected), label="CheckBelongs")
        assert_that(strands.ledger, fates, label="CheckLedger")
        assert_that(resolved.rows, erased_rows, label="CheckRows")
        logged = strands.log | "LogIds" >> beam.FlatMap(lambda batch: [e.event_id for e in batch.events])
        assert_that(logged, equal_to(["e1", "e2", "e3", "e4", "e7"]), label="CheckLog")
        assert_that(strands.dead_letters, equal_to([]), label="CheckDeadLetters")
        purged = strands.purges | "Purged" >> beam.Map(lambda purge: purge.until)
        assert_that(purged, equal_to([6, 6, 6]), label="CheckPurges")


def test_a_link_of_merged_sightings_begins_with_the_first_after_the_erasure() -> None:
    coders.register()
    rows = [(at, "user_id:1 email_sha256:e", "view") for at in (3, 7, 9)] + [
        (5, "user_id:1", "erasure_requested"), (8, "user_id:2 email_sha256:e", "view"),
        (2, "user_id:3 email_sha256:f", "view"), (6, "user_id:3 email_sha256:f", "view"),
    ]  # fmt: skip
    seen = [Event(f"e{at}", name, at, at, "web", "web", identifiers(names)) for at, names, name in rows]
    book = LinkBook(RULES)
    for e in seen:
        book.observe(e.identifiers, e.name, e.event_id, e.event_time, e.received_time)
    with beam.Pipeline(runner=RUNNER, options=PipelineOptions(["--direct_num_workers=1"])) as p:
        keyed_events = p | "Events" >> beam.Create([keyed(event) for event in seen])
        merged = p | "Links" >> beam.Create([LinkBatch(tuple(book.drain()))])
        resolved = merged | ResolveIdentity(RULES, SHARDS, events=keyed_events)
        edges = resolved.rows | "Edges" >> beam.FlatMap(
            lambda part: [(row[1], row[3], row[5], row[9]) for row in part[1].edges]
        )
        assert_that(edges, equal_to([("1", "e", True, 7), ("2", "e", False, 8), ("3", "f", True, 2)]))
