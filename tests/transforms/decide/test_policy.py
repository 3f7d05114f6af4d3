"""Policy files are checked before a run: what cannot be is refused with file and line."""

from __future__ import annotations

import contextlib
import pickle
import random
from pathlib import Path

import pytest

from contracts import documents
from contracts.errors import ConfigurationError
from features.journey_features import FEATURE_NAMES
from transforms.decide import policy
from transforms.decide.policy import PolicySet, load_policies, policy_vocabulary, read_policies
from transforms.decide.rules import OWN_VARIABLES
from transforms.journey.facts import FACTS

STAGES = ("discovery", "consideration", "decision", "customer")
VOCABULARY = policy_vocabulary(["events_7d"], {"carts": ("int", "carts"), "is_known": ("bool", "known")})
GOOD = """\
name: shop
channels: [email, sales]
candidates:
  - name: reminder
    stages: [decision]
    when: carts > 0 && stage != "customer" && consent["email"]
    action: email_reminder
    channel: email
    purpose: email
    cooldown: 3d
plans:
  - name: drip
    start: {to: consideration}
    steps:
      - {wait: 1d, action: first, channel: email, purpose: email}
"""


def read(text: str, *more: str, channels: tuple[str, ...] = ()) -> PolicySet:
    texts = (text, *more)
    roots = [documents.parse(item, f"p{index}.yaml") for index, item in enumerate(texts)]
    return read_policies(roots, VOCABULARY, STAGES, channels)


def refused(old: str, new: str, text: str = GOOD) -> ConfigurationError:
    assert old in text
    with pytest.raises(ConfigurationError) as caught:
        read(text.replace(old, new, 1))
    return caught.value


def test_a_good_file_is_read() -> None:
    policies = read(GOOD)
    assert policies.version.startswith("shop@")
    assert policies.slots == ("main",)
    assert policies.candidates[0].on == ("transition", "session")
    assert policies.plans[0].exit_on_move
    assert policies.plans[0].steps[0].rule.name == "drip.step_0"


@pytest.mark.parametrize(
    ("old", "new", "line", "hint"),
    [
        ("stages: [decision]", "stages: [desicion]", 5, "decision"),
        ("stages: [decision]", "stags: [decision]", 5, "stages"),
        ("channel: email", "channel: emial", 8, "email"),
        ("purpose: email", "purpose: e_mail", 9, "email"),
        ("carts > 0", "cart > 0", 6, "carts"),
        ('"customer"', '"custmer"', 6, "customer"),
        ('consent["email"]', 'consent["mail"]', 6, "email"),
        ("start: {to: consideration}", "start: {to: considerate}", 13, "consideration"),
        ("cooldown: 3d", "cooldwn: 3d", 10, "cooldown"),
    ],
)
def test_a_misspelt_word_is_refused_with_its_line_and_the_nearest_known_one(
    old: str, new: str, line: int, hint: str
) -> None:
    error = refused(old, new)
    assert error.line == line
    assert error.hint == f"did you mean {hint!r}?"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("carts > 0", "carts > 0.5", "no matching overload"),
        ("cooldown: 3d", "cooldown: 3", "must be a non-empty text"),
        ("cooldown: 3d", "cooldown: three days", "no duration"),
        ("cooldown: 3d", "on: [click]", "none of transition, session, step"),
        ("cooldown: 3d", "priority: high", "must be a number"),
        ("name: reminder", "name: nothing", "taken by a word of the language"),
        ("name: reminder", "name: drip", "is taken by p0.yaml:4"),
        ("name: reminder", "name: Reminder!", "small letters"),
        ("    purpose: email\n", "", "needs 'purpose'"),
        ("steps:\n      - {wait: 1d, action: first, channel: email, purpose: email}", "steps: []", "at least one step"),
        ("name: shop\n", "", "needs 'name'"),
    ],
)
def test_what_cannot_be_is_refused(old: str, new: str, complaint: str) -> None:
    assert complaint in str(refused(old, new))


