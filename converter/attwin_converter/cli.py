"""``attwin-convert``: the command line of the workstation side."""

import dataclasses
import importlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import webbrowser
from pathlib import Path

import click

import attwin
from attwin.core.errors import DataError
from attwin.core.manifest import CARD
from attwin.wiring.command_line import EXIT_FAILED, run_command
from attwin.wiring.models import bundle_path, read_bundle
from attwin_converter.contract import load_contract
from attwin_converter.dask_executor import DaskExecutor
from attwin_converter.dataset import load_dataset
from attwin_converter.evaluate import evaluate
from attwin_converter.findings import Severity, inspect_files, summary_of
from attwin_converter.importing import import_model
from attwin_converter.local_executor import LocalExecutor
from attwin_converter.printing import Bars, print_figures, print_proof, print_trained
from attwin_converter.progress import Progress
from attwin_converter.runtimes import runtimes
from attwin_converter.train import Means, train_model

_SIGNING = {
    "repo": ("attwin_converter.repo_cli", "repo"),
    "push": ("attwin_converter.push_cli", "push_command"),
    "serve": ("attwin_converter.push_cli", "serve_command"),
}
"""Commands that need python-tuf, by module and name."""


class Commands(click.Group):
    """A group of which the commands that sign are loaded when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands that can be used here."""
        signing = list(_SIGNING) if importlib.util.find_spec("tuf") else []
        return sorted([*super().list_commands(ctx), *signing])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command.

        Raises:
            DataError: It needs a package that is not installed.
        """
        if cmd_name not in _SIGNING:
            return super().get_command(ctx, cmd_name)
        _demand_packages("tuf", "securesystemslib", "cryptography")
        module, name = _SIGNING[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(attwin.__version__, prog_name="attwin-convert")
def cli() -> None:
    """Train attention models on a workstation and bundle them for gateways."""


@cli.command("train")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The bundle to write.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default="one a processor",
    help="How many processes fit candidates at a time.",
)
@click.option("--scheduler", help="A Dask scheduler whose workers fit candidates, such as tcp://10.0.0.5:8786.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="PATH",
    help="Another Python that has attwin and another TFLite runtime, to check the exported file in too.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where fits are kept, so that the same command goes on after an interruption. OUT.work, which goes when the "
    "bundle is written, unless told.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def train_command(
    dataset: Path,
    out: Path,
    workers: int,
    scheduler: str | None,
    pythons: tuple[str, ...],
    work: Path | None,
    *,
    as_json: bool,
) -> None:
    """Find the best model of DATASET, a YAML description, that a gateway can afford, and write its bundle.

    Several families of models are cross-validated; the test rows are for the figures alone.
    """
    settings = load_dataset(dataset)
    _demand_packages("tensorflow", "keras", "rich", *(["distributed"] if scheduler else []))
    _demand_folder(out)
    folder = work or out.with_name(out.name + ".work")
    executor = DaskExecutor(scheduler) if scheduler else LocalExecutor(workers)
    with Bars() as bars:
        means = Means(
            executor=executor,
            work=folder,
            runtimes=runtimes(pythons),
            progress=Progress(stage=bars.stage, step=bars.step),
        )
        trained = train_model(settings, out, means)
    if not work:
        shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        click.echo(json.dumps({"bundle": str(out), **dataclasses.asdict(trained)}))
        return
    print_trained(trained)
    click.echo(f"Wrote {out}. `attwin-convert report {out}` shows its card.")


@cli.command("import")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--contract",
    required=True,
    type=click.Path(path_type=Path),
    help="A YAML file that names the model's inputs in order, and a data set that proves it.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The bundle to write.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="PATH",
    help="Another Python that has attwin and another TFLite runtime, to check the file in too.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def import_command(model: Path, contract: Path, out: Path, pythons: tuple[str, ...], *, as_json: bool) -> None:
    """Check MODEL, a .keras or .tflite file that was trained elsewhere, and write its bundle.

    A .keras file is converted and compared with what Keras computes; a .tflite file is taken as it is. The test rows of
    the contract's data set prove either in every runtime.
    """
    agreed = load_contract(contract)
    _demand_packages("tensorflow", "keras", "rich")
    _demand_folder(out)
    with Bars() as bars:
        progress = Progress(stage=bars.stage, step=bars.step)
        imported = import_model(model, agreed, out, runtimes(pythons), progress)
    if as_json:
        click.echo(json.dumps({"bundle": str(out), **dataclasses.asdict(imported)}))
        return
    print_proof(imported.manifest)
    for warning in imported.warnings:
        click.echo(warning)
    click.echo(f"Wrote {out}, {imported.model_bytes} bytes of model. `attwin-convert report {out}` shows its card.")


@cli.command("evaluate")
@click.argument("bundle")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def evaluate_command(bundle: str, dataset: Path, *, as_json: bool) -> None:
    """Score the test rows of DATASET with the exported file of BUNDLE in the runtime, and print its figures."""
    figures, runtime = evaluate(bundle_path(bundle), load_dataset(dataset))
    if as_json:
        click.echo(json.dumps({"runtime": runtime, **dataclasses.asdict(figures)}))
    else:
        print_figures(runtime, figures)


@cli.command("report")
@click.argument("bundle")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it; else a temporary file."
)
@click.option("--open/--no-open", "is_opened", default=True, help="Whether to show it in a browser.  [default: open]")
def report_command(bundle: str, out: Path | None, *, is_opened: bool) -> None:
    """Show the card of BUNDLE: its data, candidates, figures, charts, and what it must not be used for."""
    path = bundle_path(bundle)
    card = read_bundle(path).card
    if not card:
        raise DataError(f"{path} has no card; `attwin-convert train` and `import` put one in")
    if out is None:
        out = Path(tempfile.mkdtemp(prefix="attwin-card-")) / CARD
    try:
        out.write_text(card, encoding="utf-8")
    except OSError as error:
        raise DataError(f"--out: {out} cannot be written: {error.strerror}") from error
    click.echo(f"{out}")
    if is_opened and not webbrowser.open(out.absolute().as_uri()):
        click.echo("There is no browser here; open the file in one.", err=True)


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


def _demand_folder(out: Path) -> None:
    if not out.absolute().parent.is_dir():
        raise DataError(f"--out: no folder {out.absolute().parent}")


def _demand_packages(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        extra = "cluster" if missing == ["distributed"] else "converter"
        raise DataError(f"this needs {', '.join(missing)}: pip install 'attwin[{extra}]'")


if __name__ == "__main__":
    main()
