"""Headless Chromium by its own protocol over two pipes: what a test does with a page, and what the page then is."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PATIENCE = 20.0
_COLOURS = """[...document.querySelectorAll('body *')].filter(one => one.getClientRects().length
  && [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())).map(one => {
    const style = getComputedStyle(one), hex = (colour) => '#' + colour.match(/\\d+/g).slice(0, 3)
      .map(part => Number(part).toString(16).padStart(2, '0')).join('');
    let under = one;
    while (under && getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement;
    return hex(one instanceof SVGElement ? style.fill : style.color) + ' '
      + hex(getComputedStyle(under ?? document.body).backgroundColor);
  })"""


class Browser:
    """One page. ``errors`` are lines of its console and exceptions; ``requests`` every address it asked for."""

    def __init__(self, to: int, from_: int) -> None:
        self._to, self._from = to, from_
        self._buffer, self._last, self._session = b"", 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """A command of the protocol, and its answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address: str) -> None:
        """Go there, and wait until the page is loaded."""
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, script: str) -> Any:
        """What an expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str, patience: float = _PATIENCE) -> None:
        """Wait until an expression holds, so many seconds at most."""
        end = time.monotonic() + patience
        while not self.value(f"Boolean({script})"):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.1)

    def press(self, key: str, code: int, text: str = "", *, shift: bool = False) -> None:
        """A key down and up, with Shift if asked for."""
        held = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text, "modifiers": 8 if shift else 0}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, **held)

    def write(self, text: str) -> None:
        """Text into what has the focus."""
        self.call("Input.insertText", text=text)

    def look(self, width: int, height: int, scheme: str) -> None:
        """The size of the window, and light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def text_colours(self) -> set[str]:
        """Of every text that shows its colour and that beneath it, as ``#rrggbb #rrggbb``."""
        return set(self.value(_COLOURS))

    def picture(self, target: Path, *, whole: bool = False) -> None:
        """The window, or the whole page, as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        target.write_bytes(base64.b64decode(answer["data"]))

    def _read(self) -> Any:
        while b"\0" not in self._buffer:
            read = os.read(self._from, 1 << 16)
            assert read, "the browser ended"
            self._buffer += read
        one, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(one)
        said, method = message.get("params", {}), message.get("method")
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(said["exceptionDetails"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.errors.append(str(said["args"]))
        return message


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Browser]:
    """Chromium with an empty profile, ended with the block."""
    ours_read, theirs_write = os.pipe()
    theirs_read, ours_write = os.pipe()

    def hand_over() -> None:
        # the protocol is spoken on 3 and 4; through higher ones, since 3 or 4 may be among them already
        high_read, high_write = os.dup(theirs_read), os.dup(theirs_write)
        os.dup2(high_read, 3)
        os.dup2(high_write, 4)

    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    command += ["--no-first-run", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs_read)
    os.close(theirs_write)
    try:
        page = Browser(ours_write, ours_read)
        yield page
        page._session = ""
        page.call("Browser.close")
    finally:
        os.close(ours_write)
        os.close(ours_read)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