def test_a_channel_that_is_not_set_up_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"p0.yaml:2: .*channel 'sales' is unknown"):
        read(GOOD, channels=("email", "ads"))


def test_no_file_and_an_empty_policy_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no policy file"):
        read_policies([], VOCABULARY, STAGES)
    with pytest.raises(ConfigurationError, match="needs candidates or plans"):
        read("name: empty\n")


SECOND = """\
name: alerts
slots: [main, team]
consent: {sales: granted}
holdout: {share: 0.1}
caps:
  - {name: daily, max: 1, per: 1d}
candidates:
  - {name: alert, slot: team, action: call, channel: sales, purpose: sales}
"""


def test_files_add_up_whatever_their_order() -> None:
    first, second = read(GOOD, SECOND), read(SECOND, GOOD)
    assert first == second
    assert first.version.startswith("alerts+shop@")
    assert [rule.name for rule in first.candidates] == ["alert", "reminder"]
    assert first.slots == ("main", "team")
    assert first.caps[0].channels == {"email", "sales"}
    assert first.granted == {"sales"}
    assert (first.holdout, first.holdout_salt) == (0.1, "alerts")


def test_files_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="another policy file has a holdout"):
        read(SECOND, GOOD + "holdout: {share: 0.2}\n")
    with pytest.raises(ConfigurationError, match="says the opposite"):
        read(SECOND, GOOD + "consent: {sales: denied}\n")
    with pytest.raises(ConfigurationError, match="two policy files are named"):
        read(GOOD, GOOD)
    with pytest.raises(ConfigurationError, match=r"'reminder' is taken by p\d.yaml"):
        read(GOOD, GOOD.replace("name: shop", "name: other"))


def test_the_version_follows_the_content_and_nothing_else() -> None:
    assert read(GOOD).version == read("# a comment\n" + GOOD).version
    assert read(GOOD).version != read(GOOD.replace("3d", "4d")).version


def test_policies_travel_to_a_worker() -> None:
    policies = read(GOOD, SECOND)
    policies.asked["something"] = object()
    copy: PolicySet = pickle.loads(pickle.dumps(policies))  # noqa: S301
    assert copy == policies
    assert copy.asked == {}


def test_the_guide_names_every_key_variable_and_reason() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "policies.md").read_text(encoding="utf-8")
    keys = {*policy.ROOT_KEYS, *policy.CANDIDATE_KEYS, *policy.PLAN_KEYS, *policy.STEP_KEYS}
    reasons = {"not_eligible", "consent", "suppressed", "cooldown", "cap", "holdout", "outranked"}
    missing = [word for word in sorted(keys | set(OWN_VARIABLES) | reasons) if f"`{word}`" not in guide]
    assert missing == []


def test_the_shipped_policy_is_good() -> None:
    shipped = Path(__file__).parents[3] / "ontology" / "policies" / "default.yaml"
    policies = load_policies([shipped], policy_vocabulary(FEATURE_NAMES, FACTS), STAGES)
    assert {plan.name for plan in policies.plans} == {"consideration_drip", "onboarding"}
    assert {rule.channel for rule in policies.candidates} == {"ads", "email", "push", "sales"}


def test_no_damage_to_the_shipped_policy_escapes_as_another_error() -> None:
    shipped = Path(__file__).parents[3] / "ontology" / "policies" / "default.yaml"
    text = shipped.read_text(encoding="utf-8")
    vocabulary = policy_vocabulary(FEATURE_NAMES, FACTS)
    chance = random.Random(7)
    for _ in range(60):
        at = chance.randrange(len(text))
        damaged = text[:at] + chance.choice(["", ":", "[", "- ", '"', "\n", "0", "{", "\t"]) + text[at + 3 :]
        with contextlib.suppress(ConfigurationError):
            read_policies([documents.parse(damaged, "p.yaml")], vocabulary, STAGES)
