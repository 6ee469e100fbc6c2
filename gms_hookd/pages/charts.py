"""Small pictures as SVG, each with its title; a sentence beside it says the same.

All of one outcome is one path of strokes, so that a picture is 2 KiB at most.
"""

from collections.abc import Mapping, Sequence

from gms_hookd.pages.html import NOTHING, Html, tag
from gms_hookd.pages.texts import Words

STRIP = 20  # runs in the strip of a task
_WIDTH, _UP, _DOWN = 480, 44, 26  # of the bars, above and below their axis
_HEIGHT = _UP + _DOWN + 6
# Position and form tell outcomes apart, not colour alone: start and length of a stroke.
_STROKES = {
    "success": "M{x} 1v18",
    "conflict": "M{x} 1v8",
    "failed": "M{x} 11v8",
    "cancelled": "M{x} 9v2",
}
Counts = Mapping[str, int]


def strip(words: Words, outcomes: Sequence[str]) -> Html:
    """Return the last runs of a task as strokes, the newest right."""
    if not outcomes:
        return NOTHING
    shown = list(reversed(outcomes[:STRIP]))
    paths = [
        _path(name, "".join(
            stroke.format(x=6 * n + 3)
            for n, outcome in enumerate(shown) if outcome == name
        ), 4)
        for name, stroke in _STROKES.items()
    ]  # fmt: skip
    tally = sentence(words, {name: shown.count(name) for name in _STROKES})
    title = words("strip", count=len(shown), tally=tally)
    return _svg("strip", 6 * len(shown), 20, title, *paths)


def sentence(words: Words, counts: Counts) -> str:
    """Return how many there were of each outcome, in words."""
    parts = [
        words("tally_of", count=count, word=words(name))
        for name, count in counts.items()
        if count
    ]
    return " · ".join(parts) or words("no_runs_then")


def bars(words: Words, title: str, windows: Sequence[Counts]) -> Html:
    """Return counts of outcomes as bars: success upward, what is bad downward."""
    step = _WIDTH // max(len(windows), 1)
    scale = _scale(windows)
    paths = {"success": "", "conflict": "", "failed": ""}
    for n, each in enumerate(windows):
        up, conflict, failed = (_length(each.get(name, 0), scale) for name in paths)
        x, below = step * n + step // 2, _UP + 2
        paths["success"] += f"M{x} {_UP}v-{up}" if up else ""
        paths["conflict"] += f"M{x} {below}v{conflict}" if conflict else ""
        paths["failed"] += f"M{x} {below + conflict}v{failed}" if failed else ""
    strokes = [_path(name, d, step - 4) for name, d in paths.items()]
    axis = tag("path", class_="axis", d=f"M0 {_UP + 1}h{_WIDTH}")
    return _svg("wide", _WIDTH, _HEIGHT, title, axis, *strokes)


def _scale(windows: Sequence[Counts]) -> float:
    """Return the length of one run, the same above and below the axis."""
    bad = (each.get("conflict", 0) + each.get("failed", 0) for each in windows)
    up = max((each.get("success", 0) for each in windows), default=0)
    return min(_UP / max(up, 1), _DOWN / max([1, *bad]))


def _length(count: int, scale: float) -> int:
    """Return the length of a bar: at least 2 where there is anything."""
    return max(round(count * scale), 2) if count else 0


def dots(words: Words, runs: Sequence[tuple[str, int]]) -> Html:
    """Return durations (ms) of runs as dots, the newest right; `runs` newest first."""
    longest = max((took for _, took in runs), default=0)
    if not longest:
        return NOTHING
    step = _WIDTH / len(runs)
    places = [
        (outcome, f"M{step * (n + 0.5):.0f} {_HEIGHT - 4 - 66 * took / longest:.0f}h.1")
        for n, (outcome, took) in enumerate(reversed(runs))
    ]
    names = dict.fromkeys(outcome for outcome, _ in places)
    paths = [
        _path(name, "".join(d for outcome, d in places if outcome == name), 6,
              cap="round" if name == "success" else "square")
        for name in names
    ]  # fmt: skip
    axis = tag("path", class_="axis", d=f"M0 {_HEIGHT - 1}h{_WIDTH}")
    return _svg("dots", _WIDTH, _HEIGHT, durations(words, runs), axis, *paths)


def durations(words: Words, runs: Sequence[tuple[str, int]]) -> str:
    """Return in words how long runs took."""
    took = sorted(each for _, each in runs)
    places = took[0], took[len(took) // 2], took[-1]
    least, half, most = (words.span(each) for each in places)
    return words("durations_are", count=len(took), least=least, most=most, half=half)


def _path(name: str, d: str, width: int, cap: str | None = None) -> Html | None:
    if not d:
        return None
    return tag("path", class_=name, d=d, stroke_width=width, stroke_linecap=cap)


def _svg(kind: str, width: int, height: int, title: str, *shapes: Html | None) -> Html:
    return tag(
        "svg",
        tag("title", title),
        *shapes,
        class_=kind,
        width=width if kind == "strip" else None,
        height=height if kind == "strip" else None,
        viewBox=f"0 0 {width} {height}",
        role="img",
        preserveAspectRatio="none" if kind == "wide" else None,
    )
