"""Where the tables of a stream go: parts in OUT, and, if it was asked for, upserts in BigQuery beside them.

Input: what the user asked of ``wayline stream``. Output: ``BigQueryTables``, or none. Errors: ``UsageError``, before
anything is read, for what cannot work.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import UsageError
from transforms.stores.database import StoreAddress

FILES, BIGQUERY = "files", "bigquery"
DIRECT, DATAFLOW = "DirectRunner", "DataflowRunner"

WORKER_CODE = frozenset({"sdk_container_image", "setup_file", "extra_package", "extra_packages"})
"""Beam's options by which workers elsewhere get code."""
_DATASET = re.compile(r"([a-z][a-z0-9.:-]{4,61}[a-z0-9])\.([A-Za-z0-9_]{1,1024})")
_CONNECTOR = re.compile(r"[A-Za-z0-9.-]+:\d{1,5}")


@dataclass(frozen=True)
class BigQueryTables:
    """A dataset that ``infra/bigquery`` made. ``connector``: address of a running one; None: Beam's own is started."""

    project: str
    dataset: str
    connector: str | None = None


def bigquery_tables(
    tables: str, dataset: str | None, connector: str | None, runner: str, stores: StoreAddress
) -> BigQueryTables | None:
    """What was asked for, found to fit the engine.

    Args:
        tables: ``FILES`` or ``BIGQUERY``.
        dataset: ``PROJECT.DATASET``.
        connector: ``HOST:PORT``.
        runner: the engine's name.
        stores: the database of the stores.
    """
    if tables == FILES:
        if dataset is not None or connector is not None:
            raise UsageError(
                "--bigquery-dataset and --bigquery-connector are for --tables bigquery", hint="add --tables bigquery"
            )
        if runner == DATAFLOW:
            raise UsageError(
                "on Dataflow workers have no folder in common, so --tables files cannot be written",
                hint="give --tables bigquery --bigquery-dataset PROJECT.DATASET",
            )
        return None
    if dataset is None:
        raise UsageError("--tables bigquery needs a dataset", hint="give --bigquery-dataset PROJECT.DATASET")
    found = _DATASET.fullmatch(dataset)
    if found is None:
        raise UsageError(f"--bigquery-dataset {dataset} is no PROJECT.DATASET", hint="for example acme-prod.wayline")
    if connector is not None and not _CONNECTOR.fullmatch(connector):
        raise UsageError(f"--bigquery-connector {connector} is no HOST:PORT", hint="leave it: Beam's own is started")
    if runner == DIRECT:
        raise UsageError(
            "the direct runner cannot run Beam's BigQuery connector, which is written in Java",
            hint="take --runner flink, or leave --tables",
        )
    if runner == DATAFLOW and stores.postgres is None:
        raise UsageError(
            "on Dataflow workers have no folder in common, so the stores cannot be a file in OUT",
            hint="name a PostgreSQL database in the project configuration: store: {postgres: {env: NAME}}",
        )
    return BigQueryTables(found[1], found[2], connector)


def is_dry_run(beam: Sequence[str]) -> bool:
    """Whether Beam's options ask to build the job and not to run it. Beam takes any value for yes."""
    return any(option.startswith("--dry_run=") for option in beam)


def check_dataflow(runner: str, beam: Sequence[str], *, from_files: bool = False, online_in_out: bool = True) -> None:
    """Refuse what Dataflow could not do, and name all that a job there would lack.

    Args:
        runner: the engine's name.
        beam: Beam's options.
        from_files: the source is files and not Pub/Sub.
        online_in_out: the online features are in OUT and not in a Redis server.

    Raises:
        UsageError: the job is to be run there.
    """
    if runner != DATAFLOW or is_dry_run(beam):
        return
    given = {option.removeprefix("--").partition("=")[0]: option.partition("=")[2] for option in beam}
    lacking = [f"--{name}" for name in ("project", "region") if not given.get(name)]
    if not given.get("temp_location", "").startswith("gs://"):
        lacking.append("--temp_location=gs://BUCKET/FOLDER")
    if not given.keys() & WORKER_CODE:
        lacking.append("Wayline in its workers (--sdk_container_image or --setup_file)")
    if from_files:
        lacking.append("a source that its workers reach (--source pubsub)")
    if online_in_out:
        lacking.append("online features that its workers reach (features.online.redis)")
    lacking.append("a place for notes of erasures and the file channel, which are in OUT")
    raise UsageError(
        f"a stream is built and checked for Dataflow, and not run there; it lacks {', '.join(lacking)}",
        hint="add --dry_run=True to check the job; to run it, take --runner flink with a cluster",
    )
