"""A bounded run leaves its identities in the store, so that a stream can take over from it."""

from __future__ import annotations

from pathlib import Path

from run_world import FEW_SHARDS, NOON, SHIPPED_IDENTITY, Runs, definitions, event

from contracts.event import Identifier
from transforms.identity.ids import canonical_id, strand_id
from transforms.identity.rules_file import load_rules
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.identity import open_identity


def persons_of_strands(runs: Runs, config: Path, shards: int) -> dict[str, str]:
    """Strand to person, as the mailbox tells it; carried strands, which the strand stage decides, are left out."""
    rules = load_rules(definitions(config).config.identity)
    store = open_identity(StoreAddress(runs.out / "stores" / STORE_FILE), rules, shards)
    try:
        return {
            strand_id(a.primary, a.login): a.steps[0][1]
            for shard in range(shards)
            for a in store.assignments_since(shard, 0, 100_000)
            if not a.carry
        }
    finally:
        store.close()


def test_the_store_says_of_every_strand_and_identifier_what_the_tables_say(dirty_run: Runs, config_file: Path) -> None:
    told = persons_of_strands(dirty_run, config_file, 4)
    of_events = dict(dirty_run.query("SELECT DISTINCT strand_id, person_id FROM events"))
    of_told = {strand: person for strand, person in of_events.items() if strand in told}
    assert len(of_told) > 30
    assert {strand: told[strand] for strand in of_told} == of_told
    rules = load_rules(definitions(config_file).config.identity)
    store = open_identity(StoreAddress(dirty_run.out / "stores" / STORE_FILE), rules, 4)
    rows = dirty_run.query("SELECT namespace, value, person_id FROM identifiers")
    ids = {canonical_id(Identifier(namespace, value)): person for namespace, value, person in rows}
    assert store.person_of(list(ids)) == ids
    edges = dirty_run.query("SELECT left_value, right_value, kind, status, rule FROM edges")
    known = [Identifier(namespace, value) for namespace, value, _ in rows]
    kept = {(e.left.value, e.right.value, e.kind): (e.status, e.rule) for e in store.edges(known, limit=100_000)}
    assert kept == {(left, right, kind): (status, rule) for left, right, kind, status, rule in edges}
    store.close()


def test_another_run_with_other_rules_and_shards_leaves_the_store_right(dirty_copy: Runs, tmp_path: Path) -> None:
    text = definitions(dirty_copy.config).config.identity.read_text(encoding="utf-8")
    (tmp_path / "identity.yaml").write_text(text.replace("\nowner: carry_visit\n", "\nowner: first_known\n"))
    other = tmp_path / "other.yaml"
    other.write_text("identity: identity.yaml\nshards: {strand: 8, journey: 4}\n", encoding="utf-8")
    dirty_copy.config = other
    dirty_copy.run([event("late", "home_view", NOON, {"anonymous_id": "one-more"})])
    told = persons_of_strands(dirty_copy, other, 8)
    of_events = dict(dirty_copy.query("SELECT DISTINCT strand_id, person_id FROM events"))
    of_told = {strand: person for strand, person in of_events.items() if strand in told}
    assert len(of_told) > 30
    assert {strand: told[strand] for strand in of_told} == of_told


def test_a_run_shortens_the_ledger_of_a_crowd_and_the_tables_keep_it_whole(tmp_path: Path) -> None:
    text = SHIPPED_IDENTITY.read_text(encoding="utf-8")
    small = "component_size: 4\ncrowd: 4\n"
    (tmp_path / "identity.yaml").write_text(text.replace("component_size: 1000", f"{small}#"), encoding="utf-8")
    config = tmp_path / "wayline.yaml"
    config.write_text(f"identity: identity.yaml\n{FEW_SHARDS}", encoding="utf-8")
    runs = Runs(tmp_path / "runs", config)
    kiosk = [event(n, "home_view", NOON + n, {"anonymous_id": "kiosk", "user_id": f"u{n}"}) for n in range(9)]

    def stored() -> int:
        store = open_identity(StoreAddress(runs.out / "stores" / STORE_FILE), runs.identity, 4)
        try:
            return len(store.edges([Identifier(*runs.pseudonym("anonymous_id", "kiosk"))]))
        finally:
            store.close()

    told: dict[str, str] = {}
    for seen in (kiosk[:7], kiosk[7:]):
        runs.run(seen)
        assert stored() == 5
        told = persons_of_strands(runs, config, 4)
    rule = "SELECT count(*) FROM edges WHERE status = 'refused' AND rule = 'crowded'"
    assert runs.query(rule) == [(9,)]
    of_events = dict(runs.query("SELECT DISTINCT strand_id, person_id FROM events"))
    assert len(of_events) == 9
    assert {strand: told[strand] for strand in of_events} == of_events
