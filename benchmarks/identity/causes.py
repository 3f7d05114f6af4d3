"""Why an event is not with its person: each error has exactly one cause, and a cause says whether it could be avoided.

Pure. An error is an event that is not in the main predicted person of its true person (``agreement.by_event``). Whether
it could be avoided depends on the events alone (``assigned.reach``), never on the rules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.identity.agreement import Attribution, Bools, Ints
from benchmarks.identity.assigned import Reach, Scene, known_on


@dataclass(frozen=True)
class Cause:
    """``meaning`` completes "The event …"; ``argument`` says why no rule can, or what a rule would have to do."""

    name: str
    unavoidable: bool
    meaning: str
    argument: str


CAUSES = (
    Cause(
        "cookie_never_named",
        True,
        "is on a cookie or app that only its person uses, and that was cleared or left without any login",
        "nothing on it names anybody, so it would look the same had a stranger used it",
    ),
    Cause(
        "person_never_named",
        True,
        "is of a person who never gives a login, a contact or a record, on one of several cookies",
        "two cookies without a name are two strangers as well as one person",
    ),
    Cause(
        "contact_never_tied",
        True,
        "carries a phone number, e-mail, record or login that nothing ties to the greater part of its person",
        "no event says that both are one person's",
    ),
    Cause(
        "name_of_several",
        True,
        "names a login or contact that several persons use, in a visit that says no more",
        "the name is all there is, and it is as much the other one's",
    ),
    Cause(
        "guest_never_named",
        True,
        "is on a device of several people, by one of them who is never named on it",
        "nothing says that this person was ever there",
    ),
    Cause(
        "quiet_visit",
        True,
        "is on a device of several people, in a visit (or alone) that names nobody",
        "each of them could have made the visit; a rule may guess, and guesses right as often as habit goes",
    ),
    Cause(
        "public_quiet",
        True,
        "is on a public device, in a visit that names nobody",
        "any passer-by could have made it",
    ),
    Cause(
        "unnamed_part_of_visit",
        False,
        "is on a device of several people, in a visit that names its person, but names nobody itself",
        "a rule that looks at the login within the visit gets it right",
    ),
    Cause(
        "public_unnamed_part",
        False,
        "is on a public device, in a visit that names its person, but names nobody itself",
        "a rule that looks at the login within the visit gets it right",
    ),
    Cause(
        "wrongly_united",
        False,
        "can be told from its identifiers, but its person was united with somebody else",
        "a link was believed that should not have been",
    ),
    Cause(
        "left_apart",
        False,
        "can be told from its identifiers, but stands in a person of its own",
        "a link was refused, or not believed, that should have been",
    ),
)
_NUMBER = {cause.name: number for number, cause in enumerate(CAUSES)}


def causes_of(scene: Scene, reach: Reach, predicted: Ints, attribution: Attribution, public_after: int) -> Ints:
    """The number of each event's cause in ``CAUSES``; -1 for an event that is with its person.

    Args:
        scene: the events.
        reach: what can be known about them.
        predicted: whom they were given to.
        attribution: ``by_event`` of the true and predicted persons.
        public_after: a device that more people use is called public here.
    """
    wrong = np.flatnonzero(attribution.main[scene.person] != predicted)
    places, place = scene.places, scene.place
    primary = places.primary[place]
    anybody, itself = known_on(scene, primary)
    named_person = np.zeros(scene.persons, dtype=np.bool_)
    named_person[scene.person[places.login[place] >= 0]] = True

    login = places.login[place][wrong]
    unnamed = login < 0
    users = reach.holders[primary][wrong]
    shared, public = unnamed & (users > 1), unnamed & (users > public_after)
    of_several = ~unnamed & (reach.holders[np.maximum(login, 0)] > 1)
    foreign = attribution.owner[predicted[wrong]] != scene.person[wrong]
    known = reach.attributable[wrong]
    conditions: tuple[tuple[str, Bools], ...] = (
        ("public_unnamed_part", known & public),
        ("unnamed_part_of_visit", known & shared),
        ("wrongly_united", known & foreign),
        ("left_apart", known),
        ("public_quiet", public),
        ("guest_never_named", shared & ~itself[wrong]),
        ("quiet_visit", shared),
        ("name_of_several", of_several),
        ("person_never_named", ~named_person[scene.person[wrong]]),
        ("cookie_never_named", unnamed & ~anybody[wrong]),
    )
    chosen = np.select(
        [condition for _, condition in conditions],
        [_NUMBER[name] for name, _ in conditions],
        default=_NUMBER["contact_never_tied"],
    )
    causes = np.full(len(scene), -1, dtype=np.int64)
    causes[wrong] = chosen
    return causes
