"""Runs scenario files, once or whenever a file changes. What ``wayline test`` does, with clock and sleep injected.

Input: paths and the configuration. Output: results and text lines. Errors: ConfigurationError for a file that is told
wrongly, UsageError when nothing is found; while watching they are told and the watch goes on. State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import UsageError, WaylineError
from pipelines.config import ProjectConfig
from pipelines.scenarios.scenario import cached_worlds, read_scenarios, scenario_files
from pipelines.scenarios.telling import Timed, failure_text, summary
from pipelines.scenarios.verdict import judge


@dataclass(frozen=True)
class Results:
    """The results of a run, the files that they depend on, and how long it took in seconds."""

    all: tuple[Timed, ...]
    files: frozenset[Path]
    seconds: float

    @property
    def failed(self) -> list[Timed]:
        return [result for result in self.all if result.verdict.failures]


def run(paths: list[Path], config: ProjectConfig, word: str, clock: Callable[[], float]) -> Results:
    """Run the scenarios whose name or file has ``word`` in it, whatever its case.

    Raises:
        ConfigurationError: a file is told wrongly.
        UsageError: no scenario is found.
    """
    began = clock()
    worlds = cached_worlds()
    files = scenario_files(paths)
    done: list[Timed] = []
    used = {*files, config.ontology, config.identity, *config.policies}
    for path in files:
        for scenario in read_scenarios(path, config, worlds):
            used.update(scenario.world.files)
            if word.lower() not in f"{path.stem} {scenario.name}".lower():
                continue
            start = clock()
            done.append(Timed(judge(scenario), clock() - start))
    if not done:
        about = f" with {word!r} in its name" if word else ""
        raise UsageError(f"no scenario{about} in {', '.join(map(str, paths))}", hint="name a YAML file or its folder")
    return Results(tuple(done), frozenset(used), clock() - began)


def told(results: Results) -> Iterable[str]:
    """The results in words: each failure, then the sum."""
    for result in results.failed:
        yield failure_text(result.verdict) + "\n"
    yield summary(results.all, results.seconds)


def watch(
    paths: list[Path],
    attempt: Callable[[], Results],
    known: Iterable[Path],
    say: Callable[[str], None],
    sleep: Callable[[], bool],
) -> None:
    """Run again whenever a file changes, comes or goes, until ``sleep`` says False.

    Args:
        paths: files and folders of scenarios.
        attempt: runs them.
        known: the files that matter where an attempt fails before it says.
        say: tells a line.
        sleep: waits a little.
    """
    files = set(known)
    seen: frozenset[tuple[Path, int, int]] | None = None
    while True:
        watched = {*files, *scenario_files(paths)}
        now = _state(watched)
        if now != seen:
            # taken before the attempt: what changes while it runs is seen next time
            seen = now
            try:
                results = attempt()
            except WaylineError as error:
                say(f"error: {error.message}" + (f"\n  fix: {error.hint}" if error.hint else ""))
            else:
                files |= results.files
                seen |= _state(results.files - watched)
                for line in told(results):
                    say(line)
            say("watching; Ctrl-C ends it")
        if not sleep():
            return


def _state(files: Iterable[Path]) -> frozenset[tuple[Path, int, int]]:
    """Each file with its time and size; one that is gone has none."""
    found = []
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((path, status.st_mtime_ns, status.st_size))
    return frozenset(found)
