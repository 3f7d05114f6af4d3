"""``wayline test``: journeys told in plain words, played through the cores of the pipeline."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import click

from pipelines.commands.project import project_config

_DEFAULT = Path("tests/journeys")
_POLL_SECONDS = 0.5


@click.command("test")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@project_config
@click.option("--ontology", type=click.Path(path_type=Path), help="The ontology where a scenario names none.")
@click.option(
    "--policies",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder of policy files where a scenario names none.",
)
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the results as JUnit XML too.")
@click.option("--watch", is_flag=True, help="Run again whenever a file changes, until Ctrl-C.")
@click.option("-k", "word", default="", metavar="WORD", help="Only scenarios with this in their name or file name.")
def command(
    paths: tuple[Path, ...],
    config: Path | None,
    ontology: Path | None,
    policies: Path | None,
    junit: Path | None,
    watch: bool,
    word: str,
) -> None:
    """Run journey tests: files of scenarios, or folders of such files.

    Without any: the scenarios of the project, or tests/journeys where there is no project.

    docs/journey_tests.md says how a scenario is written. Exit code 9 when one fails.
    """
    from contracts.errors import CheckFailedError, OutputError, UsageError
    from pipelines.config import load_config
    from pipelines.scenarios import running
    from pipelines.scenarios.telling import junit as as_junit

    chosen = load_config(config)
    if ontology is not None:
        chosen = dataclasses.replace(chosen, ontology=ontology)
    if policies is not None:
        files = tuple(sorted([*policies.glob("*.yaml"), *policies.glob("*.yml")]))
        if not files:
            raise UsageError(f"there is no policy file in {policies}", hint="they end in .yaml")
        chosen = dataclasses.replace(chosen, policies=files)
    where = list(paths) or [chosen.scenarios or _DEFAULT]

    def attempt() -> running.Results:
        results = running.run(where, chosen, word, time.perf_counter)
        if junit is not None:
            try:
                junit.write_text(as_junit(results.all), encoding="utf-8")
            except OSError as error:
                raise OutputError(f"{junit} cannot be written: {error.strerror}") from error
        return results

    if watch:
        running.watch(where, attempt, (chosen.ontology, chosen.identity, *chosen.policies), click.echo, _sleep)
        return
    results = attempt()
    for line in running.told(results):
        click.echo(line)
    if failed := results.failed:
        raise CheckFailedError(
            f"{len(failed)} of {len(results.all)} journey tests failed",
            hint="mend the ontology or the policy, or, if this is what you want now, the scenario",
        )


def _sleep() -> bool:
    time.sleep(_POLL_SECONDS)
    return True
