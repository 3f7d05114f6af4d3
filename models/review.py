"""The monthly audit: which journeys a person looks at, and what their labels say. Pure.

**Draw.** Journeys are parted into strata by stage, by who spoke (rules or model) and by how sure the answer was. Each
stratum gets one place, then places go in proportion to size (largest remainders); within a stratum a seeded hash
chooses, so the same journeys and seed give the same sample in any order.

**Accuracy.** Each sampled journey stands for ``stratum size / sampled and labelled of the stratum`` journeys. The
estimate is the weighted share of right ones. Its interval is Wilson's (1927) for a share, with Kish's (1965) effective
sample size ``(sum w)^2 / sum w^2`` in place of the number of labels: unequal weights make a sample tell less.

Units: times in UTC microseconds of event time. Errors: ValueError for a request that makes no sense. State: none.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BANDS = (0.6, 0.8)
"""Confidence below the first is low, from the second on high."""
BAND_NAMES = ("low", "middle", "high")
BAND_LIMITS = (f"below {BANDS[0]:g}", f"up to {BANDS[1]:g}", f"from {BANDS[1]:g} on")
"""What the names of bands mean, in words."""
_Z = 1.959963984540054
"""Of a 95 % interval."""

UNSURE = "unsure"
"""Instead of a stage: the reviewer cannot tell. It counts in no accuracy and trains nothing."""


@dataclass(frozen=True, slots=True)
class Journey:
    """A journey that may be drawn.

    Attributes:
        person_id: whose.
        at: the latest evaluation point up to the horizon; a label is about the stage then.
        revision: of its row in ``journeys``.
        stage, confidence, decided_by: what the pipeline says.
        ontology_version, model_version: what it says it by.
    """

    person_id: str
    at: int
    revision: int
    stage: str
    confidence: float
    decided_by: str
    ontology_version: str
    model_version: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One drawn journey. ``stratum_size``: journeys of its stratum when it was drawn."""

    sample_id: str
    draw_id: str
    stratum: str
    stratum_size: int
    journey: Journey


@dataclass(frozen=True, slots=True)
class Label:
    """What a person said of a sample; ``stage`` may be ``UNSURE``. ``labelled_at``: wall time."""

    sample_id: str
    stage: str
    who: str
    labelled_at: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A weighted share with its 95 % interval, of ``labels`` labels."""

    share: float
    low: float
    high: float
    labels: int


@dataclass(frozen=True)
class Audit:
    """What the labels of a draw say.

    Attributes:
        drawn, labelled, unsure, disputed: samples; disputed ones have labels of several stages.
        journeys, counted: how many were drawn from, and of those how many are in a stratum with a labelled one: of the
            others the estimates say nothing.
        overall: accuracy; None without a label.
        by_stage, by_speaker, by_band: the same within the answers of one kind.
        confusion: (said, labelled) to samples, unweighted.
        wrong, right: the samples with their label.
    """

    drawn: int
    labelled: int
    unsure: int
    disputed: int
    journeys: int
    counted: int
    overall: Estimate | None
    by_stage: dict[str, Estimate]
    by_speaker: dict[str, Estimate]
    by_band: dict[str, Estimate]
    confusion: dict[tuple[str, str], int]
    wrong: tuple[tuple[Sample, str], ...]
    right: tuple[tuple[Sample, str], ...]


def band(confidence: float) -> str:
    """The name of the band that a confidence lies in."""
    return BAND_NAMES[(confidence >= BANDS[0]) + (confidence >= BANDS[1])]


def stratum_of(journey: Journey) -> str:
    """The stratum's name: stage, speaker and band of confidence."""
    return f"{journey.stage}/{journey.decided_by}/{band(journey.confidence)}"


def draw(journeys: Iterable[Journey], size: int, seed: int) -> list[Sample]:
    """A stratified sample, in an order that shows no stratum before another.

    Args:
        journeys: in any order.
        size: samples wanted; all journeys when there are fewer. More than ``size`` when there are more strata.
        seed: another one gives another sample.

    Raises:
        ValueError: there is no journey, or ``size`` is below 1.
    """
    strata: dict[str, list[Journey]] = defaultdict(list)
    for journey in journeys:
        strata[stratum_of(journey)].append(journey)
    if not strata or size < 1:
        raise ValueError("a draw needs journeys and a size of at least 1")
    every = sorted((j.person_id, j.at, j.revision) for found in strata.values() for j in found)
    draw_id = _digest(f"{seed} {size} {every}")[:12]
    places = _places({name: len(found) for name, found in strata.items()}, size)
    samples: list[Sample] = []
    for name, found in sorted(strata.items()):
        found.sort(key=lambda journey: _digest(f"{seed} {journey.person_id} {journey.at}"))
        for journey in found[: places[name]]:
            sample_id = _digest(f"{draw_id} {journey.person_id}")[:16]
            samples.append(Sample(sample_id, draw_id, name, len(found), journey))
    return sorted(samples, key=lambda sample: _digest(f"order {seed} {sample.sample_id}"))


