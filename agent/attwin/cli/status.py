"""``attwin status``: how the agent is."""

from typing import Any

import click

from attwin.cli.options import Place, json_option, place_options, print_facts
from attwin.core.drift import LEAST_SCORES, word
from attwin.wiring.reading import status_of

_MOST_INPUTS = 3


@click.command("status")
@place_options
@json_option
def command(place: Place, *, as_json: bool) -> None:
    """Say how the agent is: live where it runs, from the database where it does not."""
    facts = status_of(place.database)
    if not as_json:
        facts |= {"gateway": place.gateway}
        facts.pop("time_ms", None)
        models = facts.get("models")
        if isinstance(models, dict):
            facts["models"] = [f"{kind}: {m['name']} {m['version']} in {m['runtime']}" for kind, m in models.items()]
        drift = facts.pop("drift", None)
        if isinstance(drift, dict):
            facts |= {f"drift.{kind}.{day['day']}": drift_text(day) for kind, days in drift.items() for day in days}
    print_facts(facts, as_json=as_json)


def drift_text(day: dict[str, Any]) -> str:
    """Return the inputs of a day that are furthest from training, in words."""
    psi, usual = day["psi"], day["usual"]
    parts = [
        f"{name} {psi[name]:.2f} {word(psi[name], usual.get(name, 0.0))}"
        + (f" (training days: up to {usual[name]:.2f})" if name in usual else "")
        for name in list(psi)[:_MOST_INPUTS]
    ]
    said = ", ".join(parts) or f"nothing to say yet, it takes {LEAST_SCORES}"
    return f"{day['scores']} scores{' so far' if day['running'] else ''}: {said}"
