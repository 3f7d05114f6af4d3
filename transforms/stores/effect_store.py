"""The effect store in the shared database; see ``transforms.stores.effects`` for what it promises."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from contracts.errors import OutputError
from contracts.exchange import MIN_TIME, Action, Decision, History, Outcome
from transforms.stores.database import Database, Migration, Schema, Transaction
from transforms.stores.decision_code import DecisionCode, Word
from transforms.stores.effects import (
    DRY_RUN,
    EMPTY_HISTORY,
    FAILED,
    IN_DOUBT,
    PENDING,
    SENDING,
    SENT,
    STATUSES,
    SUPPRESSED,
    Claimed,
    DecidedIds,
    Guards,
    PlannedAction,
    Standing,
)
from transforms.stores.erased import covers, erased_of, note_erased
from transforms.stores.guards import LIVE, checked
from transforms.stores.standings import note_persons, of_current_persons

_ENCODING = 2
"""How ``decisions.body`` is written: 2 is ``decision_code``, whose words stand in ``words``."""

SCHEMA = Schema(
    "effects",
    (
        Migration(
            "decisions, actions, outcomes and the standing of persons",
            (
                "CREATE TABLE decisions (decision_id TEXT NOT NULL, anchor_strand TEXT NOT NULL, at INTEGER NOT NULL,"
                " encoding INTEGER NOT NULL, body BLOB NOT NULL)",
                "CREATE UNIQUE INDEX decisions_by_id ON decisions (decision_id)",
                "CREATE INDEX decisions_by_strand ON decisions (anchor_strand)",
                "CREATE TABLE actions (action_id TEXT NOT NULL, decision_id TEXT NOT NULL, person_id TEXT NOT NULL,"
                " anchor_strand TEXT NOT NULL, channel TEXT NOT NULL, template TEXT NOT NULL, status TEXT NOT NULL,"
                " reason TEXT NOT NULL, at INTEGER NOT NULL, attempts INTEGER NOT NULL, decided_at INTEGER NOT NULL,"
                " owner TEXT)",
                "CREATE UNIQUE INDEX actions_by_id ON actions (action_id)",
                "CREATE INDEX actions_by_strand ON actions (anchor_strand)",
                f"CREATE INDEX actions_by_person ON actions (person_id) WHERE {LIVE}",
                "CREATE INDEX actions_open ON actions (status) WHERE status IN ('pending', 'sending')",
                "CREATE TABLE outcomes (outcome_id TEXT NOT NULL PRIMARY KEY, action_id TEXT, person_id TEXT NOT NULL,"
                " anchor_strand TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, received_at INTEGER NOT NULL,"
                " value REAL) WITHOUT ROWID",
                "CREATE INDEX outcomes_by_strand ON outcomes (anchor_strand)",
                "CREATE INDEX outcomes_by_person ON outcomes (person_id) WHERE kind IN ('complained', 'unsubscribed')",
                "CREATE TABLE strands (strand_id TEXT NOT NULL PRIMARY KEY, person_id TEXT NOT NULL,"
                " at INTEGER NOT NULL) WITHOUT ROWID",
                "CREATE INDEX strands_by_person ON strands (person_id)",
                "CREATE TABLE persons (person_id TEXT NOT NULL PRIMARY KEY, at INTEGER NOT NULL, consent TEXT NOT NULL)"
                " WITHOUT ROWID",
            ),
        ),
        Migration(
            "words of decisions",
            ("CREATE TABLE words (word BLOB NOT NULL PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID",),
        ),
        Migration(
            "since when a strand that is carried is its person's",
            (f"ALTER TABLE strands ADD COLUMN since INTEGER NOT NULL DEFAULT {MIN_TIME}",),
        ),
        Migration(
            "when the event happened that an action follows from",
            ("ALTER TABLE actions ADD COLUMN anchor_at INTEGER",),
        ),
        Migration(
            "one index of decisions, by strand and id: each index costs a decision as much as the decision itself",
            (
                "DROP INDEX decisions_by_id",
                "DROP INDEX decisions_by_strand",
                "CREATE UNIQUE INDEX decisions_of_strands ON decisions (anchor_strand, decision_id)",
            ),
        ),
        Migration(
            "what was erased, so that nothing of it is claimed again",
            ("CREATE TABLE erased (strand_id TEXT NOT NULL PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID",),
        ),
    ),
)

_ACTION = "action_id, decision_id, person_id, anchor_strand, channel, template, status, reason, at, attempts"
_OUTCOME = "outcome_id, action_id, person_id, anchor_strand, kind, at, received_at, value"


class StoredEffects:
    """``EffectStore`` on a database, which it closes at the end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        try:
            self._owner = database.own()
        except BaseException:
            database.close()
            raise
        self._code = DecisionCode()

    def close(self) -> None:
        self._owner.close()
        self._database.close()

    # --- decisions ----------------------------------------------------------------------------------------------

    def claim_decisions(
        self, decisions: Sequence[Decision], *, standings: Iterable[Standing] = (), outcomes: Iterable[Outcome] = ()
    ) -> list[Decision]:
        noted, found = list(standings), list(outcomes)
        if not (decisions or noted or found):
            return []
        # written down before the transaction: while it is open, every other process that decides waits for it
        bodies = [self._code.encode(decision) for decision in decisions]

        def claim(tx: Transaction) -> dict[str, Decision]:
            note_persons(tx, noted)
            _put_outcomes(tx, found)
            return self._claim_decisions(tx, decisions, bodies) if decisions else {}

        claimed = self._database.write(claim)
        self._code.saved()
        return [claimed[decision.decision_id] for decision in decisions if decision.decision_id in claimed]

    def _claim_decisions(
        self, tx: Transaction, decisions: Sequence[Decision], bodies: Sequence[bytes]
    ) -> dict[str, Decision]:
        claimed: dict[str, Decision] = {}
        ids = [decision.decision_id for decision in decisions]
        strands = sorted({decision.anchor_strand for decision in decisions})
        for encoding, body in tx.all(_CLAIMED, (strands, ids)):
            stored = self._decoded(tx, encoding, body)
            claimed[stored.decision_id] = stored
        gone = erased_of(tx, strands)
        rows: list[tuple[object, ...]] = []
        for decision, body in zip(decisions, bodies, strict=True):
            if decision.decision_id not in claimed and not covers(gone, decision.anchor_strand, decision.held_at):
                claimed[decision.decision_id] = decision
                rows.append((decision.decision_id, decision.anchor_strand, decision.at, _ENCODING, body))
        tx.execute_many(
            "INSERT INTO words VALUES (?, ?) ON CONFLICT (word) DO NOTHING", sorted(self._code.unsaved.items())
        )
        tx.load("decisions", ("decision_id", "anchor_strand", "at", "encoding", "body"), rows)
        return claimed

    def histories(self, persons: Mapping[str, Collection[str]]) -> dict[str, History]:
        return self._database.read(lambda tx: self._histories(tx, persons))

    def _histories(self, tx: Transaction, persons: Mapping[str, Collection[str]]) -> dict[str, History]:
        decisions: dict[str, list[Decision]] = defaultdict(list)
        actions: dict[str, list[Action]] = defaultdict(list)
        # A backfill into a new store asks for every person and finds nothing: spare it the look-ups.
        if tx.one("SELECT 1 FROM decisions LIMIT 1"):
            owner_of = {strand: person for person, strands in persons.items() for strand in strands}
            strands = (list(owner_of),)
            for strand, encoding, body in tx.all(
                "SELECT anchor_strand, encoding, body FROM decisions WHERE anchor_strand IN ??", strands
            ):
                decisions[owner_of[strand]].append(self._decoded(tx, encoding, body))
            for row in tx.all(f"SELECT {_ACTION} FROM actions WHERE anchor_strand IN ??", strands):
                action = _shown(Action(*row))
                actions[owner_of[action.anchor_strand]].append(action)
        return {
            person: History(
                last_decided=max(decision.at for decision in decisions[person]),
                decisions=tuple(sorted(decisions[person], key=_decision_order)),
                actions=tuple(sorted(actions.get(person, ()), key=_action_order)),
            )
            if person in decisions
            else EMPTY_HISTORY
            for person in persons
        }

    # --- actions ------------------------------------------------------------------------------------------------

    def claim_actions(self, planned: Sequence[PlannedAction], guards: Guards) -> list[Claimed]:
        if not planned:
            return []
        claimed = self._database.write(lambda tx: self._claim_actions(tx, planned, guards))
        return [claimed[plan.action.action_id] for plan in planned if plan.action.action_id in claimed]

    def _claim_actions(self, tx: Transaction, planned: Sequence[PlannedAction], guards: Guards) -> dict[str, Claimed]:
        claimed: dict[str, Claimed] = {}
        ids = [plan.action.action_id for plan in planned]
        stored = {
            row[0]: (Action(*row[:-1]), row[-1])
            for row in tx.all(f"SELECT {_ACTION}, owner FROM actions WHERE action_id IN ??", (ids,))
        }
        recorded: list[tuple[object, ...]] = []
        gone = erased_of(tx, {plan.action.anchor_strand for plan in planned})
        for plan in of_current_persons(tx, planned):
            action_id = plan.action.action_id
            if action_id in claimed or covers(gone, plan.action.anchor_strand, plan.held_at):
                continue
            if action_id in stored:
                claimed[action_id] = self._take_up(tx, *stored[action_id], plan, guards)
            elif plan.action.status != PENDING:
                claimed[action_id] = Claimed(plan.action, False)
                recorded.append(_action_row(plan.action, plan, None))
            else:
                action = checked(tx, plan, guards)
                mine = action.status == PENDING
                claimed[action_id] = Claimed(action, mine)
                # Inserted at once, because the check of the next action counts it.
                tx.execute(_INSERT_ACTION, _action_row(action, plan, self._owner.name if mine else None))
        tx.load("actions", _ACTION_COLUMNS, recorded)
        return claimed

    def _take_up(
        self, tx: Transaction, stored: Action, owner: str | None, plan: PlannedAction, guards: Guards
    ) -> Claimed:
        """What becomes of an action that is claimed already."""
        only_dry = stored.status == SUPPRESSED and stored.reason == DRY_RUN
        if stored.status in (SENT, SUPPRESSED, FAILED) and not (only_dry and plan.action.status == PENDING):
            return Claimed(stored, False)
        if owner is not None and owner != self._owner.name and self._owner.is_alive(owner):
            return Claimed(replace(stored, status=PENDING, reason="another process is sending it"), False)
        if plan.action.reason == DRY_RUN:
            return Claimed(_shown(stored), False)
        found = plan.action
        untouched = only_dry or stored.status == PENDING
        if not untouched and stored.channel not in guards.retry_in_doubt:
            found = replace(found, status=IN_DOUBT, reason="its sender died between intent and result")
        elif found.status == PENDING:
            found = checked(tx, plan, guards)
        if not untouched and found.status == SUPPRESSED:
            # Too late or forbidden now, but the first sending may have come through: do not claim that it did not.
            found = replace(found, status=IN_DOUBT, reason=f"not sent again: {found.reason}")
        mine = found.status == PENDING
        found = replace(found, attempts=stored.attempts)
        tx.execute(
            "UPDATE actions SET status = ?, reason = ?, person_id = ?, owner = ? WHERE action_id = ?",
            (found.status, found.reason, found.person_id, self._owner.name if mine else None, found.action_id),
        )
        return Claimed(found, mine)

    def advance(self, finished: Sequence[Action], starting: Sequence[str]) -> frozenset[str]:
        me = self._owner.name
        results = [(a.status, a.reason, a.at, a.attempts, a.action_id, me) for a in finished]

        def record(tx: Transaction) -> frozenset[str]:
            tx.execute_many(
                "UPDATE actions SET status = ?, reason = ?, at = ?, attempts = ?, owner = NULL"
                " WHERE action_id = ? AND owner = ?",
                results,
            )
            return frozenset(
                action_id
                for action_id in starting
                if tx.execute(
                    f"UPDATE actions SET status = '{SENDING}', attempts = attempts + 1"
                    f" WHERE action_id = ? AND owner = ? AND status = '{PENDING}'",
                    (action_id, me),
                )
            )

        return self._database.write(record)

    def unfinished(self) -> tuple[Decision, ...]:
        def look(tx: Transaction) -> tuple[Decision, ...]:
            rows = tx.all(
                "SELECT encoding, body FROM decisions JOIN actions USING (anchor_strand, decision_id)"
                " WHERE status IN ('pending', 'sending') ORDER BY decisions.at, decision_id"
            )
            return tuple(self._decoded(tx, encoding, body) for encoding, body in rows)

        return self._database.read(look)

    def find_action(self, action_id: str) -> Action | None:
        row = self._database.read(lambda tx: tx.one(f"SELECT {_ACTION} FROM actions WHERE action_id = ?", (action_id,)))
        return None if row is None else _shown(Action(*row))

    def find_actions(self, action_ids: Collection[str]) -> dict[str, Action]:
        ids = sorted(set(action_ids))
        rows = self._database.read(lambda tx: tx.all(f"SELECT {_ACTION} FROM actions WHERE action_id IN ??", (ids,)))
        return {row[0]: _shown(Action(*row)) for row in rows}

    def action_counts(self) -> dict[str, int]:
        counts = dict.fromkeys(STATUSES, 0)
        for status, n in self._database.read(lambda tx: tx.all("SELECT status, count(*) FROM actions GROUP BY status")):
            counts[IN_DOUBT if status == SENDING else status] += n
        return counts

    # --- outcomes, erasure --------------------------------------------------------------------------------------

    def outcomes(self, strands: Collection[str]) -> tuple[Outcome, ...]:
        listed = list(strands)
        rows = self._database.read(
            lambda tx: tx.all(
                f"SELECT {_OUTCOME} FROM outcomes WHERE anchor_strand IN ?? ORDER BY at, outcome_id", (listed,)
            )
        )
        return tuple(Outcome(*row) for row in rows)

    def mark_erased(self, strands: Collection[str], up_to: int) -> DecidedIds:
        def mark(tx: Transaction) -> DecidedIds:
            note_erased(tx, strands, up_to)
            return self._decided_under(tx, list(strands), up_to)

        return self._database.write(mark)

    def _decided_under(self, tx: Transaction, strands: list[str], up_to: int) -> DecidedIds:
        decisions = []
        found = tx.all("SELECT decision_id, at, encoding, body FROM decisions WHERE anchor_strand IN ??", (strands,))
        for decision_id, at, encoding, body in found:
            # what time alone led to comes later than the event it follows from
            if at <= up_to or self._decoded(tx, encoding, body).held_at <= up_to:
                decisions.append(decision_id)
        actions = tx.all(
            "SELECT action_id FROM actions WHERE anchor_strand IN ?? AND coalesce(anchor_at, decided_at) <= ?",
            (strands, up_to),
        )
        return DecidedIds(tuple(sorted(decisions)), tuple(sorted(action_id for (action_id,) in actions)))

    def purge(self, strands: Collection[str], up_to: int) -> int:
        listed = list(strands)

        def erase(tx: Transaction) -> int:
            gone = self._decided_under(tx, listed, up_to)
            erased = tx.execute(
                "DELETE FROM decisions WHERE anchor_strand IN ?? AND decision_id || '' IN ??",
                (listed, list(gone.decisions)),
            )
            erased += tx.execute("DELETE FROM actions WHERE action_id IN ??", (list(gone.actions),))
            erased += tx.execute("DELETE FROM outcomes WHERE anchor_strand IN ?? AND at <= ?", (listed, up_to))
            note_erased(tx, listed, up_to)
            # who goes on is noted again by the next fold
            tx.execute("DELETE FROM strands WHERE strand_id IN ??", (listed,))
            tx.execute("DELETE FROM persons WHERE person_id NOT IN (SELECT person_id FROM strands)")
            return erased

        return self._database.write(erase)

    def _decoded(self, tx: Transaction, encoding: int, body: bytes) -> Decision:
        if encoding != _ENCODING:
            raise OutputError(
                f"{self._database.label} holds a decision in encoding {encoding}, which this version cannot read",
                hint="use the version of Wayline that wrote it, or a newer one",
            )

        def look_up(word: Word) -> bytes:
            row = tx.one("SELECT content FROM words WHERE word = ?", (word,))
            if row is None:
                raise OutputError(
                    f"{self._database.label} is damaged: a decision names a word that is not there",
                    hint="restore it from a copy",
                )
            content: bytes = row[0]
            return content

        return self._code.decode(body, look_up)


