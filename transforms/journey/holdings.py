"""Holdings: which strands a person holds, and when, where a strand belongs to several persons in turn.

Pure. A strand of a device that is carried forward is one person's in some stretches of event time and another's in
others (``StrandRecord.spans``). What was decided under it follows the stretch in which its anchor event happened, not
the one it was decided in: a plan that began in a person's stretch goes on in the next person's, and is the first one's.
So of two persons neither sees what is decided about the other, whoever is decided first. Times: UTC microseconds of
event time, stretches without their end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from contracts.exchange import MAX_TIME, History, StrandRecord
from transforms.stores.effects import Standing

Spans = tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Holdings:
    """The strands of one person; ``partial`` has the stretches of those that are not wholly the person's."""

    strands: set[str] = field(default_factory=set)
    partial: dict[str, Spans] = field(default_factory=dict)

    def add(self, record: StrandRecord) -> None:
        self.strands.add(record.strand_id)
        if record.spans:
            self.partial[record.strand_id] = record.spans

    @property
    def current(self) -> tuple[str, ...]:
        """The strands whose next event would be the person's."""
        return tuple(sorted(s for s in self.strands if s not in self.partial or self.partial[s][-1][1] == MAX_TIME))

    @property
    def since(self) -> dict[str, int]:
        """From when on the person has those of ``current`` that were others' before."""
        return {s: self.partial[s][-1][0] for s in self.current if s in self.partial}

    @property
    def until(self) -> dict[str, int]:
        """The other strands, and from when on they are another's."""
        return {s: spans[-1][1] for s, spans in self.partial.items() if spans[-1][1] != MAX_TIME}

    def standing(self, person_id: str, at: int, consent: dict[str, bool]) -> Standing:
        """The person's standing as of ``at``."""
        return Standing(person_id, self.current, at, consent, self.since, self.until)

    def own(self, history: History) -> History:
        """The part of a history of these strands that lies in the person's stretches."""
        if not self.partial:
            return history
        decisions = tuple(d for d in history.decisions if self._holds(d.anchor_strand, d.held_at))
        kept = {d.decision_id for d in decisions}
        actions = tuple(a for a in history.actions if a.anchor_strand not in self.partial or a.decision_id in kept)
        return History(max((d.at for d in decisions), default=None), decisions, actions)

    def _holds(self, strand: str, at: int) -> bool:
        spans = self.partial.get(strand)
        return spans is None or any(start <= at < before for start, before in spans)


def apart(holdings: Mapping[str, Holdings]) -> Iterable[dict[str, set[str]]]:
    """The strands of persons, in groups in which no strand is held twice; usually one group."""
    groups: list[dict[str, set[str]]] = [{}]
    taken: list[set[str]] = [set()]
    for person, held in holdings.items():
        for group, strands in zip(groups, taken, strict=True):
            if not held.partial or strands.isdisjoint(held.strands):
                group[person] = held.strands
                strands |= held.strands
                break
        else:
            groups.append({person: held.strands})
            taken.append(set(held.strands))
    return groups
