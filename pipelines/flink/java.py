"""The Java that runs Flink: found, and new or old enough, before anything is started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from contracts.errors import EngineError

OLDEST, NEWEST = 11, 21
"""Java versions that Flink 1.19 runs on."""

_VERSION = re.compile(r'version "(\d+)(?:\.(\d+))?')
_ANSWERS_WITHIN = 20.0


class Java(NamedTuple):
    """A Java launcher and its major version."""

    path: Path
    version: int


def find_java(environment: Mapping[str, str] | None = None) -> Java:
    """The Java of ``JAVA_HOME``, else the first on the ``PATH``.

    Raises:
        EngineError: there is none, it does not answer, or Flink does not run on its version.
    """
    env = os.environ if environment is None else environment
    hint = (
        "install Java 17 (Debian and Ubuntu: apt-get install openjdk-17-jre-headless), "
        f"or set JAVA_HOME to a Java {OLDEST} to {NEWEST}"
    )
    home = env.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=env.get("PATH", ""))
    if found is None:
        raise EngineError("there is no Java on this machine, and Flink runs on it", hint=hint)
    try:
        answer = subprocess.run(
            [found, "-version"], capture_output=True, text=True, timeout=_ANSWERS_WITHIN, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        where = "JAVA_HOME" if home else "the PATH"
        raise EngineError(f"{found}, from {where}, does not run: {error}", hint=hint) from error
    version = _VERSION.search(answer.stderr + answer.stdout)
    if version is None:
        raise EngineError(f"{found} does not say which version of Java it is", hint=hint)
    major = int(version[2] or 0) if version[1] == "1" else int(version[1])
    if not OLDEST <= major <= NEWEST:
        raise EngineError(f"{found} is Java {major}; Flink runs on Java {OLDEST} to {NEWEST}", hint=hint)
    return Java(Path(found), major)
