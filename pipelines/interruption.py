"""Ctrl-C: whatever a command is doing, it ends within seconds and says so by its exit code.

It stands around a whole command, once, since what hears of Ctrl-C makes very different things of it: a runner waits for
workers that ended, a database calls its query a failure, a check takes that for an answer. State: the process's own
handler of SIGINT, put back afterwards. Time domain: the wall clock.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from contracts import errors


@contextmanager
def interruptible(patience: float = 10.0) -> Iterator[None]:
    """Let Ctrl-C end what runs inside, whatever that makes of it.

    Workers hear Ctrl-C too. A runner then may wait for ever for one that has ended, or fail by it, before it is itself
    interrupted. So any failure after Ctrl-C is that, also one that was taken for an answer, and a process that does not
    end by itself is ended: what it wrote is as whole as after a loss of power.

    Args:
        patience: seconds until it is ended.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    heard = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        if not heard:
            ended = threading.Timer(patience, _end)
            ended.daemon = True
            ended.start()
            # what threads of the runner still say of workers that ended is no failure
            threading.excepthook = _say_nothing
        heard = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if heard:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt


@contextmanager
def unhurried() -> Iterator[None]:
    """What runs inside hears Ctrl-C as a ``KeyboardInterrupt`` and takes the time it needs; it answers for its end.

    Who was started deaf to Ctrl-C, as by a shell in its background, stays so.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _say_nothing(_: threading.ExceptHookArgs) -> None:
    """Of a thread that failed after Ctrl-C."""


def _end() -> None:
    os.write(2, b"interrupted; what was running did not end by itself\n")
    os._exit(errors.INTERRUPTED)
