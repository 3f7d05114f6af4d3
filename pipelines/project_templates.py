"""Templates of projects: what ``wayline init`` writes, from the files shipped below ``ontology/templates``.

A project is put together of the template's own files, of those that all share, and of the shipped ontology, identity
rules and policies where the template has none of its own.

Input: the name of a template and a folder. Output: its files, copied. Errors: ``UsageError`` for an unknown name,
``OutputError`` where a file stands already or cannot be written. State: none.
"""

from __future__ import annotations

from pathlib import Path

from contracts.errors import OutputError, UsageError
from pipelines.config import SHIPPED

FOLDER = SHIPPED / "templates"
ONTOLOGY_FILE = "journey.yaml"
DEFAULT = "default"
"""The template with the shipped ontology and policies."""

_SHARED = "shared"
_SHIPPED_FILES = (ONTOLOGY_FILE, "identity.yaml", "policies/default.yaml")
_IGNORED = """# What runs make. An output folder holds keys: they belong into no repository.
/out*/
/mine/
/demo*/
*.key
"""


def template_names() -> tuple[str, ...]:
    """The templates for a business."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{ONTOLOGY_FILE}")))


def template_files(name: str) -> dict[str, bytes]:
    """What a project of this template begins with: path within the project to content. Raises UsageError."""
    known = (*template_names(), DEFAULT)
    if name not in known:
        raise UsageError(f"there is no template {name!r}", hint=f"templates: {', '.join(known)}")
    found = {path: SHIPPED / path for path in _SHIPPED_FILES}
    for folder in (FOLDER / _SHARED, FOLDER / name):
        found |= {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*") if path.is_file()}
    return {path: source.read_bytes() for path, source in sorted(found.items())} | {".gitignore": _IGNORED.encode()}


def write_template(name: str, target: Path) -> list[Path]:
    """Make a project in a folder, which may exist.

    Nothing is written when any of the files stands there already.

    Raises:
        UsageError: no template has this name.
        OutputError: a file is in the way, or the folder cannot be written.
    """
    files = {target / path: content for path, content in template_files(name).items()}
    for path in files:
        if path.exists() or path.is_symlink():
            raise OutputError(f"{path} exists already", hint="name another folder, or move the file away")
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # 'x': whoever made the file since we looked keeps it
            with path.open("xb") as file:
                file.write(content)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error
    return list(files)
