"""Whatever is wrong with what a run is given: one clear message, its exit code, no traceback, and nothing lost."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fastavro
import pytest
from run_world import MINUTE, NOON, Record, Runs, assert_same, event, letters_of, write_events

from contracts import codec
from features.journey_features import FEATURE_NAMES, FEATURE_VERSION
from models.activations import Activations, write_activations
from models.bundle import MANIFEST_FILE, MODEL_FILE
from models.evaluation import Metrics
from pipelines.cli import main
from pipelines.config import SHIPPED
from transforms.stores.database import STORE_FILE
from transforms.stores.effects import open_effects

ROOT = Path(__file__).resolve().parents[2]
RECORDS: list[Record] = [
    event(f"{who}{i}", name, NOON + i * MINUTE, {"user_id": who})
    for who in ("ann", "ben", "cid", "dee")
    for i, name in enumerate(("home_view", "product_view", "pricing_view", "add_to_cart", "purchase"))
]


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """wayline run with these options, through the entry point, in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Said:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["run", *map(str, arguments)])
        out, err = capfd.readouterr()
        code = end.value.code
        return Said(code if isinstance(code, int) else 0, out, err)

    return call


@pytest.fixture(scope="module")
def good(make_runs: Callable[[str], Runs]) -> Runs:
    """A folder with a finished run."""
    runs = make_runs("good")
    runs.run(RECORDS)
    return runs


