"""The picture of a graph: every stage once, arrows where something flows, nothing for what only flattens."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from click.testing import CliRunner

from pipelines.commands.graph import command
from pipelines.drawing import mermaid, streaming


class Split(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """A stage of several steps with two outputs."""

    def expand(self, given: beam.PCollection) -> tuple[beam.PCollection, beam.PCollection]:
        inner = given | "Inner" >> beam.Map(str)
        return inner | "Short" >> beam.Filter(bool), inner | "Long" >> beam.Filter(bool)


def pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(["--no_save_main_session"]))


def arrows(picture: str) -> set[tuple[str, str]]:
    lines = (line.split(" --> ") for line in picture.splitlines() if " --> " in line)
    return {(source.strip(), target.strip()) for source, target in lines}


def boxes(picture: str) -> list[str]:
    return [line.split("[")[1].rstrip("]") for line in picture.splitlines() if "[" in line]


def test_a_stage_is_one_box_whatever_is_inside() -> None:
    made = pipeline()
    short, _ = made | "Begin" >> beam.Create([1]) | "Split" >> Split()
    _ = short | "End" >> beam.Map(print)
    assert boxes(mermaid(made)) == ["Begin", "Split", "End"]
    assert arrows(mermaid(made)) == {("Begin", "Split"), ("Split", "End")}


def test_what_only_flattens_is_no_box_and_arrows_go_through_it() -> None:
    made = pipeline()
    one, two, three = (made | name >> beam.Create([1]) for name in ("One", "Two", "Three"))
    both = (one, two) | "Both" >> beam.Flatten()
    _ = (both, three) | "All" >> beam.Flatten() | "End" >> beam.Map(print)
    assert boxes(mermaid(made)) == ["One", "Two", "Three", "End"]
    assert arrows(mermaid(made)) == {("One", "End"), ("Two", "End"), ("Three", "End")}


def test_a_name_that_mermaid_would_not_take_stays_readable() -> None:
    made = pipeline()
    _ = made | "Read (all)" >> beam.Create([1]) | "To/tables" >> beam.Map(print)
    assert (
        mermaid(made)
        == 'flowchart LR\n  Read__all_["Read (all)"]\n  To_tables["To/tables"]\n  Read__all_ --> To_tables\n'
    )


SHARED = {
    ("Link", "Strand"),
    ("Strand", "Journey"),
    ("Journey", "Act"),
    ("Journey", "Tables"),
    ("ActionRows", "Tables"),
}


@pytest.mark.parametrize(
    ("options", "own"),
    [([], {("Protect", "Link"), ("Act", "Learn")}), (["--stream"], {("Validate", "Link"), ("Strand", "Rejected")})],
)
def test_the_command_prints_the_graph_that_runs(options: list[str], own: set[tuple[str, str]]) -> None:
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("flowchart LR\n")
    assert boxes(result.output)[0] == "Read"
    assert SHARED | own <= arrows(result.output)


def test_the_same_graph_gives_the_same_picture() -> None:
    assert mermaid(streaming()) == mermaid(streaming())
