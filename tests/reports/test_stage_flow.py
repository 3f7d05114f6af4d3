"""The picture of a flow between stages: true to its numbers, and readable by everybody."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from reports.ontology_replay import Cell, OntologyDifference, Side
from reports.picture import COLOURS
from reports.stage_flow import flow_picture

SVG = "{http://www.w3.org/2000/svg}"


def difference(a: list[str], b: list[str], cells: Mapping[tuple[str, str], int]) -> OntologyDifference:
    under_a, under_b = Counter[str](), Counter[str]()
    for (one, other), persons in cells.items():
        under_a[one] += persons
        under_b[other] += persons
    sides = [Side(name, {n: c[n] for n in names}, {}) for name, names, c in (("x", a, under_a), ("y", b, under_b))]
    made = tuple(Cell(one, other, persons, ()) for (one, other), persons in cells.items())
    return OntologyDifference(sides[0], sides[1], made, sum(cells.values()), 1, 0, 0, 0, 0, 0)


FOUND = difference(
    ["first", "<odd & name>", "last"],
    ["first", "new", "last"],
    {("first", "first"): 60, ("first", "new"): 25, ("<odd & name>", "new"): 10, ("last", "last"): 5},
)


def drawn(found: OntologyDifference) -> ElementTree.Element:
    return ElementTree.fromstring(flow_picture(found, "old", "new"))


def bars(root: ElementTree.Element) -> list[tuple[float, float, float, str]]:
    """(x, top, height, colour) of each stage, left ones first."""
    return [
        (float(bar.attrib["x"]), float(bar.attrib["y"]), float(bar.attrib["height"]), bar.attrib["fill"])
        for bar in root.iter(f"{SVG}rect")
        if bar.attrib.get("class") != "paper"
    ]


def test_heights_are_shares_of_persons() -> None:
    heights = [height for _, _, height, _ in bars(drawn(FOUND))]
    assert heights == pytest.approx([85 * 4.2, 10 * 4.2, 5 * 4.2, 60 * 4.2, 35 * 4.2, 5 * 4.2], abs=0.1)


def test_bands_fill_each_bar_exactly_and_say_their_numbers() -> None:
    root = drawn(FOUND)
    ends: Counter[float] = Counter()
    for band in root.iter(f"{SVG}path"):
        numbers = [float(n) for n in re.findall(r"[\d.]+", band.attrib["d"])]
        ends[numbers[0]] += numbers[-1] - numbers[1]
        ends[numbers[6]] += numbers[9] - numbers[7]
    assert list(ends.values()) == pytest.approx([420.0, 420.0], abs=1)
    said = {band.findtext(f"{SVG}title") for band in root.iter(f"{SVG}path")}
    assert "first to new: 25 persons (25.0%)" in said


def test_whoever_stays_is_paler_and_below_whoever_moves() -> None:
    classes = [band.attrib["class"] for band in drawn(FOUND).iter(f"{SVG}path")]
    assert classes == ["band stay", "band stay", "band move", "band move"]


def test_a_name_has_one_colour_on_both_sides_and_no_two_stages_of_a_side_share_theirs() -> None:
    first, odd, last, again, new, end = (colour for _, _, _, colour in bars(drawn(FOUND)))
    assert (first, last) == (again, end)
    assert new not in (first, odd, last)
    seven = [f"a{n}" for n in range(7)], ["a3", *(f"b{n}" for n in range(6))]
    found = difference(*seven, dict.fromkeys(zip(*seven, strict=True), 1))
    colours = [colour for _, _, _, colour in bars(drawn(found))]
    assert set(colours[:7]) == set(colours[7:]) == set(COLOURS)


def test_it_reads_in_light_and_dark_and_names_itself_in_words() -> None:
    text = flow_picture(FOUND, "old", "new")
    assert "prefers-color-scheme: dark" in text
    root = ElementTree.fromstring(text)
    assert root.attrib["role"] == "img"
    assert root.findtext(f"{SVG}title") == "35 of 100 persons (35.0%) stand elsewhere"
    assert "<odd & name> to new: 10" in str(root.findtext(f"{SVG}desc"))


def test_names_of_thin_neighbours_do_not_overlap() -> None:
    names = [f"s{n}" for n in range(7)]
    root = drawn(difference(names, names, {("s0", "s0"): 1_000_000, ("s6", "s6"): 1}))
    places: dict[str, list[float]] = {"start": [], "end": []}
    for label in root.iter(f"{SVG}text"):
        if label.attrib["class"] == "ink name":
            places[label.attrib["text-anchor"]].append(float(label.attrib["y"]))
    for column in places.values():
        assert all(below - above >= 30 for above, below in pairwise(column))
    height = float(root.attrib["height"])
    assert max(places["end"]) + 15 < height - 18
