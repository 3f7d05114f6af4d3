"""``wayline``: the command line. Each command's module is imported only when it is called, so that help is instant.

Errors a user can meet are ``WaylineError``s: one message, one hint, their exit code, no traceback.
"""

from __future__ import annotations

import errno
import importlib
import io
import logging
import os
import sys

import click
from click.shell_completion import CompletionItem

from contracts.errors import EXIT_CODES, INTERRUPTED, InputError, OutputError, WaylineError
from contracts.printable import printable
from pipelines import telemetry
from pipelines.commands.project import project_option
from pipelines.interruption import interruptible

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("pipelines.commands.init", "Make a project: configuration, ontology, policies, mappings, scenarios."),
    "check": ("pipelines.commands.check", "Check every file of a project at once."),
    "doctor": ("pipelines.commands.doctor", "Check the machine: what Wayline needs, and what a project names."),
    "run": ("pipelines.commands.run", "Run the pipeline over Avro event files, bounded."),
    "stream": ("pipelines.commands.stream", "Run the pipeline live: the same graph on events as they come."),
    "drain": ("pipelines.commands.drain", "Ask the stream on an output folder for its end."),
    "graph": ("pipelines.commands.graph", "Print the picture of the bounded or the streaming graph."),
    "import": ("pipelines.commands.importer", "Turn CSV, JSON, Parquet or Avro into event Avro by a mapping file."),
    "mapping": ("pipelines.commands.mapping", "List and show the shipped mappings; propose one by looking at data."),
    "audit": ("pipelines.commands.audit", "Which systems send events, what they cover, what is missing."),
    "simulate": ("pipelines.commands.simulate", "Make a world of customers with its truth, as event Avro."),
    "publish": ("pipelines.commands.publish", "Feed a Pub/Sub topic from event files or the simulator."),
    "pubsub-emulator": ("pipelines.commands.pubsub_emulator", "Run a Pub/Sub server in memory, for trials and tests."),
    "train": ("pipelines.commands.train", "Train, gate, register and promote the stage model."),
    "model": ("pipelines.commands.model", "List, promote and roll back stage models."),
    "review": ("pipelines.commands.review", "The monthly audit: label a sample of journeys, see how right stages are."),
    "features": ("pipelines.commands.features", "The features and their Feast repository."),
    "test": ("pipelines.commands.journey_tests", "Run journey tests: scenarios told in plain words."),
    "board": ("pipelines.commands.board", "Show the tables of an output folder in a browser."),
    "report": ("pipelines.commands.report", "Write the tables of an output folder as one page that works offline."),
    "explain": ("pipelines.commands.explain", "Tell the story of a person, an event or a decision."),
    "journey": ("pipelines.commands.journey", "A person's journey, also as it was known at a time."),
    "tables": ("pipelines.commands.tables", "List the tables of an output folder; compact their parts."),
    "query": ("pipelines.commands.query", "Ask the tables of an output folder in SQL."),
    "metric": ("pipelines.commands.metric", "Compute a metric of an output folder; list those that are defined."),
    "diff": ("pipelines.commands.diff", "Compare the tables of two output folders."),
    "reconcile": ("pipelines.commands.reconcile", "Fold all persons again from the stored events."),
    "identity": ("pipelines.commands.identity", "Explain persons, ask for merges and unlinks, try other rules."),
    "ontology": ("pipelines.commands.ontology", "Begin from a template, check an ontology, compare two on history."),
    "replay-dead-letters": ("pipelines.commands.dead_letters", "Write dead letters out again, to be run again."),
    "completion": ("pipelines.commands.completion", "Print the script that completes commands in your shell."),
    "schema": ("pipelines.commands.schema", "Check the Avro schemas against their predecessors."),
    "stream-demo": ("pipelines.commands.stream_demo", "A simulated world live: what `make stream-demo` runs."),
    "demo": ("pipelines.commands.demo", "The round trip on a simulated world: what `make demo` runs."),
}
"""Name to (module with ``command``, short help). The short help stands here so that listing imports nothing."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit codes: " + "; ".join(f"{code} {meaning.split(':')[0]}" for code, meaning in EXIT_CODES.items()) + ".",
)
@click.version_option(package_name="wayline")
@project_option
def wayline() -> None:
    """Real-time customer journeys: identity, stages, features, scores, explainable decisions, and the loop back."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; ends the process with a documented exit code."""
    telemetry.disable()
    for stream in (sys.stdout, sys.stderr):
        # a name of a file may be no text at all, and a terminal may lack letters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    quieten_libraries(os.environ.get("WAYLINE_LOG", "ERROR"))
    # processes are the unit of parallelism; threads of a numerical library inside them only get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with interruptible():
            code = wayline.main(args=arguments, standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except WaylineError as error:
        report(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        refused = refused_by_system(error)
        if refused is None:
            raise
        report(refused)
        sys.exit(refused.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def refused_by_system(error: OSError) -> WaylineError | None:
    """What the system refuses whoever asks for this file, said with its name; None for any other failure."""
    said = f"{error.filename}: {error.strerror}"
    if error.filename is None:
        return None
    if error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        return OutputError(said, hint="make room, or name a place that can be written")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP):
        return InputError(said, hint="mend its permissions, or name another file or folder")
    return None


def quieten_libraries(level: str) -> None:
    """Let libraries speak from ``level`` on (a name such as INFO); what a user must know Wayline says itself."""
    chosen = logging.getLevelNamesMapping().get(level.upper())
    if chosen is None:
        raise SystemExit(f"WAYLINE_LOG is {level!r}; use ERROR, WARNING, INFO or DEBUG")
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(chosen)
        if chosen >= logging.ERROR:
            handler.addFilter(_not_ours)
    logging.captureWarnings(True)


def _not_ours(record: logging.LogRecord) -> bool:
    """Keeps a runner from logging an error of ours with its traceback: it comes back from the run, and is reported."""
    from pipelines.engine import cause

    if record.exc_info and record.exc_info[1] is not None and cause(record.exc_info[1]) is not None:
        return False
    return cause(RuntimeError(record.getMessage())) is None


def report(error: WaylineError) -> None:
    """One message and its remedy on standard error, without what a terminal would obey: names come from files."""
    click.secho(f"error: {printable(error.message, lines=True)}", fg="red", err=True)
    if error.hint:
        click.secho(f"  fix: {printable(error.hint, lines=True)}", err=True)


if __name__ == "__main__":
    main()
