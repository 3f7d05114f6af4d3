"""Options that keep their views mean what Beam's own mean."""

from __future__ import annotations

import copy

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions, WorkerOptions

from pipelines.beam_options import ParsedOptions

FLAGS = ["--runner=FnApiRunner", "--streaming", "--environment_type=LOOPBACK"]


def test_a_view_is_made_once_and_all_views_show_what_one_was_told() -> None:
    options = ParsedOptions(FLAGS)
    view = options.view_as(PortableOptions)
    assert options.view_as(PortableOptions) is view
    view.environment_type = "EXTERNAL"
    options.view_as(StandardOptions).runner = "PortableRunner"
    assert options.get_all_options()["environment_type"] == "EXTERNAL"
    assert view.view_as(StandardOptions).runner == "PortableRunner"


def test_a_copy_shares_nothing() -> None:
    options = ParsedOptions(FLAGS)
    options.view_as(WorkerOptions).num_workers = 3
    copied = copy.deepcopy(options)
    copied.view_as(WorkerOptions).num_workers = 4
    assert options.view_as(WorkerOptions).num_workers == 3
    assert copied.view_as(WorkerOptions).num_workers == copied.get_all_options()["num_workers"] == 4


def test_they_say_what_beams_own_say() -> None:
    ours, beams = ParsedOptions(FLAGS), PipelineOptions(FLAGS)
    for kind in (StandardOptions, PortableOptions):
        ours.view_as(kind), beams.view_as(kind)
    assert ours.get_all_options() == beams.get_all_options()
    assert ours.to_runner_api() == beams.to_runner_api()
