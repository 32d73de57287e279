"""Draws the pictures of the documents, from the examples that stand beside them.

Run it as ``python docs/pictures.py``. A picture depends on neither the day nor the machine.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from attwin.core.anomaly import Anomalies
from attwin.core.forecast import Forecasts
from attwin.ports import AlertChange
from attwin.settings.load import load_settings
from attwin.settings.model import Settings
from attwin.wiring.rehearsal import Recorded, rehearse

DOCS = Path(__file__).parent
HEAD = """\
version: 1
gateway: {id: docs, zone: Europe/Brussels}
broker: {url: "mqtt://127.0.0.1"}
kinds:
  room:
    metrics: {co2: {unit: ppm, every: 1m}}
    forecast: {of: [co2], every: 10m, horizons: [30m, 1h, 2h]}
    anomaly: {of: [co2], every: 10m}
sources: [{topic: "s/{entity}/{metric}", kind: room}]
"""
_EXAMPLE = re.compile(r"```yaml\n(.+?)```\n\n!\[([^\]]+)\]\(img/alerts-(\w+)\.svg\)", re.DOTALL)
_COLOURS = {"info": "#3b7dd8", "warning": "#d98a00", "critical": "#c9302c"}
_MUTED = "#b0b0b0"
MINUTE_MS = 60_000
DAY_MIN = 1_440
SILENCE_MIN, LONG_MIN, SHOWN_MIN = 10, 240, 2 * DAY_MIN
"""What is a gap; from when on the axis shows the time of day; what comes before the last so many is learned from."""
START_MS = round(datetime(2026, 11, 25, 7, tzinfo=UTC).timestamp() * 1000)
"""Eight o'clock on a Wednesday in Brussels."""

Values = dict[str, list[tuple[float, float]]]
"""By entity, (minute, value) in order."""


def examples() -> list[tuple[str, str, str]]:
    """Return (name, caption, configuration) of every example with a picture."""
    text = (DOCS / "alerts.md").read_text(encoding="utf-8")
    return [(name, caption, yaml) for yaml, caption, name in _EXAMPLE.findall(text)]


def curve(
    *points: tuple[float, float], step: float = 1.0, noise: float = 0.0, seed: int = 1
) -> list[tuple[float, float]]:
    """Return values on straight lines between points, every so many minutes."""
    minutes = np.arange(points[0][0], points[-1][0] + step / 2, step)
    values = np.interp(minutes, *zip(*points, strict=True))
    values += np.random.default_rng(seed).normal(0, noise, len(minutes)) if noise else 0
    return list(zip(minutes.tolist(), values.tolist(), strict=True))


def _peers() -> Values:
    rooms = {
        f"n-{n}": curve((0, 600 + 8 * n), (60, 1000 + 8 * n), (120, 700 + 8 * n), noise=6, seed=n) for n in range(7)
    }
    leaves = curve((0, 624), (40, 891), (55, 1500), (85, 1450), (95, 850), (120, 724), noise=6, seed=9)
    return {**rooms, "n-3": leaves}


_STEPS = (
    (0, 600),
    (10, 600),
    (11, 1150),
    (20, 1150),
    (21, 700),
    (35, 700),
    (36, 1200),
    (75, 1150),
    (76, 700),
    (120, 650),
)
_COMES_AND_GOES = tuple(
    point for n in range(8) for point in ((6 * n, 700), (6 * n + 2, 1150), (6 * n + 3, 1150), (6 * n + 5, 700))
)


def _days(count: int) -> Values:
    """Return a value every ten minutes that rises and falls once a day."""
    place = np.arange(count * 144)
    value = 850 - 350 * np.cos(2 * np.pi * place / 144) + np.random.default_rng(3).normal(0, 8, len(place))
    return {"lab": list(zip((place * 10.0).tolist(), value.tolist(), strict=True))}


def _strange() -> Values:
    """Return a fortnight whose last Monday morning is not like others."""
    return {"lab": [(m, v - 300 if 17_440 < m < 17_740 else v) for m, v in _days(14)["lab"]]}


