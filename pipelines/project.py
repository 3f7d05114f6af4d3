"""Where a project is: a folder with ``wayline.yaml`` in it, named, or found from the working folder upward.

Input: folders. Output: the path of the configuration, None where there is no project. Errors: ``UsageError`` for a
named folder that is none. State: none.
"""

from __future__ import annotations

from pathlib import Path

from contracts.errors import UsageError

PROJECT_FILE = "wayline.yaml"
"""The configuration of a project, in its topmost folder."""


def project_file(folder: Path) -> Path:
    """The configuration of the project in ``folder``. Raises UsageError when there is none."""
    path = folder / PROJECT_FILE
    if not path.is_file():
        raise UsageError(
            f"{folder} is no project: it has no {PROJECT_FILE}",
            hint=f"make one: wayline init {folder}; or name a configuration file: --config FILE",
        )
    return path


def find_project(start: Path) -> Path | None:
    """The configuration of the nearest project that ``start`` lies in, or None."""
    folder = start.resolve()
    for one in (folder, *folder.parents):
        if (path := one / PROJECT_FILE).is_file():
            return path
    return None
