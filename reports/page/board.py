"""The page around what the board and the report show: its frame, its look, and the script that renews its sections.

Input: HTML of sections. Output: HTML, CSS, JavaScript. Pure. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reports.page.charts import HUES
from reports.page.sections import Section

COUNTED = '<p class="soft">It is being counted.</p>'
"""What a section holds until it was made for the first time."""

LOOKED_UP = '<p class="soft wait">It is being looked up.</p>'
"""What a story begins with; it hides itself when the story follows."""


def part(section: Section, content: str, version: str) -> str:
    """A section of the page. ``version`` changes with its content; empty before there is any."""
    busy = "" if version else ' aria-busy="true"'
    return (
        f'<section id="{section.name}" data-version="{version}"{busy} aria-labelledby="{section.name}-title">'
        f'<h2 id="{section.name}-title">{escape(section.title)}</h2>{content or COUNTED}</section>'
    )


def contents(sections: Sequence[Section], page: str = "/") -> str:
    """Links to the sections of a page; empty for the page on which they stand."""
    links = "".join(
        f'<li><a href="{page}#{one.name}">{escape(one.title.partition(":")[0])}</a></li>' for one in sections
    )
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>'


def page(title: str, content: str, *, live: bool, asked: str = "", navigation: str = "") -> str:
    """A whole page around content that is HTML already. ``live``: the page renews its sections."""
    script = '<script src="/board.js" defer></script>' if live else ""
    header = f"""<header><h1><a href="/">Wayline</a></h1><form action="/find" role="search">
<label for="id">Person, identifier or decision</label>
<input id="id" name="id" value="{escape(asked)}" required autocomplete="off"
placeholder="user_id:42, email:ADDRESS, p_…"><button>Find</button></form></header>
{navigation}<p id="said" role="status"></p>"""
    head = f'<link rel="stylesheet" href="/board.css">{script}'
    return document(title, head, header, content, "board" if live else "story")


def document(title: str, head: str, header: str, content: str, kind: str) -> str:
    """A document: what the head says besides, what stands before the content, the content and its class; all HTML."""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">
{head}</head><body><a class="skip" href="#content">Skip to content</a>
{header}<main id="content" class="{kind}" tabindex="-1">
{content}</main></body></html>"""


def _hues(*values: str) -> dict[str, str]:
    """The classes of charts, each with its colour."""
    return dict(zip((f"hue{n}" for n in range(HUES)), values, strict=True))


LIGHT = {
    "ink": "#1a1a1a",
    "soft": "#555555",
    "paper": "#ffffff",
    "line": "#767676",
    "bar": "#0072b2",
    "link": "#005a8e",
    **_hues("#6b6b6b", "#0072b2", "#a86f00", "#00805d", "#b0508a", "#c25400", "#2c86bf"),
}
"""Names of colours and their values; the hues are Okabe's and Ito's, darkened until they stand out from the paper."""

DARK = {
    "ink": "#f0f0f0",
    "soft": "#b8b8b8",
    "paper": "#161616",
    "line": "#8c8c8c",
    "bar": "#56b4e9",
    "link": "#7cc7f2",
    **_hues("#b0b0b0", "#56b4e9", "#e69f00", "#1fc298", "#e09bc4", "#ff8a3d", "#a8c8ff"),
}