@pytest.fixture
def held(good: Runs, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    out = tmp_path / "held"
    shutil.copytree(good.out, out)
    return out


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return write_events(tmp_path / "events" / "events.avro", RECORDS)


def refused(said: Said, code: int, *words: str) -> None:
    """One message with these words, this exit code, no traceback."""
    assert said.code == code, said
    assert "Traceback" not in said.err + said.out
    assert said.err.count("error: ") == 1, said.err
    for word in words:
        assert word in said.err, said.err


def tables_of(out: Path) -> dict[str, bytes]:
    """Every part, log and view file with its bytes."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in ("tables", "log")
        for path in sorted((out / folder).rglob("*.parquet"))
    }


# --- input -------------------------------------------------------------------------------------------------------


def test_of_bad_files_what_can_be_read_is_read_and_the_rest_is_dead_letters(runs: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    write_events(folder / "a-good.avro", RECORDS[:5])
    schema = codec.without_logical_types(codec.raw_schema("event"))
    with (folder / "b-cut.avro").open("wb") as file:
        fastavro.writer(file, schema, RECORDS[5:15], codec="null", sync_interval=150)
    whole = (folder / "b-cut.avro").read_bytes()
    (folder / "b-cut.avro").write_bytes(whole[:-300])
    spoilt = bytearray(write_events(folder / "c-corrupt.avro", RECORDS[15:]).read_bytes())
    spoilt[-40:-20] = b"\xff" * 20
    (folder / "c-corrupt.avro").write_bytes(spoilt)
    (folder / "d-foreign.avro").write_bytes(b"PK\x03\x04 this is a zip")
    other = {"type": "record", "name": "other", "fields": [{"name": "x", "type": "int"}]}
    with (folder / "e-schema.avro").open("wb") as file:
        fastavro.writer(file, other, [{"x": 1}])
    report = runs.run_files(folder)
    assert report.total.missing == 0
    reasons = dict(runs.query("SELECT source, reason FROM dead_letters"))
    assert reasons["b-cut.avro"] == "truncated", "a truncated file gives its readable events"
    read = [int(row[0]) for row in runs.query("SELECT count(*) FROM events WHERE event_id[2:4] IN ('ben', 'cid')")]
    assert 3 < read[0] < 10
    assert reasons["c-corrupt.avro"] in ("corrupt_block", "undecodable", "truncated")
    assert reasons["d-foreign.avro"] == "not_avro"
    assert reasons["e-schema.avro"] == "incompatible_schema"
    assert runs.query("SELECT count(*) FROM events WHERE event_id LIKE 'eann%'") == [(5,)]
    assert runs.query("SELECT count(*) FROM events") == [(report.total.accepted,)]


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "is empty"), (b"PK\x03\x04 this is a zip", "not_avro"), (None, "incompatible_schema")],
    ids=["empty file", "foreign file", "wrong schema"],
)
def test_a_file_without_any_event_is_refused_and_nothing_is_lost(
    cli: Cli, held: Path, tmp_path: Path, content: bytes | None, word: str
) -> None:
    path = tmp_path / "bad.avro"
    if content is None:
        with path.open("wb") as file:
            fastavro.writer(file, {"type": "record", "name": "o", "fields": [{"name": "x", "type": "int"}]}, [{"x": 1}])
    else:
        path.write_bytes(content)
    before = tables_of(held)
    refused(cli("--input", path, "--out", held), 4, "bad.avro", word)
    assert tables_of(held) == before


def test_an_empty_folder_and_a_missing_one_are_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    refused(cli("--input", tmp_path / "nothing", "--out", tmp_path / "o"), 4, "holds no .avro file", "wayline import")
    refused(cli("--input", tmp_path / "absent", "--out", tmp_path / "o"), 4, "no such file or folder")
    assert not (tmp_path / "o").exists()


# --- output ------------------------------------------------------------------------------------------------------


def test_an_output_that_cannot_be_written_is_refused(cli: Cli, events: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    refused(cli("--input", events, "--out", tmp_path / "file" / "out"), 5, "cannot be written")
    refused(cli("--input", events, "--out", tmp_path / "file"), 5, "cannot be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere, so a read-only folder refuses nothing")
def test_a_read_only_output_is_refused(cli: Cli, events: Path, held: Path) -> None:
    held.chmod(0o555)
    try:
        refused(cli("--input", events, "--out", held), 5, "cannot be written")
    finally:
        held.chmod(0o755)


def test_a_folder_with_other_things_in_it_is_refused(cli: Cli, events: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("all my work", encoding="utf-8")
    refused(cli("--input", events, "--out", out), 5, "not empty", "thesis.tex")
    assert (out / "thesis.tex").read_text(encoding="utf-8") == "all my work"


@pytest.mark.parametrize("content", ['{"format": 0}', '{"format": 99}', "no json"], ids=["older", "newer", "damaged"])
def test_an_output_of_another_format_is_refused_and_nothing_is_lost(
    cli: Cli, events: Path, held: Path, content: str
) -> None:
    (held / "format.json").write_text(content, encoding="utf-8")
    before = tables_of(held)
    refused(cli("--input", events, "--out", held), 5, "format")
    assert tables_of(held) == before


def test_an_output_that_another_process_writes_is_refused(cli: Cli, events: Path, held: Path) -> None:
    before = tables_of(held)
    with Holder(f"import fcntl; f = open({str(held / '.lock')!r}); fcntl.flock(f, fcntl.LOCK_EX)"):
        refused(cli("--input", events, "--out", held), 7, "another process is writing")
    assert tables_of(held) == before


def test_a_locked_database_is_refused_and_nothing_is_lost(
    cli: Cli, events: Path, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_effects, "__defaults__", (0.3,))  # 30 s otherwise
    before = tables_of(held)
    database = str(held / "stores" / STORE_FILE)
    code = f"import sqlite3; c = sqlite3.connect({database!r}, isolation_level=None); "
    code += "c.execute('PRAGMA locking_mode = EXCLUSIVE'); c.execute('BEGIN EXCLUSIVE')"
    with Holder(code):
        refused(cli("--input", events, "--out", held), 7, STORE_FILE, "locked by another process")
    assert tables_of(held) == before


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_ours_in_a_worker_is_one_message_too(cli: Cli, events: Path, held: Path, workers: int) -> None:
    (held / "feast" / "online.db").write_bytes(b"not a database at all, but long enough to be one" * 100)
    before = tables_of(held)
    said = cli("--input", events, "--out", held, f"--workers={workers}")
    refused(said, 5, "online.db", "damaged, or no database")
    assert said.err.count("damaged, or no database") == 1, "the runner says it as well"
    assert tables_of(held) == before


def test_a_lost_key_is_asked_for_and_no_second_one_is_made(cli: Cli, events: Path, held: Path) -> None:
    for name in ("pseudonym", "dead_letter"):
        kept = (held / "keys" / f"{name}.key").read_bytes()
        (held / "keys" / f"{name}.key").unlink()
        refused(cli("--input", events, "--out", held), 3, "there is no", f"{name}.key", "restore")
        assert not (held / "keys" / f"{name}.key").exists()
        (held / "keys" / f"{name}.key").write_bytes(kept)


def test_a_damaged_database_is_refused_and_nothing_is_lost(cli: Cli, events: Path, held: Path) -> None:
    (held / "stores" / STORE_FILE).write_bytes(b"not a database at all, but long enough to be one" * 100)
    before = tables_of(held)
    refused(cli("--input", events, "--out", held), 5, STORE_FILE, "damaged, or no database")
    assert tables_of(held) == before


def test_a_damaged_part_of_the_log_is_refused_and_nothing_is_lost(cli: Cli, events: Path, held: Path) -> None:
    part = next((held / "log").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-50])
    before = tables_of(held)
    refused(cli("--input", events, "--out", held), 5, part.name)
    assert tables_of(held) == before


# --- configuration -----------------------------------------------------------------------------------------------


def _config(folder: Path, kind: str, text: str) -> Path:
    (folder / f"{kind}.yaml").write_text(text, encoding="utf-8")
    path = folder / "wayline.yaml"
    key = {"policy": "policies"}.get(kind, kind)
    path.write_text(f"{key}: {kind}.yaml\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "source", "change", "word"),
    [
        ("ontology", "journey.yaml", ("half_life:", "halflife:"), "half_life"),
        ("ontology", "journey.yaml", ("stages:", "stages: ["), "not valid YAML"),
        ("identity", "identity.yaml", ("owner: carry_visit", "owner: last_knwon"), "last_known"),
        ("policy", "policies/default.yaml", ("sessions >= 2", "sesions >= 2"), "sessions"),
    ],
    ids=["ontology misspelt", "ontology no YAML", "identity", "policy condition"],
)
def test_a_broken_definition_is_refused_with_file_and_line(
    cli: Cli, events: Path, tmp_path: Path, kind: str, source: str, change: tuple[str, str], word: str
) -> None:
    text = (SHIPPED / source).read_text(encoding="utf-8")
    assert change[0] in text
    config = _config(tmp_path, kind, text.replace(*change, 1))
    out = tmp_path / "o"
    said = cli("--input", events, "--out", out, "--config", config)
    refused(said, 3, f"{kind}.yaml:", word)
    assert not list(out.rglob("*.parquet"))


def test_a_broken_project_configuration_is_refused_with_file_and_line(cli: Cli, events: Path, tmp_path: Path) -> None:
    config = tmp_path / "wayline.yaml"
    config.write_text("lateness: 48h\nmatuirty: 7d\n", encoding="utf-8")
    refused(cli("--input", events, "--out", tmp_path / "o", "--config", config), 3, "wayline.yaml:2", "'maturity'")


def test_a_key_that_is_none_is_refused(cli: Cli, events: Path, tmp_path: Path) -> None:
    key = tmp_path / "my.key"
    key.write_text("hunter2", encoding="ascii")
    said = cli("--input", events, "--out", tmp_path / "o", "--pseudonym-key", key)
    refused(said, 3, "my.key", "openssl rand -hex 32")
    assert "hunter2" not in said.err


@pytest.mark.parametrize("option", ["--as-of=yesterday", "--workers=0", "--actions=maybe"])
def test_a_wrong_command_line_is_refused(cli: Cli, events: Path, tmp_path: Path, option: str) -> None:
    said = cli("--input", events, "--out", tmp_path / "o", option)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert option.split("=")[0] in said.err


# --- model -------------------------------------------------------------------------------------------------------


def test_a_model_bundle_with_a_wrong_hash_is_refused_and_nothing_is_lost(cli: Cli, events: Path, held: Path) -> None:
    bundle = held / "registry" / "bundles" / "stage-v1"
    bundle.mkdir(parents=True)
    (bundle / MODEL_FILE).write_bytes(b"not what was trained")
    (bundle / MANIFEST_FILE).write_text(json.dumps(_manifest("stage-v1")), encoding="utf-8")
    write_activations(held / "registry" / "champion.json", Activations().activated("stage-v1", 0, "test", 1))
    before = tables_of(held)
    refused(cli("--input", events, "--out", held), 6, "stage-v1", "SHA-256", "changed or damaged")
    assert tables_of(held) == before


def test_a_damaged_pointer_to_the_champion_is_refused(cli: Cli, events: Path, held: Path) -> None:
    (held / "registry").mkdir(exist_ok=True)
    (held / "registry" / "champion.json").write_text("{", encoding="utf-8")
    refused(cli("--input", events, "--out", held), 6, "champion.json is damaged")


def _manifest(version: str) -> dict[str, object]:
    """A manifest that is whole; its hash is that of nothing."""
    texts = ("algorithm", "feature_declaration", "feature_service", "ontology_version")
    numbers = ("window", "trained_until", "horizon")
    maps = ("rows", "libraries", "labels")
    empty = {"int": 0, "float": 0.0, "tuple[Bin, ...]": []}
    metrics = {field.name: empty.get(str(field.type), {}) for field in dataclasses.fields(Metrics)}
    return {
        **dict.fromkeys(texts, "x"),
        **dict.fromkeys(numbers, 0),
        **{name: {} for name in maps},
        "version": version,
        "sha256": "0" * 64,
        "stages": ["discovery", "consideration", "decision", "customer"],
        "features": list(FEATURE_NAMES[:3]),
        "feature_version": FEATURE_VERSION,
        "metrics": metrics,
        "champion": None,
        "smoke": {"vectors": [], "probabilities": []},
    }


# --- a run that is killed ----------------------------------------------------------------------------------------


class Holder:
    """A process that does something and holds on to it."""

    def __init__(self, code: str) -> None:
        script = f"import sys\n{code}\nprint('held', flush=True)\nsys.stdin.read()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def test_after_kill_9_in_the_middle_the_next_run_gives_the_same_tables(
    runs: Runs, dirty_run: Runs, dirty_world, config_file: Path
) -> None:
    half = len(dirty_world.records) // 2
    runs.run(dirty_world.records[:half])
    before = tables_of(runs.out)
    command = [sys.executable, "-m", "pipelines.cli", "run", "--input", str(dirty_world.events)]
    command += ["--out", str(runs.out), "--config", str(config_file), "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    staged = runs.out / "staging"
    deadline = time.monotonic() + 120
    # journeys are staged after decisions were claimed: the effect store is then ahead of the tables
    while not list(staged.glob("journeys/*.parquet")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert tables_of(runs.out) == before
    decided = sqlite3.connect(runs.out / "stores" / STORE_FILE)
    claimed = {row[0] for row in decided.execute("SELECT decision_id FROM decisions")}
    decided.close()
    runs.run_files(dirty_world.events)
    assert_same(runs.views(), dirty_run.views())
    assert letters_of(dirty_run) <= letters_of(runs)
    stated = {row[0] for row in runs.query("SELECT decision_id FROM decisions")}
    assert claimed <= stated, "what was decided before the end is told after it"
    assert runs.query("SELECT count(*) FROM actions") == [(len(stated),)]
