"""The story as text of a page and as two pictures: stages over time, and the funnel."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.ecom.story import PATHS, STEPS, Path, Story
from benchmarks.page_part import marked
from reports.picture import COLOURS, framed

COMMAND = "make ecom-story"
_WIDTH, _HEIGHT = 960, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 780.0, 80.0, 390.0


def block(story: Story) -> str:
    """The generated part of the page, with its markers."""
    t = story.totals
    lines = ["| | |", "|---|---:|"]
    for name, value in (
        ("users", f"{t.users:,}"),
        ("events", f"{t.events:,}"),
        ("days", f"{t.first} to {t.last}"),
        ("purchases", f"{t.purchases:,}"),
        ("users who bought", f"{t.buyers:,} ({story.rate:.1%})"),
        ("sessions", f"{t.sessions:,}"),
        ("sessions with a purchase", f"{t.converting:,} ({t.converting / t.sessions:.1%})"),
        ("events a session", f"{t.events_per_session:.1f}"),
        ("median session", f"{t.median_minutes:.1f} minutes"),
        ("bounced sessions", f"{t.bounced:.1%}"),
        ("sessions of the shop's own tracker", f"{t.tracker_sessions:,}"),
    ):
        lines.append(f"| {name} | {value} |")
    lines += ["", "### Who stands where", "", f"| as of | users | {' | '.join(story.stages)} |"]
    lines += ["|---|---:|" + "---:|" * len(story.stages)]
    last = story.shares[-1][0]
    for day, users, counts in story.shares:
        ends_month = (day.month != (next_day := day.fromordinal(day.toordinal() + 1)).month) and next_day.day == 1
        if users and (ends_month or day == last):
            shares = " | ".join(f"{count / users:.1%}" for count in counts)
            lines.append(f"| {day} | {users:,} | {shares} |")
    lines += ["", "### Funnel", "", "| stage | users ever in it | of them bought | stays | moved on | fell back | "]
    lines[-1] += "median days of a stay that ended |"
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for step in story.funnel:
        bought = f"{step.bought:,} ({step.bought / step.users:.1%})" if step.users else "0"
        days = "" if step.median_days is None else f"{step.median_days:.1f}"
        lines.append(
            f"| {step.stage} | {step.users:,} | {bought} | {step.stays:,} | {step.moved_on:,} | {step.fell_back:,} | "
            f"{days} |"
        )
    lines += ["", "### The five commonest paths", ""]
    lines += [f"Of {len(story.paths):,} different ones, told up to {STEPS} steps.", ""]
    lines += _path_table(story.paths, "all others")
    buying = sorted(story.paths, key=lambda path: (-path.purchases, -path.sessions, path.steps))
    lines += ["", "### The five paths with most purchases", "", *_path_table(buying, "all others")]
    return marked(COMMAND, lines)


def _path_table(paths: Sequence[Path], others: str) -> list[str]:
    lines = ["| path | sessions | users | sessions with a purchase | purchases |", "|---|---:|---:|---:|---:|"]
    for path in paths[:PATHS]:
        lines.append(
            f"| {' ► '.join(path.steps)} | {path.sessions:,} | {path.users:,} | {path.converting:,} | "
            f"{path.purchases:,} |"
        )
    rest = paths[PATHS:]
    lines.append(
        f"| {others} | {sum(p.sessions for p in rest):,} | | {sum(p.converting for p in rest):,} | "
        f"{sum(p.purchases for p in rest):,} |"
    )
    return lines


def stages_picture(story: Story) -> str:
    """The share of users in each stage by day, stacked; who had not come yet is in none."""
    days = [row for row in story.shares if row[1]]
    first, last = days[0][0].toordinal(), days[-1][0].toordinal()

    def x(day: int) -> float:
        return _LEFT + (day - first) / max(1, last - first) * (_RIGHT - _LEFT)

    def y(share: float) -> float:
        return _BOTTOM - share * (_BOTTOM - _TOP)

    title = "Share of users in each stage"
    final = days[-1]
    words = ", ".join(f"{stage} {count / final[1]:.0%}" for stage, count in zip(story.stages, final[2], strict=True))
    words = f"On {final[0]}: {words}. Of the users who had come by then."
    parts: list[str] = []
    lower = [0.0] * len(days)
    for number, stage in enumerate(story.stages):
        upper = [low + row[2][number] / row[1] for low, row in zip(lower, days, strict=True)]
        over = " L".join(f"{x(row[0].toordinal()):.1f} {y(up):.1f}" for row, up in zip(days, upper, strict=True))
        under = " L".join(
            f"{x(row[0].toordinal()):.1f} {y(low):.1f}" for row, low in reversed(list(zip(days, lower, strict=True)))
        )
        parts.append(
            f'<path opacity="0.85" d="M{over} L{under} Z" fill="{COLOURS[number]}">'
            f"<title>{escape(stage)}</title></path>"
        )
        share = final[2][number] / final[1]
        # names of thin bands must not stand on each other
        parts.append(
            f'<rect x="800" y="{_TOP + 4 + number * 44:.0f}" width="14" height="14" fill="{COLOURS[number]}"/>'
        )
        parts.append(f'<text class="ink name" x="822" y="{_TOP + 16 + number * 44:.0f}">{escape(stage)}</text>')
        parts.append(f'<text class="soft" x="822" y="{_TOP + 33 + number * 44:.0f}">{share:.1%} at the end</text>')
        lower = upper
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<text class="soft" x="{_LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for day, _, _ in days:
        if day.day == 1 or day == days[0][0]:
            parts.append(f'<text class="soft" x="{x(day.toordinal()):.1f}" y="{_BOTTOM + 22}">{day:%Y-%m-%d}</text>')
    return framed(title, words, parts, size=(_WIDTH, _HEIGHT), line=words)


def funnel_picture(story: Story) -> str:
    """Users who were ever in each stage, and those of them who bought."""
    most = max(step.users for step in story.funnel)
    title = "Users who were ever in a stage, and those of them who bought"
    words = "; ".join(f"{step.stage}: {step.users:,}, bought {step.bought:,}" for step in story.funnel)
    parts: list[str] = []
    high = (_BOTTOM - _TOP) / len(story.funnel)
    for number, step in enumerate(story.funnel):
        top = _TOP + number * high
        wide, bought = (520.0 * count / most for count in (step.users, step.bought))
        colour = COLOURS[number]
        parts.append(
            f'<text class="ink name" x="150" y="{top + high / 2 - 4:.1f}" text-anchor="end">{step.stage}</text>'
        )
        parts.append(
            f'<rect x="170" y="{top + 8:.1f}" width="{wide:.1f}" height="{high - 22:.1f}" fill="{colour}" '
            f'opacity="0.35"><title>{escape(step.stage)}: {step.users:,} users</title></rect>'
            f'<rect x="170" y="{top + 8:.1f}" width="{bought:.1f}" height="{high - 22:.1f}" fill="{colour}">'
            f"<title>{escape(step.stage)}: {step.bought:,} bought</title></rect>"
        )
        parts.append(
            f'<text class="ink" x="{180 + wide:.1f}" y="{top + high / 2:.1f}">{step.users:,} users, {step.bought:,} '
            "bought</text>"
        )
    return framed(title, words, parts, size=(_WIDTH, _HEIGHT), line=words)
