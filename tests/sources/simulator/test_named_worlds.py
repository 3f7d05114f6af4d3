"""The worlds for measuring identity say what their names promise, and leave the default world as it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from contracts.errors import UsageError
from pipelines.commands.simulate import command
from sources.simulator.config import WORLDS, Segment, WorldConfig, load_world
from sources.simulator.life import Life, live
from sources.simulator.world import simulate

DAYS, CUSTOMERS = 20, 600


def lives(name: str) -> list[Life]:
    config = WorldConfig(**{**WORLDS[name], "customers": CUSTOMERS, "days": DAYS, "seed": 4})
    return [live(config, chunk, 0, Segment(config.start, config.end)) for chunk in range(config.chunks)]


def users(life: Life) -> np.ndarray:
    """How many people use each device that is used."""
    on_device = life.draft.device >= 0
    pairs = np.unique(np.stack([life.draft.device[on_device], life.draft.person[on_device]]), axis=1)
    return np.unique(pairs[0], return_counts=True)[1]


@pytest.mark.parametrize("name", ["clean", "shared", "quiet"])
def test_every_device_identifier_and_every_contact_is_named_beside_a_login(name: str) -> None:
    for life in lives(name):
        draft, people = life.draft, life.people
        on_device = draft.device >= 0
        codes = people.devices.identifier_codes(draft.device[on_device], draft.at[on_device])
        assert set(codes.tolist()) == set(codes[draft.login[on_device]].tolist())
        for contact in (draft.email, draft.phone, draft.crm):
            assert contact.any()
            assert set(draft.person[contact].tolist()) == set(draft.person[contact & draft.login].tolist())


@pytest.mark.parametrize("name", ["clean", "shared"])
def test_nobody_logs_in_before_the_account_exists(name: str) -> None:
    for life in lives(name):
        logins = life.draft.login
        assert (life.draft.at[logins] >= life.people.account_at[life.draft.person[logins]]).all()


def test_no_device_is_shared_in_a_clean_world() -> None:
    for life in lives("clean"):
        assert users(life).max() == 1


def test_cookies_are_still_cleared_in_a_clean_world() -> None:
    draft, people = lives("clean")[0].draft, lives("clean")[0].people
    on_device = draft.device >= 0
    codes = people.devices.identifier_codes(draft.device[on_device], draft.at[on_device])
    assert len(np.unique(codes)) > 1.02 * len(np.unique(draft.device[on_device]))


@pytest.mark.parametrize("name", ["shared", "quiet"])
def test_one_device_in_twenty_has_two_users(name: str) -> None:
    counts = np.concatenate([users(life) for life in lives(name)])
    assert (counts > 1).mean() == pytest.approx(0.05, abs=0.002)
    assert counts.max() == 2


def test_settings_that_were_not_made_leave_no_trace(tmp_path: Path) -> None:
    """A default world has the bytes it had before these settings existed, its description included."""
    config = WorldConfig(customers=30, days=6, seed=5)
    simulate(config, tmp_path / "default")
    written = json.loads((tmp_path / "default" / "world.json").read_text())["config"]
    assert not {"account_share", "login_share", "device_sharing", "every_device_logs_in"} & set(written)
    assert load_world(tmp_path / "default").config == config
    simulate(replace(config, device_sharing=0.0), tmp_path / "spelt")
    for part in sorted((tmp_path / "default" / "events").iterdir()):
        other = tmp_path / "spelt" / "events" / part.name
        assert hashlib.sha256(part.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()


def test_a_named_world_is_read_back_as_it_was(tmp_path: Path) -> None:
    config = WorldConfig(**{**WORLDS["quiet"], "customers": 20, "days": 4})
    simulate(config, tmp_path)
    assert load_world(tmp_path).config == config


def test_options_win_over_the_named_world(tmp_path: Path) -> None:
    arguments = ["--world=shared", "--device-sharing=0.2", "--customers=30", "--days=4", f"--out={tmp_path}"]
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
    expected = {**WORLDS["shared"], "device_sharing": 0.2, "customers": 30, "days": 4}
    assert load_world(tmp_path).config == WorldConfig(**expected)


@pytest.mark.parametrize("change", [{"login_share": 1.5}, {"device_sharing": -0.1}, {"account_share": 2.0}])
def test_impossible_shares_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        WorldConfig(**change)  # type: ignore[arg-type]
