"""``attwin demo``: everything on real data, in one terminal."""

import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from attwin.cli.options import time_text
from attwin.wiring.demo import Demo, Moment, Summary, running_demo

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

_LOOK_SECONDS = 0.5
_LINES_KEPT = 8
_PLAIN_EVERY_SECONDS = 2.0
_BAR = 20


class View(Protocol):
    """Where the demo is shown."""

    def show(self, moment: Moment) -> None:
        """Show what is new."""
        ...


@click.command("demo")
@click.option(
    "--speed",
    default=600.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="600 plays ten hours a minute.",
)
@click.option("--seconds", type=click.FloatRange(min=1), help="End after so long; to the end of the data if left out.")
@click.option("--embedded", is_flag=True, help="Use the embedded broker even where Mosquitto is installed.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep configuration, database and logs there.",
)
def command(speed: float, seconds: float | None, keep: Path | None, *, embedded: bool) -> None:
    """Play real readings of an office through a broker, the agent and back from upstream, and show it live.

    Needs no broker, no model and no root. The readings are of February 2015 and keep their own times.
    """
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attwin-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise click.BadParameter(f"{folder} is not empty; the sums are those of one demo", param_hint="--keep")
        interrupted = stack.enter_context(_interrupts())
        demo = stack.enter_context(running_demo(folder, speed=speed, embedded=embedded))
        with _view(demo, speed) as view:
            deadline = time.monotonic() + (seconds or float("inf"))
            while demo.is_playing() and time.monotonic() < deadline and not interrupted:
                view.show(demo.look())
                time.sleep(_LOOK_SECONDS)
            summary = demo.finish()
        _print(summary)
        if keep:
            click.echo(f"Kept in {keep}: try `attwin twin list --config {keep / 'attwin.yaml'}`.")
        sys.exit(0 if summary.adds_up() else 1)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them."""
    caught: list[int] = []
    before = {n: signal.signal(n, lambda number, _: caught.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _view(demo: Demo, speed: float) -> Iterator[View]:
    if not sys.stdout.isatty():
        click.echo(f"broker {demo.broker}, playing at {speed:g} times real time")
        yield PlainView()
        return
    try:
        from rich.live import Live  # noqa: PLC0415 -- the extra `demo` brings it
    except ImportError:
        yield PlainView()
        return
    with Live(auto_refresh=False) as live:
        yield LiveView(live, f"broker {demo.broker}, {speed:g} times real time, Ctrl-C ends it")


class PlainView:
    """Plain lines: every alert, and the twins and what arrived upstream now and then."""

    def __init__(self) -> None:
        self._next = 0.0
        self._topics: Counter[str] = Counter()

    def show(self, moment: Moment) -> None:
        """Print what is new."""
        for event in moment.events:
            click.echo(f"alert     {_event_text(event)}")
        self._topics.update(arrival.topic for arrival in moment.arrivals)
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PLAIN_EVERY_SECONDS
        for twin in moment.twins:
            score = twin.get("attention")
            if isinstance(score, float):
                click.echo(f"twin      {twin['entity']} {time_text(twin['attention_ms'])} attention {score:.3f}")
        for topic, count in self._topics.items():
            click.echo(f"upstream  {topic} ({count} message{'' if count == 1 else 's'})")
        self._topics.clear()


class LiveView:
    """Tables that are drawn anew."""

    def __init__(self, live: "Live", title: str) -> None:
        self._live = live
        self._title = title
        self._events: deque[str] = deque(maxlen=_LINES_KEPT)
        self._arrivals: deque[str] = deque(maxlen=_LINES_KEPT)

    def show(self, moment: Moment) -> None:
        """Draw the twins, the alerts and what arrived upstream."""
        from rich.console import Group  # noqa: PLC0415 -- the extra `demo` brings rich
        from rich.panel import Panel  # noqa: PLC0415 -- the same

        self._events.extend(_event_text(event) for event in moment.events)
        self._arrivals.extend(f"{a.topic} {a.payload.decode(errors='replace')}" for a in moment.arrivals)
        counters = f"{moment.status.get('readings_stored_total', 0)} readings stored"
        alerts = Panel(_cut(self._events, "none yet"), title="alerts")
        arrived = Panel(_cut(self._arrivals, "nothing yet"), title="arrived upstream")
        title = f"[bold]attwin demo[/bold]  {self._title}  {counters}"
        self._live.update(Group(title, _twin_table(moment), alerts, arrived), refresh=True)


def _twin_table(moment: Moment) -> "Table":
    from rich.table import Table  # noqa: PLC0415 -- the extra `demo` brings rich

    table = Table(title="twins")
    for column in ("entity", "time (UTC)", "attention", "0 to 1", "temperature", "light", "co2", "alerts"):
        table.add_column(column)
    for twin in moment.twins:
        score = twin.get("attention")
        filled = round(score * _BAR) if isinstance(score, float) else 0
        alerts = twin.get("alerts")
        table.add_row(
            str(twin["entity"]),
            time_text(twin.get("attention_ms")),
            f"{score:.3f}" if isinstance(score, float) else "-",
            "[green]" + "█" * filled + "[/green]" + "░" * (_BAR - filled),
            *(f"{twin[m]:.4g}" if isinstance(twin.get(m), float) else "-" for m in ("temperature", "light", "co2")),
            ", ".join(map(str, alerts)) if isinstance(alerts, list) else "",
        )
    return table


def _cut(lines: Iterable[str], empty: str) -> "Text":
    """Return lines that end in an ellipsis where the terminal does; brackets in them are no markup."""
    from rich.text import Text  # noqa: PLC0415 -- the extra `demo` brings rich

    return Text("\n".join(lines) or empty, no_wrap=True, overflow="ellipsis")


def _event_text(event: dict[str, object]) -> str:
    return (
        f"{time_text(event['time_ms'])} {event['state']} {event['rule']} at {event['entity']}: "
        f"{event['subject']} {event['value']:.4g}"
    )


def _print(summary: Summary) -> None:
    sign = "=" if summary.adds_up() else "IS NOT"
    click.echo(
        f"published {summary.published} {sign} stored {summary.stored} + duplicate {summary.duplicate} "
        f"+ rejected {summary.rejected}"
    )
    click.echo(
        f"{summary.scores} scores by {summary.runtime}, {summary.alerts} alerts, {summary.upstream} messages upstream"
    )
