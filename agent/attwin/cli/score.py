"""``attwin score``: a CSV file, scored as the agent would."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import tzinfo
from pathlib import Path
from typing import TextIO

import click

from attwin.cli.options import csv_options, parse_columns, parse_zone, time_text
from attwin.core.errors import DataError
from attwin.wiring.models import bundle_path, load_bundle
from attwin.wiring.offline import RowScores, Wide, read_wide, score_rows

_COLUMNS = ("entity", "time_ms", "time", "score_ms", "score", "missing")


@click.command("score")
@click.option("--bundle", required=True, help="The model; builtin:occupancy is the one that the package carries.")
@csv_options
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead of to the terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row instead of CSV.")
def command(
    bundle: str,
    file: Path,
    time_column: str,
    entity: str,
    entity_column: str,
    columns: tuple[str, ...],
    zone: str,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Score FILE, a CSV with a header and a time column, with the agent's own cleaning, features and runtime."""
    loaded, scorer = load_bundle(bundle_path(bundle))
    manifest = loaded.manifest
    given = parse_columns(columns)
    unknown = [name for name in given if name not in manifest.metric_names()]
    if unknown:
        raise DataError(f"--metric {unknown[0]}: the model has {', '.join(manifest.metric_names())}")
    wide, _ = read_wide(
        file,
        manifest.metric_names(),
        columns=given,
        time_column=time_column,
        entity=entity,
        entity_column=entity_column,
        zone=parse_zone(zone),
        categories={metric.name: metric.categories for metric in manifest.metrics if metric.categories},
    )
    with ExitStack() as shown:
        scores = score_rows(wide, manifest, scorer, progress=_progress(shown, len(wide.time_ms)))
    rows = _rows(wide, scores, manifest.masks, parse_zone(zone))
    if out:
        with out.open("w", encoding="utf-8", newline="") as file_out:
            _write(rows, file_out, as_json=as_json)
        click.echo(f"Scored {len(wide.time_ms)} rows with {scorer.runtime}; wrote {out}.", err=True)
    else:
        _write(rows, sys.stdout, as_json=as_json)


def _rows(wide: Wide, scores: RowScores, masks: list[str], zone: tzinfo) -> Iterator[Mapping[str, object]]:
    columns = (wide.entity, wide.time_ms, scores.score_ms, scores.score, scores.missing)
    for entity, time_ms, score_ms, score, missing in zip(*(c.tolist() for c in columns), strict=True):
        known = score == score  # noqa: PLR0124 -- not NaN
        yield {
            "entity": wide.entities[entity],
            "time_ms": time_ms,
            "time": time_text(time_ms, zone),
            "score_ms": score_ms,
            "score": round(score, 8) if known else None,
            "missing": ",".join(name for name, is_missing in zip(masks, missing, strict=True) if is_missing),
        }


def _write(rows: Iterator[Mapping[str, object]], file: TextIO, *, as_json: bool) -> None:
    if as_json:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        return
    writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _progress(shown: ExitStack, length: int) -> Callable[[int], object]:
    if not sys.stderr.isatty():
        return lambda _rows: None
    bar = shown.enter_context(click.progressbar(length=length, label="scoring", file=sys.stderr))
    return bar.update
