"""The frame of a picture: one SVG file that needs nothing else, readable in light and in dark. Pure.

Every picture that is a file is framed here; charts inside the board's pages are those of ``reports.page.charts``, which
the style sheet of the page colours. Colours are those of Okabe and Ito, which people of any colour vision tell apart;
what a picture shows is also said in words, which screen readers read. Input: words and drawn parts. Output: text of the
file. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C")
"""One for each place in the order of stages; there are at most seven."""

_LIGHT = """
  .paper { fill: #ffffff } .ink { fill: #1b1b1b } .soft { fill: #5a5a5a } .rule { stroke: #d8d8d8 }
  .line { fill: none; stroke: #0072B2; stroke-width: 2 } .point { fill: #0072B2 }
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Arial, sans-serif; font-size: 13px }
  .title { font-size: 17px; font-weight: 600 } .name { font-weight: 600 }
"""
_DARK = """
    .paper { fill: #16181c } .ink { fill: #f1f1f1 } .soft { fill: #b4b4b4 } .rule { stroke: #3a3d44 }
    .line { stroke: #56B4E9 } .point { fill: #56B4E9 }
"""


def framed(
    title: str,
    described: str,
    parts: Sequence[str],
    *,
    size: tuple[int, float],
    line: str = "",
    light: str = "",
    dark: str = "",
) -> str:
    """The text of the file.

    Args:
        title: what is shown, drawn at the top and read first.
        described: the same in words and numbers, for who does not see it.
        parts: what is drawn below, as SVG; texts in it are escaped already. The style has the classes ``ink``,
            ``soft``, ``rule``, ``line``, ``point``, ``title`` and ``name``.
        size: width and height.
        line: a line below the title.
        light, dark: further rules of style, for either setting of the reader.
    """
    width, height = size
    below = [f'<text class="soft" x="24" y="58">{escape(line)}</text>'] if line else []
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" '
            f'height="{height:.0f}" role="img" aria-labelledby="title desc">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(described)}</desc>',
            f"<style>{_LIGHT}{light}  @media (prefers-color-scheme: dark) {{{_DARK}{dark}  }}\n</style>",
            f'<rect class="paper" width="{width}" height="{height:.0f}"/>',
            f'<text class="ink title" x="24" y="34">{escape(title)}</text>',
            *below,
            *parts,
            "</svg>",
            "",
        ]
    )
