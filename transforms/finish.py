"""Finish: a file that says that a stream has drained, all of it. The last step of a streaming graph.

Contract: the outputs of the last stages in, whatever they are; nothing out. Key: one. State: a timer of event time at
the end of the global window, set by each input and by one element of its own, so that it is set also when nothing ever
came. Watermarks come in order: when this one is at its end every stage before has put out its last, and every pane is
written.

An engine whose sources have ended need not end its job (Flink goes on making checkpoints, which is how the last
messages are acknowledged and how a failure at the very end is mended). So whoever started the job waits for this file,
and then ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, GlobalWindows

from transforms.read import typed

_END = TimerSpec("end", TimeDomain.WATERMARK)
_END_TIMER = beam.DoFn.TimerParam(_END)


class Finish(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Applied to the tuple of the last stages' outputs.

    Args:
        path: the file, in a folder that is there. Errors: OSError fails the bundle, which the engine tries again.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._fn = _NoteEnd(path)

    def expand(self, last: Sequence[beam.PCollection[Any]]) -> None:
        one = last[0].pipeline | "One" >> beam.Impulse() | "OneKey" >> _ToOneKey()
        each = [outputs | f"Last{n}" >> _ToOneKey() for n, outputs in enumerate(last)]
        _ = (one, *each) | "Together" >> beam.Flatten() | "NoteEnd" >> beam.ParDo(self._fn)


class _NoteEnd(beam.DoFn):  # type: ignore[misc]
    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: tuple[bytes, bytes], end: Any = _END_TIMER) -> None:
        end.set(GlobalWindow().max_timestamp())

    @on_timer(_END)  # type: ignore[untyped-decorator]
    def note(self) -> None:
        Path(self._path).touch()


class _ToOneKey(beam.PTransform):  # type: ignore[misc]
    """Anything to one key, in the global window without panes."""

    def expand(self, outputs: beam.PCollection[Any]) -> beam.PCollection[tuple[bytes, bytes]]:
        keyed = typed(outputs | "Key" >> beam.Map(lambda _: (b"", b"")), tuple[bytes, bytes])
        return keyed | "Globally" >> beam.WindowInto(GlobalWindows())
