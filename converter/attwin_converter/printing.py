"""What the command line prints: progress, figures, the table of candidates."""

from typing import Self

import click

from attwin.core.manifest import Figures, Manifest
from attwin_converter.report import Tried
from attwin_converter.train import Trained

_MOST_NAME = 46


def print_trained(trained: Trained) -> None:
    """Print which candidate was chosen among which, and how good it is."""
    manifest = trained.manifest
    click.echo(f"{'candidate':<{_MOST_NAME}}  error  other sensors  us a row    KiB")
    for row in trained.tried:
        click.echo(_line(row))
    models = f", {trained.seeds} models averaged" if trained.seeds > 1 else ""
    click.echo(
        f"\nChosen: {trained.chosen}{models}; {trained.train_rows} rows trained on, {trained.model_bytes} bytes."
    )
    print_figures("out of fold", trained.validation)
    print_proof(manifest)


def print_proof(manifest: Manifest) -> None:
    """Print the figures of held-out rows, and what the file does in every runtime."""
    if manifest.before:
        print_figures("held out, Keras", manifest.before)
    if manifest.after:
        print_figures(f"held out, {manifest.precision}", manifest.after)
    for runtime in manifest.runtimes:
        click.echo(
            f"{runtime.name} {runtime.version}: scores off by {runtime.worst:.4f} at most, "
            f"{runtime.latency_us:.2f} us a row, {runtime.memory_kb} KiB"
        )


def _line(row: Tried) -> str:
    note = "chosen" if row.is_chosen else row.note.partition("\n")[0]
    numbers = [
        f"{row.plain:.4f}" if row.plain is not None else "     -",
        f"{row.shifted:13.4f}" if row.shifted is not None else f"{'-':>13}",
        f"{row.latency_us:8.2f}" if row.latency_us is not None else f"{'-':>8}",
        f"{row.file_kb:5.0f}" if row.file_kb is not None else f"{'-':>5}",
    ]
    return f"{row.name:<{_MOST_NAME}} {'  '.join(numbers)}  {note}"


def print_figures(what: str, figures: Figures) -> None:
    """Print the figures of one model on one set of rows."""
    click.echo(f"{what}: {figures.words}")


class Bars:
    """One progress bar a stage on a terminal; one line a stage elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 -- an extra, whose absence `train` tells first
        from rich.progress import (  # noqa: PLC0415 -- the same
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage(self, name: str, steps: int) -> None:
        """Begin a stage."""
        self._task = self._progress.add_task(name, total=steps, said="")
        if not self._console.is_terminal:
            click.echo(f"{name} ...", err=True)

    def step(self, said: str) -> None:
        """Note a step of the stage."""
        self._progress.update(self._task, advance=1, said=said)
