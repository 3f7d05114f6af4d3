"""The audit as a spreadsheet: a row a sample, with an empty column for the stage that a person says. CSV, UTF-8.

The pipeline's own answer is not in it, so that it leads nobody. ``read`` takes back what ``write`` gave, in any order,
with other columns or rows left out. Errors: ``InputError`` with file and line for a row that cannot be a label, before
any is taken. State: none.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from contracts.errors import InputError
from models.review import UNSURE, Label, Sample

COLUMNS = ("sample_id", "person_id", "journey", "stage", "note")


def write(path: Path, samples: Sequence[Sample], lines: Callable[[Sample], Sequence[str]]) -> None:
    """Write the sheet. ``lines``: a sample's journey. Raises InputError when the file cannot be written."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for sample in samples:
                told = "\n".join(line for line in lines(sample) if line)
                # a cell that begins with one of these would be a formula to a spreadsheet
                shown = f"'{told}" if told[:1] in "=+-@" else told
                writer.writerow((sample.sample_id, sample.journey.person_id, shown, "", ""))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def read(path: Path, samples: Mapping[str, Sample], stages: Collection[str], who: str, now: int) -> list[Label]:
    """The labels of a sheet; rows without a stage are not labelled yet.

    Args:
        path: the file.
        samples: by id, all that were drawn.
        stages: of the ontology.
        who: the reviewer.
        now: wall time of the labels.

    Raises:
        InputError: the file is no such sheet, or a row names an unknown sample or stage; nothing is taken then.
    """
    labels: list[Label] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"sample_id", "stage"} - set(reader.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path}:1: there is no column {min(missing)!r}",
                    hint="fill in the file that `wayline review --export` wrote; separators are commas",
                )
            for row in reader:
                said = (row["stage"] or "").strip().lower()
                if not said:
                    continue
                if row["sample_id"] not in samples:
                    raise InputError(
                        f"{path}:{reader.line_num}: sample {row['sample_id']!r} was never drawn here",
                        hint="give the --out from which the sheet was exported",
                    )
                if said not in stages and said != UNSURE:
                    raise InputError(
                        f"{path}:{reader.line_num}: {said!r} is no stage", hint=f"say {', '.join(stages)} or {UNSURE}"
                    )
                labels.append(Label(row["sample_id"], said, who, now, (row.get("note") or "").strip()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="give a CSV file in UTF-8") from error
    return labels
