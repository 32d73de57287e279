"""``attwin-convert``: the command line of the workstation side."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from typing import Self

import click

import attwin
from attwin.core.errors import DataError
from attwin.core.manifest import Figures
from attwin.wiring.command_line import EXIT_FAILED, run_command
from attwin.wiring.models import bundle_path
from attwin_converter.dataset import load_dataset
from attwin_converter.evaluate import evaluate
from attwin_converter.findings import Severity, inspect_files, summary_of
from attwin_converter.train import Progress as Listener
from attwin_converter.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(attwin.__version__, prog_name="attwin-convert")
def cli() -> None:
    """Train attention models on a workstation and bundle them for gateways."""


@cli.command("train")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The bundle to write.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def train_command(dataset: Path, out: Path, *, as_json: bool) -> None:
    """Train the model of DATASET, a YAML description, and write its bundle."""
    settings = load_dataset(dataset)
    missing = [name for name in ("tensorflow", "keras", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        raise DataError(f"training needs {', '.join(missing)}: pip install 'attwin[converter]'")
    if not out.absolute().parent.is_dir():
        raise DataError(f"--out: no folder {out.absolute().parent}")
    with _Bars() as bars:
        trained = train(settings, out, Listener(stage=bars.stage, step=bars.step))
    if as_json:
        click.echo(json.dumps({"bundle": str(out), **dataclasses.asdict(trained)}))
        return
    click.echo(
        f"{trained.train_rows} rows trained on, {trained.after.rows} held out, {trained.model_bytes} bytes of model"
    )
    _print_figures("Keras", trained.before)
    _print_figures(f"int8 in {trained.runtime}", trained.after)
    click.echo(f"largest difference of a score: {trained.worst:.4f}")
    click.echo(f"Wrote {out}.")


@cli.command("evaluate")
@click.argument("bundle")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def evaluate_command(bundle: str, dataset: Path, *, as_json: bool) -> None:
    """Score the test rows of DATASET with the exported int8 file of BUNDLE in the runtime, and print its figures."""
    figures, runtime = evaluate(bundle_path(bundle), load_dataset(dataset))
    if as_json:
        click.echo(json.dumps({"runtime": runtime, **dataclasses.asdict(figures)}))
    else:
        _print_figures(f"int8 in {runtime}", figures)


@cli.command("inspect")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def inspect_command(dataset: Path, *, as_json: bool) -> None:
    """Look for problems in DATASET without training: wrong or rare labels, dead metrics, leaks, gaps, shifts.

    Exits with 1 where it finds an error.
    """
    read, findings = inspect_files(load_dataset(dataset))
    facts = summary_of(read) if read else {}
    if as_json:
        click.echo(json.dumps({**facts, "findings": [dataclasses.asdict(finding) for finding in findings]}))
    else:
        for name, fact in facts.items():
            click.echo(f"{name.replace('_', ' ')}: {fact}")
        for finding in findings:
            click.echo(f"{finding.severity:<7}  {finding.where}: {finding.what}")
            if finding.advice:
                click.echo(f"         {finding.advice}")
        click.echo(f"{len(findings)} findings." if findings else "Nothing was found.")
    if any(finding.severity == Severity.ERROR for finding in findings):
        sys.exit(EXIT_FAILED)


def main() -> None:
    """Run the command line."""
    run_command(cli, "attwin-convert")


def _print_figures(what: str, figures: Figures) -> None:
    right = round(figures.accuracy * figures.rows)
    area = "none (one class)" if figures.auc is None else f"{figures.auc:.4f}"
    click.echo(
        f"{what}: accuracy {figures.accuracy:.4f} ({right} of {figures.rows}), "
        f"Brier (MSE) {figures.brier:.4f}, AUC {area}"
    )


class _Bars:
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


if __name__ == "__main__":
    main()