def _declared(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


STYLE = (
    f""":root{{color-scheme:light dark;{_declared(LIGHT)}}}
@media(prefers-color-scheme:dark){{:root{{{_declared(DARK)}}}}}
"""
    + """*{box-sizing:border-box}
body{margin:0 auto;max-width:88rem;padding:.5rem 1rem;font:16px/1.45 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}a{color:var(--link)}h1{margin:0;font-size:1.5rem}h1 a{color:inherit;text-decoration:none}
h2{margin:0 0 .5rem;font-size:1.15rem}h3{margin:.8rem 0 .3rem;font-size:1rem}p{margin:.3rem 0}.soft{color:var(--soft)}
header{display:flex;flex-wrap:wrap;gap:.5rem 1rem;justify-content:space-between;align-items:center}
form{display:flex;flex-wrap:wrap;gap:.4rem;align-items:center}
input,button{font:inherit;padding:.25rem .6rem;color:var(--ink);background:var(--paper);border:1px solid var(--line)}
input{min-width:min(22rem,100%)}::placeholder{color:var(--soft);opacity:1}button{cursor:pointer}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;margin:.4rem 0;list-style:none}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.2rem;background:var(--paper);padding:.3rem}
:focus-visible{outline:3px solid var(--link);outline-offset:1px}main:focus{outline:none}
.board{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,38rem),1fr));gap:.8rem;align-items:start}
#ledger{grid-column:1/-1}
section{min-width:0;border:1px solid var(--line);border-radius:6px;padding:.7rem .8rem}.story section{margin:.8rem 0}
svg{max-width:100%;min-width:36rem;height:auto;display:block}
svg text{fill:var(--ink);font-size:14px}.bar{fill:var(--bar)}.rule{stroke:var(--line);stroke-width:.5}
.middle{fill:var(--ink)}.diagonal{stroke-width:1.5;stroke-dasharray:4 4}
.line{fill:none;stroke-width:2}.band{opacity:.45}.band:hover{opacity:.9}.back{opacity:.75}
svg .mark{font-size:11px;font-weight:700;paint-order:stroke;stroke:var(--paper);stroke-width:4px}
.dash1,.dash4{stroke-dasharray:7 3}.dash2,.dash5{stroke-dasharray:2 3}.dash3,.dash6{stroke-dasharray:9 3 2 3}
.wait:not(:last-child){display:none}.wide{overflow-x:auto}summary{cursor:pointer}
table{border-collapse:collapse;font-size:.92rem;min-width:min(100%,26rem)}
caption{text-align:left}th,td{border-bottom:1px solid var(--line);
padding:.2rem .7rem .2rem 0;text-align:left;vertical-align:top}
.number{text-align:right;font-variant-numeric:tabular-nums}.long{min-width:13rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:0}dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}td:first-child{white-space:nowrap}
ol,ul{padding-left:1.2rem;margin:.3rem 0}li{margin:.25rem 0;overflow-wrap:anywhere}
svg.own{min-width:0;max-width:none}
@media(max-width:40rem){dl{grid-template-columns:1fr}dd{margin-bottom:.3rem}}
"""
    + "".join(f".hue{n}{{stroke:var(--hue{n})}}.fill{n}{{fill:var(--hue{n})}}" for n in range(HUES))
)

SCRIPT = """'use strict';
// A section is replaced when its content is another, but never under the reader: not while it holds the focus or a
// selection. What was unfolded or scrolled stays so.
const said = document.getElementById('said');
function held(section) {
  const picked = document.getSelection();
  return section.contains(document.activeElement)
    || (picked && !picked.isCollapsed && section.contains(picked.anchorNode));
}
async function renewed(old, name) {
  const answer = await fetch('/section/' + name);
  if (!answer.ok) return;
  const made = document.createElement('template');
  made.innerHTML = await answer.text();
  const fresh = made.content.firstElementChild;
  if (held(old)) return;
  const kept = (kind) => [...old.querySelectorAll(kind)], now = (kind) => [...fresh.querySelectorAll(kind)];
  const opened = kept('details').map((one) => one.open), scrolled = kept('.wide').map((one) => one.scrollLeft);
  old.replaceWith(fresh);
  now('details').forEach((one, place) => { one.open = opened[place] ?? false; });
  now('.wide').forEach((one, place) => { one.scrollLeft = scrolled[place] ?? 0; });
}
async function renew() {
  let pause = 2000;
  try {
    const answer = await fetch('/versions');
    const versions = await answer.json();
    let waiting = false;
    for (const [name, version] of Object.entries(versions)) {
      const old = document.getElementById(name);
      if (!version) pause = 250;
      if (!old || old.dataset.version === version) continue;
      if (held(old)) waiting = true; else await renewed(old, name);
    }
    said.textContent = waiting ? 'Newer numbers are there: a part shows them when you leave it.' : '';
  } catch (error) {
    said.textContent = 'The board does not answer: what is shown may be old.';
  }
  setTimeout(renew, pause);
}
renew();
"""
