"""The tree says the same as the design: imports run one way, pure cores know no engine, nothing unpickles."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "contracts",
    "pipelines",
    "transforms",
    "features",
    "models",
    "ontology",
    "sources",
    "reports",
    "benchmarks",
)

ALLOWED = {
    "contracts": {"contracts"},
    "features": {"contracts", "features", "transforms"},
    "models": {"contracts", "features", "models", "transforms"},
    "transforms": {"contracts", "transforms", "features", "models"},
    "sources": {"contracts", "sources", "transforms"},
    "reports": {"contracts", "reports", "transforms", "features", "models"},
    "pipelines": {"contracts", "pipelines", "transforms", "features", "models", "sources", "reports"},
    "benchmarks": {"contracts", "pipelines", "transforms", "features", "models", "sources", "reports", "benchmarks"},
}
"""Who may import whom: pipelines on top, contracts at the bottom."""

PURE = (
    "benchmarks/identity/agreement.py",
    "benchmarks/identity/assigned.py",
    "benchmarks/identity/causes.py",
    "contracts/event.py",
    "contracts/exchange.py",
    "contracts/wire.py",
    "contracts/codec.py",
    "contracts/documents.py",
    "contracts/tables.py",
    "features/journey_features.py",
    "features/counters.py",
    "features/state.py",
    "features/turning.py",
    "models/review.py",
    "models/target.py",
    "pipelines/scenarios/*.py",
    "reports/audit/*.py",
    "sources/importer/[!cr]*.py",
    "sources/importer/conditions.py",
    "sources/importer/rows.py",
    "transforms/actor/archives.py",
    "transforms/actor/core.py",
    "transforms/actor/segments.py",
    "transforms/actor/packing.py",
    "transforms/avro_json.py",
    "transforms/conditions.py",
    "transforms/decide/*.py",
    "transforms/identity/*.py",
    "transforms/journey/behaviours.py",
    "transforms/journey/check/*.py",
    "transforms/journey/facts.py",
    "transforms/journey/ontology.py",
    "transforms/journey/sessions.py",
    "transforms/journey/signals.py",
    "transforms/journey/stages.py",
    "transforms/journey/fold.py",
    "transforms/journey/live/*.py",
    "transforms/payloads.py",
    "transforms/schema_registry.py",
)
"""Cores that know neither Beam nor a client of any service."""

CLIENTS = {"apache_beam", "feast", "mlflow", "duckdb", "sqlite3", "google", "great_expectations", "http", "requests"}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        top = name.split(".")[0]
        if top in PACKAGES:
            assert top in ALLOWED[package], f"{path.relative_to(ROOT)} imports {name}"


def test_only_evaluation_reads_the_truth_of_a_world() -> None:
    says_where_it_is = ROOT / "pipelines" / "commands" / "simulate.py"
    for path in modules():
        if path != says_where_it_is and path.relative_to(ROOT).parts[0] not in ("sources", "benchmarks"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"""["'/]truth["'/]|true_person_id|true_stage""", text), path.relative_to(ROOT)


def test_pure_cores_import_no_engine_and_no_client() -> None:
    found = [path for pattern in PURE for path in ROOT.glob(pattern)]
    assert len(found) >= len(PURE)
    for path in found:
        touched = {name.split(".")[0] for name in imports(path)} & CLIENTS
        assert not touched, f"{path.relative_to(ROOT)} imports {', '.join(sorted(touched))}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_unpickles_and_no_core_reads_the_clock(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\bpickle\.loads?\(|joblib\.load\(|torch\.load\(", text)
    # the act stage stamps what it really sends in a stream; its rules take that clock as an argument
    edge = path == ROOT / "transforms" / "act.py"
    if not edge and path.relative_to(ROOT).parts[0] in ("transforms", "features", "models", "contracts"):
        assert not re.search(r"datetime\.now\(|time\.time\(\)|utcnow\(|time\.time_ns\(\)", text)


def test_modules_stay_readable() -> None:
    # every element of the graph in one file, in the order of the way: a reader looks there for each of them
    reasoned = {"contracts/exchange.py"}
    long = {str(p.relative_to(ROOT)): n for p in modules() if (n := len(p.read_text().splitlines())) > 420}
    assert set(long) <= reasoned, f"split them, or state the reason here: {long}"


def test_no_module_is_a_drawer() -> None:
    assert not [p for p in modules() if p.stem in {"utils", "helpers", "common", "misc"}]


def test_command_modules_import_nothing_heavy() -> None:
    heavy = {"apache_beam", "pandas", "sklearn", "feast", "mlflow", "great_expectations", "duckdb", "pyarrow", "numpy"}
    for path in [*sorted((ROOT / "pipelines" / "commands").glob("*.py")), ROOT / "pipelines" / "cli.py"]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module for n in top if isinstance(n, ast.ImportFrom) and n.module}
        assert not {name.split(".")[0] for name in names} & heavy, path


def test_the_interpreter_is_a_supported_one() -> None:
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)
