"""The file channel: one line of JSON a message, appended to ``FOLDER/CHANNEL.jsonl``, at most one line a key.

Several processes may append: each holds the lock of the file while it looks for keys written since its last look and
adds its own lines. A line cut short by a crash is removed by the next writer, so that a reader finds whole lines only.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contracts.errors import OutputError
from transforms.channels.base import Message, PermanentError, Receipt, TransientError

_BLOCK = 1 << 20


class _Key(msgspec.Struct):
    action_id: str


_key_of = msgspec.json.Decoder(_Key)


def valid_name(name: str) -> bool:
    """Whether a channel's name can name its file."""
    return name.isascii() and name.replace("_", "").replace("-", "").isalnum()


class FileChannel:
    """See the module. Memory: some 100 bytes a line of the file.

    Args:
        name: the channel, and the name of its file; letters, digits, ``_`` and ``-``.
        folder: where the file stands; made when missing.

    Raises:
        OutputError: the folder or the file cannot be written, or the file holds something else.
    """

    idempotent = True
    chunk = 200

    def __init__(self, name: str, folder: Path) -> None:
        if not valid_name(name):
            raise OutputError(f"channel {name!r} cannot name a file", hint="use letters, digits, _ and -")
        self.name = name
        self._path = folder / f"{name}.jsonl"
        self._keys: set[str] = set()
        self._seen = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def send(self, messages: Sequence[Message]) -> Receipt:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            self._catch_up()
            new = [message for message in messages if message.action_id not in self._keys]
            if new:
                self._append(b"".join(message.as_json() + b"\n" for message in new))
                self._keys.update(message.action_id for message in new)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return Receipt(f"appended to {self._path.name}")

    def _catch_up(self) -> None:
        """Learn the keys that were written since the last look; cut off an unfinished last line."""
        size = os.fstat(self._descriptor).st_size
        if size < self._seen:
            # Emptied from outside, a new start: what it held is gone, so its keys are too.
            self._keys.clear()
            self._seen = 0
        rest = b""
        while self._seen + len(rest) < size:
            block = os.pread(self._descriptor, _BLOCK, self._seen + len(rest))
            if not block:
                break
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._keys.add(self._key(line))
                self._seen += len(line) + 1
        if rest:
            os.ftruncate(self._descriptor, self._seen)

    def _key(self, line: bytes) -> str:
        try:
            return _key_of.decode(line).action_id
        except msgspec.DecodeError as error:
            raise PermanentError(f"{self._path.name} holds a line that is no action") from error

    def _append(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, self._seen)
            kind = PermanentError if error.errno in (errno.EROFS, errno.EFBIG) else TransientError
            raise kind(f"{self._path.name} cannot be appended to: {error.strerror}") from error
        self._seen += len(data)