def _places(sizes: Mapping[str, int], wanted: int) -> dict[str, int]:
    """Places of each stratum: one each, the rest by size and largest remainder, never more than there are."""
    places = dict.fromkeys(sizes, 1)
    whole = sum(sizes.values())
    left = min(wanted, whole) - len(sizes)
    while left > 0:
        open_ones = {name: size for name, size in sizes.items() if places[name] < size}
        # the stratum that lacks most of its due share comes next; ties go by name
        name = max(sorted(open_ones), key=lambda one: sizes[one] * min(wanted, whole) / whole - places[one])
        places[name] += 1
        left -= 1
    return places


def settled(labels: Sequence[Label]) -> tuple[str | None, bool]:
    """What the labels of one sample come to, and whether they differ.

    A reviewer's latest counts. Of several reviewers the stage that most say, ``UNSURE`` aside; of a tie the one said
    last. None without a label.
    """
    latest: dict[str, Label] = {}
    for label in sorted(labels, key=lambda one: one.labelled_at):
        latest.pop(label.who, None)
        latest[label.who] = label
    if not latest:
        return None, False
    stages = [label.stage for label in latest.values() if label.stage != UNSURE]
    if not stages:
        return UNSURE, False
    counts = Counter(stages)
    most = max(counts.values())
    winner = next(stage for stage in reversed(stages) if counts[stage] == most)
    return winner, len(counts) > 1


def audit(samples: Sequence[Sample], labels: Sequence[Label]) -> Audit:
    """What the labels say of the pipeline's answers. Labels of other samples are left out."""
    by_sample: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        by_sample[label.sample_id].append(label)
    told: list[tuple[Sample, str]] = []
    unsure = disputed = 0
    for sample in samples:
        stage, differs = settled(by_sample.get(sample.sample_id, []))
        disputed += differs
        if stage == UNSURE:
            unsure += 1
        elif stage is not None:
            told.append((sample, stage))
    in_stratum = Counter((sample.draw_id, sample.stratum) for sample, _ in told)
    sizes = {(sample.draw_id, sample.stratum): sample.stratum_size for sample in samples}
    weighted = [
        (sample, stage, sample.stratum_size / in_stratum[sample.draw_id, sample.stratum]) for sample, stage in told
    ]

    def of(chosen: Iterable[tuple[Sample, str, float]]) -> Estimate:
        return estimate([(sample.journey.stage == stage, weight) for sample, stage, weight in chosen])

    def by(keys: Mapping[str, str]) -> dict[str, Estimate]:
        groups: dict[str, list[tuple[Sample, str, float]]] = defaultdict(list)
        for item in weighted:
            groups[keys[item[0].sample_id]].append(item)
        return {key: of(items) for key, items in sorted(groups.items())}

    return Audit(
        drawn=len(samples),
        labelled=len(told),
        unsure=unsure,
        disputed=disputed,
        journeys=sum(sizes.values()),
        counted=sum(sizes[stratum] for stratum in in_stratum),
        overall=of(weighted) if weighted else None,
        by_stage=by({sample.sample_id: sample.journey.stage for sample, _ in told}),
        by_speaker=by({sample.sample_id: sample.journey.decided_by for sample, _ in told}),
        by_band=by({sample.sample_id: band(sample.journey.confidence) for sample, _ in told}),
        confusion=dict(Counter((sample.journey.stage, stage) for sample, stage in told)),
        wrong=tuple((sample, stage) for sample, stage in told if sample.journey.stage != stage),
        right=tuple((sample, stage) for sample, stage in told if sample.journey.stage == stage),
    )


def estimate(rows: Sequence[tuple[bool, float]]) -> Estimate:
    """The weighted share of right rows, with Wilson's interval over Kish's size. Raises ValueError for none."""
    if not rows:
        raise ValueError("an estimate needs at least one label")
    weights = [weight for _, weight in rows]
    whole = math.fsum(weights)
    share = math.fsum(weight for right, weight in rows if right) / whole
    n = whole * whole / math.fsum(weight * weight for weight in weights)
    centre = (share + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    half = _Z / (1 + _Z * _Z / n) * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), len(rows))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16, person=b"wayline-review").hexdigest()