RECORDINGS: dict[str, Callable[[], Values]] = {
    "level": lambda: {"lab": curve((0, 700), (40, 1060), (80, 960), (120, 700), noise=18)},
    "for": lambda: {"lab": curve(*_STEPS, noise=10)},
    "count": lambda: {
        "lab": curve((0, 700), (20, 980), (60, 980), (75, 1150), (95, 1150), (105, 950), (120, 700), noise=22, seed=5)
    },
    "cooldown": lambda: {"lab": curve(*_STEPS, noise=10)},
    "flapping": lambda: {"lab": curve(*_COMES_AND_GOES, (48, 700), (120, 650), noise=10)},
    "escalate": lambda: {
        "lab": curve((0, 700), (15, 1100), (25, 1500), (50, 1250), (90, 1200), (105, 700), (120, 650), noise=10)
    },
    "schedule": lambda: {
        "lab": curve((0, 700), (540, 700), (560, 1200), (700, 1200), (760, 700), (800, 700), noise=12)
    },
    "quiet": lambda: {
        "lab": curve(
            (780, 700),
            (860, 700),
            (870, 1200),
            (960, 1200),
            (970, 700),
            (1100, 700),
            (1110, 1200),
            (1440, 1200),
            noise=12,
        )
    },
    "silent": lambda: {"lab": curve((0, 700), (40, 750), noise=10) + curve((80, 760), (120, 740), noise=10, seed=2)},
    "peers": _peers,
    "together": lambda: {
        f"n-{n}": curve(
            (0, 600 + 20 * n), (30 + 6 * n, 1150), (80 + 5 * n, 1150), (115, 650), (120, 640), noise=8, seed=n
        )
        for n in range(5)
    },
    "forecast": lambda: _days(12),
    "warning": lambda: _days(12),
    "anomaly": _strange,
    "suppressed": lambda: {
        "building": curve((0, 420), (20, 420), (21, 250), (60, 250), (61, 420), (120, 420), noise=3),
        "lab": curve((0, 700), (30, 1100), (90, 1150), (100, 700), (120, 650), noise=8),
    },
}


def recorded(values: Mapping[str, list[tuple[float, float]]]) -> Recorded:
    """Return values as readings."""
    rows = [(minute, place, value) for place, own in enumerate(values.values()) for minute, value in own]
    rows.sort(key=lambda row: row[:2])
    minutes, places, numbers = (np.array(column) for column in zip(*rows, strict=True))
    return Recorded(
        kind="room",
        entities=list(values),
        metrics=["co2"],
        entity=places.astype(np.int32),
        metric=np.zeros(len(rows), np.int32),
        time_ms=START_MS + (minutes * MINUTE_MS).astype(np.int64),
        value=numbers.astype(np.float64),
    )


