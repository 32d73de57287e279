"""``attwin detect``: how strange each row of a CSV file is."""

import sys
from pathlib import Path

import click

from attwin.cli.options import json_option, parse_zone, print_facts, printable
from attwin.wiring.detecting import detect


@click.command("detect", short_help="Score how strange each row of a CSV file is.")
@click.option("--csv", "file", type=click.Path(path_type=Path), required=True, help="The file.")
@click.option("--time", "time_column", default="", help="Column of the times; found by its name if left out.")
@click.option("--value", "value_column", required=True, help="Column of the values.")
@click.option("--entity", "entity_column", default="", help="Column that says which rows belong together.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of times without an offset.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where the scores go.")
@json_option
def command(
    file: Path, time_column: str, value_column: str, entity_column: str, zone: str, out: Path, *, as_json: bool
) -> None:
    """Write to --out one anomaly score in [0, 1] for every row of a CSV file, in one pass, with nothing to set.

    The score of a row depends on no later row. After it has spoken, it is lowered for the next hundred rows, unless
    something stranger comes. A row without a value has no score. A time before the one above counts as the same time.
    """
    show = sys.stderr.isatty() and not as_json
    size = file.stat().st_size if file.is_file() else 0
    with click.progressbar(length=size, label="Detecting", file=sys.stderr, hidden=not show) as bar:
        found = detect(
            file,
            out,
            time_column=time_column,
            value_column=value_column,
            entity_column=entity_column,
            zone=parse_zone(zone),
            progress=bar.update,
        )
    names = ("score", "line", "entity", "time", "value")
    rows = [dict(zip(names, row, strict=True)) for row in found.strangest]
    facts: dict[str, object] = {"rows": found.rows, "without value": found.missing, "time went back": found.backwards}
    if entity_column:
        facts["entities"] = found.entities
    if as_json:
        named = {name.replace(" ", "_"): value for name, value in facts.items()}
        print_facts({**named, "strangest": rows}, as_json=True)
        return
    print_facts(facts, as_json=False)
    click.echo("strangest rows:")
    for score, line, entity, time, value in found.strangest:
        click.echo(printable(f"  {score:.3f}  line {line}  {time}  {value}  {entity}").rstrip())
    click.echo(f"Scores are in {out}.", err=True)
