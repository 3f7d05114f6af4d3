"""Fields that a mapping reads and no row has: what a misspelt path looks like where no header could tell. Pure.

Input: rows and their mapping. Output: each group of fields of which none was found, with its line. State: the groups
that are not found yet. Errors: none. Of what stands in an array to unnest nothing is said.
"""

from __future__ import annotations

from contracts.documents import Node
from sources.importer.mapping import Mapping
from sources.importer.rows import Path, Row, parse_path


class AbsentFields:
    """Crosses out what rows have."""

    def __init__(self, mapping: Mapping) -> None:
        self._left: dict[tuple[tuple[str, ...], int], tuple[Path, ...]] = {
            (columns, line): tuple(parse_path(Node(column, mapping.path, line)) for column in columns)
            for columns, line in mapping.columns()
            if columns
        }

    def note(self, row: Row) -> None:
        """Look at one more row."""
        if self._left:
            self._left = {
                key: paths for key, paths in self._left.items() if all(path.find(row) in (None, "") for path in paths)
            }

    def told(self) -> list[tuple[int, str]]:
        """Line of the mapping and the fields, of which one would do; by line."""
        return sorted((line, " or ".join(columns)) for columns, line in self._left)
