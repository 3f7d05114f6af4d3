"""Who moves where between two ontologies, as a picture: two columns of stages and bands of persons between them.

Input: ``OntologyDifference``. Output: the text of an SVG file (``reports.picture``). Every band and stage is named in
words too, and whoever stays is drawn paler than whoever moves. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from reports.ontology_replay import OntologyDifference
from reports.page.charts import band
from reports.picture import COLOURS, framed

_WIDTH, _BAR, _TOP, _BOTTOM = 960, 18, 92, 44
_LEFT, _RIGHT = 250, 710
_HEIGHT, _GAP, _LEAST = 420.0, 26.0, 2.0
_LINE = 15.0
_LIGHT = "  .stay { opacity: 0.28 } .move { opacity: 0.72 } .band:hover { opacity: 0.95 }\n"
_DARK = "    .stay { opacity: 0.38 } .move { opacity: 0.85 }\n"


@dataclass(frozen=True, slots=True)
class _Bar:
    """A stage: where it begins and ends, and where its name stands."""

    name: str
    persons: int
    colour: str
    top: float
    height: float
    label: float


def flow_picture(found: OntologyDifference, title_a: str, title_b: str) -> str:
    """The picture as SVG.

    Args:
        found: who moves where.
        title_a, title_b: what the two columns are called.
    """
    colours = _colours(list(found.a.persons), list(found.b.persons))
    left, right = (_bars(side.persons, found.persons, colours) for side in (found.a, found.b))
    bottom = max(bar.top + bar.height for bar in (*left, *right))
    bottom = max([bottom, *(bar.label + _LINE for bar in (*left, *right))])
    height = bottom + _BOTTOM
    share = found.moved / found.persons if found.persons else 0.0
    said = f"{found.moved:,} of {found.persons:,} persons ({share:.1%}) stand elsewhere"
    parts = [
        f'<text class="soft" x="{_LEFT + _BAR}" y="70" text-anchor="end">{escape(f"A: {title_a}")}</text>',
        f'<text class="soft" x="{_RIGHT}" y="70">{escape(f"B: {title_b}")}</text>',
        *_bands(found, left, right),
    ]
    for bars, x, text_x, anchor in ((left, _LEFT, _LEFT - 10, "end"), (right, _RIGHT, _RIGHT + _BAR + 10, "start")):
        for bar in bars:
            parts.append(_bar(bar, x, text_x, anchor, found.persons))
    parts.append(
        f'<text class="soft" x="24" y="{height - 18:.0f}">Pale: the stage has the same name under both. '
        "Height: persons at the end of the history, by rules alone.</text>"
    )
    return framed(said, _words(found), parts, size=(_WIDTH, height), light=_LIGHT, dark=_DARK)


def _colours(a: Sequence[str], b: Sequence[str]) -> dict[str, str]:
    """Stage to its colour: one name has one colour, and no two stages of a side share theirs.

    Stages of B alone take what A leaves, and when nothing is left, what no other stage of B has.
    """
    chosen = dict(zip(a, COLOURS, strict=False))
    free = [colour for colour in COLOURS if colour not in chosen.values()]
    free += [colour for name, colour in chosen.items() if name not in b]
    return chosen | dict(zip((name for name in b if name not in chosen), free, strict=False))


def _bars(persons: Mapping[str, int], everybody: int, colours: Mapping[str, str]) -> list[_Bar]:
    bars: list[_Bar] = []
    top, least_label = float(_TOP), float(_TOP)
    for name, count in persons.items():
        height = max(_LEAST, _HEIGHT * count / everybody if everybody else 0.0)
        # two lines of text beside a thin bar need more room than the bar
        label = max(top + height / 2 - 2, least_label)
        bars.append(_Bar(name, count, colours[name], top, height, label))
        least_label = label + 2 * _LINE + 6
        top += height + _GAP
    return bars


def _bar(bar: _Bar, x: float, text_x: float, anchor: str, everybody: int) -> str:
    share = bar.persons / everybody if everybody else 0.0
    return (
        f'<rect x="{x}" y="{bar.top:.1f}" width="{_BAR}" height="{bar.height:.1f}" fill="{bar.colour}"/>'
        f'<text class="ink name" x="{text_x}" y="{bar.label:.1f}" text-anchor="{anchor}">{escape(bar.name)}</text>'
        f'<text class="soft" x="{text_x}" y="{bar.label + _LINE:.1f}" text-anchor="{anchor}">'
        f"{bar.persons:,} ({share:.1%})</text>"
    )


def _bands(found: OntologyDifference, left: list[_Bar], right: list[_Bar]) -> list[str]:
    """Bands, those who stay first, so that those who move lie on top."""
    sources, targets = {bar.name: bar for bar in left}, {bar.name: bar for bar in right}
    used_left, used_right = dict.fromkeys(sources, 0.0), dict.fromkeys(targets, 0.0)
    drawn: list[tuple[bool, int, str]] = []
    for cell in found.cells:
        source, target = sources[cell.a], targets[cell.b]
        thick_left = source.height * cell.persons / source.persons
        thick_right = target.height * cell.persons / target.persons
        y0, y1 = source.top + used_left[cell.a], target.top + used_right[cell.b]
        used_left[cell.a] += thick_left
        used_right[cell.b] += thick_right
        path = band((_LEFT + _BAR, y0, thick_left), (_RIGHT, y1, thick_right))
        moves = cell.a != cell.b
        said = f"{cell.a} to {cell.b}: {cell.persons:,} persons ({cell.persons / found.persons:.1%})"
        drawn.append(
            (
                moves,
                -cell.persons,
                f'<path class="band {"move" if moves else "stay"}" d="{path}" fill="{source.colour}">'
                f"<title>{escape(said)}</title></path>",
            )
        )
    return [text for _, _, text in sorted(drawn, key=lambda item: item[:2])]


def _words(found: OntologyDifference) -> str:
    return "; ".join(f"{cell.a} to {cell.b}: {cell.persons:,}" for cell in found.cells)
