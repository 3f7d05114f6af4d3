"""Building a stream's job for a runner that is asked not to run it: what ``wayline stream --dry_run=True`` does."""

from __future__ import annotations

from typing import Any

from pipelines.clock import now
from pipelines.definitions import Definitions, load_definitions
from pipelines.engine import engine_options
from pipelines.stream_plan import StreamOptions, make_stream_plan, settled_shards
from transforms.tables.output import writing
from transforms.tables.stream_folder import last_stream


def check_stream(options: StreamOptions, definitions: Definitions | None = None) -> Any:
    """Make every check of a stream and build its job; returns what the runner made of it.

    Nothing is taken over, and OUT gets no stream of it.

    Raises:
        WaylineError: whatever would stop the stream before it runs.
    """
    import apache_beam as beam

    from pipelines.stream_graph import build

    definitions = definitions or load_definitions(options.config, options.session_by)
    settings = engine_options(options.runner, 1, ("--streaming", *options.beam))
    with writing(options.out) as folder:
        options = settled_shards(options, folder)
        plan = make_stream_plan(options, definitions, folder, last_stream(folder) + 1, now())
        pipeline = beam.Pipeline(options=settings)
        build(pipeline, plan)
        return pipeline.run()
