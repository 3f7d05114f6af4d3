"""Which registry an output folder was last run with: noted by the run, so that who reads OUT looks where it looked.

Input: OUT. State: ``OUT/registry.json``, there only while the registry lies elsewhere. Errors: ``OutputError``.
"""

from __future__ import annotations

import json
from pathlib import Path

from contracts.errors import OutputError
from transforms.tables.output import OutputFolder, write_durably


def note_registry(folder: OutputFolder, registry: Path) -> None:
    """A run or a stream uses this registry; one that is not there yet holds nothing to look for."""
    used = registry.resolve()
    if used == folder.registry.resolve() or not used.is_dir():
        folder.registry_note.unlink(missing_ok=True)
    elif not folder.registry_note.exists() or registry_used(folder) != used:
        write_durably(folder.registry_note, json.dumps({"registry": str(used)}) + "\n")


def registry_used(folder: OutputFolder) -> Path:
    """The registry of the last run or stream; that in OUT when none is noted.

    Raises:
        OutputError: the registry that was noted is not there.
    """
    try:
        used = Path(json.loads(folder.registry_note.read_text(encoding="utf-8"))["registry"])
    except FileNotFoundError:
        return folder.registry
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{folder.registry_note} cannot be read: {error}", hint="remove it; the next run notes its registry anew"
        ) from error
    if not used.is_dir():
        raise OutputError(
            f"{folder.root} was last run with the registry {used}, which is not there",
            hint=f"bring it back, or run again with --registry; without {folder.registry_note} that in OUT counts",
        )
    return used