_CLAIMED = "SELECT encoding, body FROM decisions WHERE anchor_strand IN ?? AND decision_id || '' IN ??"
"""Found by strand alone, and then by id within: of two lists SQLite would try each strand with each id."""
_ACTION_COLUMNS = (*_ACTION.split(", "), "decided_at", "anchor_at", "owner")
_INSERT_ACTION = (
    f"INSERT INTO actions ({', '.join(_ACTION_COLUMNS)}) VALUES ({', '.join('?' for _ in _ACTION_COLUMNS)})"
)
_PUT_OUTCOME = (
    f"INSERT INTO outcomes ({_OUTCOME}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (outcome_id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _OUTCOME.split(", ")[1:])
)


def _put_outcomes(tx: Transaction, outcomes: Sequence[Outcome]) -> None:
    # of one id in a batch the last stands, whatever the order in which rows are written
    newest = {o.outcome_id: o for o in outcomes}
    gone = erased_of(tx, {o.anchor_strand for o in newest.values()})
    rows = [
        (o.outcome_id, o.action_id, o.person_id, o.anchor_strand, o.kind, o.at, o.received_at, o.value)
        for _, o in sorted(newest.items())
        if not covers(gone, o.anchor_strand, o.at)
    ]
    tx.execute_many(_PUT_OUTCOME, rows)


def _action_row(action: Action, plan: PlannedAction, owner: str | None) -> tuple[object, ...]:
    return (
        action.action_id,
        action.decision_id,
        action.person_id,
        action.anchor_strand,
        action.channel,
        action.template,
        action.status,
        action.reason,
        action.at,
        action.attempts,
        plan.decided_at,
        plan.anchor_at,
        owner,
    )


def _shown(action: Action) -> Action:
    """As others see it: an intent without a result is in doubt."""
    return replace(action, status=IN_DOUBT, reason="the intent has no result") if action.status == SENDING else action


def _decision_order(decision: Decision) -> tuple[int, str]:
    return (decision.at, decision.decision_id)


def _action_order(action: Action) -> tuple[int, str]:
    return (action.at, action.action_id)
