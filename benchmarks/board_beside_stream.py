"""What the board takes beside a stream: ``python -m benchmarks.board_beside_stream``.

Input: a simulated world. Output, printed: CPU seconds of the stream and of the board, whose page is open in headless
Chromium, in the same stretch of time, and their ratio. The stream is one process, on the direct runner. Time domain:
CPU seconds of the processes as the kernel counts them, so that what else runs on the machine matters little. State:
folders that are removed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.browser import browser
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate

_TICKS = os.sysconf("SC_CLK_TCK")
_VERSIONS = "[...document.querySelectorAll('main > section')].map(one => one.dataset.version).join()"
_WAYLINE = (sys.executable, "-m", "pipelines.cli")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=60)
    asked = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        sys.exit("the package chromium is needed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _measure(program, Path(folder), asked.customers)


def _measure(program: str, root: Path, customers: int) -> None:
    simulate(WorldConfig(customers=customers, days=30, seed=3), root / "world")
    out = root / "out"
    command = [*_WAYLINE, "stream", "--source=files", f"--input={root / 'world' / 'events'}", f"--out={out}"]
    command += ["--runner=DirectRunner", "--no-view"]
    log = (root / "stream.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as stream, browser(program, root / "profile") as page:
        while not any((out / "tables").glob("journeys/*.parquet")):
            if stream.poll() is not None:
                sys.exit((root / "stream.log").read_text(encoding="utf-8"))
            time.sleep(0.1)
        command = [*_WAYLINE, "board", f"--out={out}", "--port=0", "--no-open"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as board:
            try:
                assert board.stdout is not None
                page.open(re.findall(r"http://\S+/", board.stdout.readline())[0])
                began, before = time.monotonic(), (_spent(stream.pid), _spent(board.pid))
                renewed, versions = 0, ""
                while stream.poll() is None:
                    after = _spent(stream.pid), _spent(board.pid)
                    found = page.value(_VERSIONS)
                    renewed += found != versions
                    versions = found
                    time.sleep(0.5)
                seconds = time.monotonic() - began
            finally:
                board.terminate()
        streamed, shown = (late - early for early, late in zip(before, after, strict=True))
    print(f"{seconds:.0f} s: stream {streamed:.1f} s of CPU, board {shown:.1f} s: {shown / streamed:.2f} of it;")
    print(f"the page changed {renewed} times")


def _spent(process: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
