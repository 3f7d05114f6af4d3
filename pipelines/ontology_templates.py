"""Business templates: complete projects to begin with, as they are shipped below ``ontology/templates``.

Input: the name of a template and a folder. Output: its files, copied. Errors: ``UsageError`` for an unknown name,
``OutputError`` where a file stands already or cannot be written. State: none.
"""

from __future__ import annotations

from pathlib import Path

from contracts.errors import OutputError, UsageError
from pipelines.config import SHIPPED

FOLDER = SHIPPED / "templates"
ONTOLOGY_FILE = "journey.yaml"
PROJECT_FILE = "project.yaml"


def template_names() -> tuple[str, ...]:
    """The templates there are."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{ONTOLOGY_FILE}")))


def write_template(name: str, target: Path) -> list[Path]:
    """Copy a template's files into a folder, which may exist.

    Nothing is written when any of the files stands there already.

    Raises:
        UsageError: no template has this name.
        OutputError: a file is in the way, or the folder cannot be written.
    """
    if name not in template_names():
        raise UsageError(f"there is no template {name!r}", hint=f"templates: {', '.join(template_names())}")
    sources = sorted((FOLDER / name).glob("*.yaml"))
    made = [target / source.name for source in sources]
    for path in made:
        if path.exists():
            raise OutputError(f"{path} exists already", hint="name another folder, or move the file away")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source, path in zip(sources, made, strict=True):
            path.write_bytes(source.read_bytes())
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error
    return made