def settings_of(yaml: str) -> Settings:
    """Return an example as a whole configuration."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "attwin.yaml")
        path.write_text(HEAD + yaml, encoding="utf-8")
        Path(folder, "secrets.yaml").write_text("chat: a-token\n", encoding="utf-8")
        return load_settings(path, {})


def draw(name: str, settings: Settings, values: Values) -> Figure:
    """Return the picture of an example."""
    changes = rehearse(settings, [recorded(values)])
    begins = max(own[-1][0] for own in values.values()) - SHOWN_MIN
    if begins > 0:
        changes = [change for change in changes if change.after.time_ms > START_MS + begins * MINUTE_MS]
        values = {name: [(m, v) for m, v in own if m >= begins] for name, own in values.items()}
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    FigureCanvasSVG(figure)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for own in values.values():
        minutes, numbers = zip(*own, strict=True)
        # a line does not go on over a silence
        broken = np.where(np.diff(minutes, prepend=minutes[0]) > SILENCE_MIN, np.nan, numbers)
        top.plot(minutes, broken, linewidth=1.1, color="#444444", alpha=0.7)
    if name != "peers":
        for rule in settings.rules:
            levels = (rule.when.above, rule.when.below, rule.when.clear_below, rule.when.clear_above)
            for level in {*levels, *(step.above for step in rule.escalate)} - {None}:
                if rule.when.anomaly:
                    continue
                top.axhline(level, linestyle="--", linewidth=0.8, color="#888888")
    top.set_ylabel("CO2 [ppm]")
    _draw_alerts(below, changes, last=max(own[-1][0] for own in values.values()))
    if max(own[-1][0] for own in values.values()) > LONG_MIN:
        below.xaxis.set_major_locator(MultipleLocator(360 if begins > 0 else 120))
        below.xaxis.set_major_formatter(lambda minute, _place: f"{(8 + int(minute) // 60) % 24:02}:00")
    else:
        below.set_xlabel("minutes")
    for axes in (top, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_alerts(axes: Axes, changes: list[AlertChange], *, last: float) -> None:
    rows: list[str] = []
    since: dict[int, tuple[float, str]] = {}
    for change in changes:
        facts = change.after
        minute = (facts.time_ms - START_MS) / MINUTE_MS
        title = f"{facts.entity} {facts.rule}"
        rows += [title] if title not in rows else []
        if facts.alert in since:
            _bar(axes, rows.index(title), *since.pop(facts.alert), minute)
        if facts.is_active:
            since[facts.alert] = (minute, _COLOURS[facts.severity] if facts.announced and not facts.muted else _MUTED)
        if facts.announced:
            axes.plot(
                [minute],
                [rows.index(title) - 0.42],
                marker="^" if facts.is_active else "v",
                color="black",
                markersize=4,
            )
    for number, (begin, colour) in since.items():
        (facts,) = {c.after.entity + " " + c.after.rule for c in changes if c.after.alert == number}
        _bar(axes, rows.index(facts), begin, colour, last)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_ylim(max(len(rows), 1) - 0.3, -0.9)


def _bar(axes: Axes, row: int, begin: float, colour: str, end: float) -> None:
    axes.barh(row, max(end - begin, 0.2), left=begin, height=0.45, color=colour)


def anomalies() -> Figure:
    """Return a fortnight of a shelf, of which the second week is shown, and how strange each value is."""
    minutes = np.arange(0, 14 * DAY_MIN, 5)
    value = 50 + 25 * np.sin(2 * np.pi * minutes / DAY_MIN - 2) + np.random.default_rng(6).normal(0, 3, len(minutes))
    days = minutes / DAY_MIN
    value[np.argmin(abs(days - 8.4))] += 60
    value[(days > 9.5) & (days < 9.8)] -= 35
    value[(days > 11) & (days < 12)] = 27
    spoken, strange = Anomalies().update(np.zeros(len(minutes), np.int32), START_MS + minutes * MINUTE_MS, value)
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    FigureCanvasSVG(figure)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    shown = days >= 7
    top.plot(days[shown], value[shown], linewidth=0.9, color="#444444")
    top.set_ylabel("visitors")
    below.fill_between(days[shown], strange[shown], color="#e8c9c8", linewidth=0)
    below.plot(days[shown], spoken[shown], linewidth=0.9, color=_COLOURS["critical"])
    below.set_ylabel("score")
    below.set_xlabel("days")
    for axes in (top, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def forecasts() -> Figure:
    """Return the last days of eight weeks of hourly counts, with what was expected a day before."""
    hours = np.arange(8 * 168)
    shape = 300 + 250 * np.sin(2 * np.pi * (hours % 24 - 8) / 24) * np.where(hours // 24 % 7 < 5, 1.0, 0.5)
    value = np.maximum(shape + np.random.default_rng(4).normal(0, 25, len(hours)), 0)
    forecaster = Forecasts([24], 60 * MINUTE_MS)
    said = [forecaster.step(hour, value[hour : hour + 1], local_ms=hour * 60 * MINUTE_MS) for hour in hours.tolist()]
    shown = hours[-96:]
    low, mid, high = (
        np.array([getattr(said[hour - 24], name)[0, 0] for hour in shown]) for name in ("low", "value", "high")
    )
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    days = shown / 24
    axes.fill_between(days, low, high, color="#cfe0f5", linewidth=0, label="nine times in ten")
    axes.plot(days, mid, color=_COLOURS["info"], linewidth=1.2, label="expected a day before")
    axes.plot(days, value[shown], color="#444444", linewidth=0.9, label="came")
    axes.set_ylabel("visitors an hour")
    axes.set_xlabel("days")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Draw all of them."""
    mpl.rcParams.update({"svg.hashsalt": "attwin", "svg.fonttype": "path", "font.size": 9})
    (DOCS / "img").mkdir(exist_ok=True)
    forecasts().savefig(DOCS / "img" / "forecasts.svg", metadata={"Date": None, "Title": "Forecast"})
    anomalies().savefig(DOCS / "img" / "anomalies.svg", metadata={"Date": None, "Title": "Anomaly score"})
    for name, caption, yaml in examples():
        figure = draw(name, settings_of(yaml), RECORDINGS[name]())
        path = DOCS / "img" / f"alerts-{name}.svg"
        figure.savefig(path, metadata={"Date": None, "Title": caption})
        sys.stdout.write(f"{path.relative_to(DOCS.parent)}\n")


if __name__ == "__main__":
    main()
