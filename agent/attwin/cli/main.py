"""``attwin``: finds the command, loads only its module."""

import importlib

import click

import attwin
from attwin.wiring.command_line import run_command
from attwin.wiring.lean import stay_lean

_COMMANDS = {
    "alerts": "Alerts: what is wrong now, what was, why, and what you do about it.",
    "audit": "Prove that nothing has disappeared.",
    "backup": "Copy the database, also while the agent runs.",
    "config": "Check, show and describe the configuration.",
    "demo": "Run everything on real data, with no broker, model or root.",
    "detect": "Score how strange each row of a CSV file is.",
    "doctor": "Find out whether this machine can run the agent.",
    "forecast": "Forecasts: what comes next, and how well that was known.",
    "init": "Listen to a broker and write a first configuration.",
    "label": "Say what was true of an entity.",
    "labels": "Labels: what people and programs have said was true.",
    "model": "Look at a bundle, and prove that it computes what it promises.",
    "outbox": "What waits for upstream; set messages aside, and let them go again.",
    "publish": "Play a CSV file to a broker, as sensors would.",
    "reactions": "Reactions: what the site does when an alert changes.",
    "reload": "Let the running agent take its configuration anew.",
    "rejects": "What was not stored, and taking it again.",
    "restore": "Put a backup in the place of the database.",
    "rules": "Rules: what alerts, and what would.",
    "run": "Run the agent.",
    "score": "Score a CSV file as the agent would.",
    "status": "How the agent is.",
    "twin": "The twins: entities, their newest readings and their attention.",
    "upstream": "Receive what gateways send, and check that nothing is missing.",
}

_OWN_PROCESSES = {"update"}
"""What the agent starts itself."""


class LazyGroup(click.Group):
    """A group whose commands live in modules of their names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, its module loaded."""
        del ctx
        if cmd_name not in _COMMANDS.keys() | _OWN_PROCESSES:
            return None
        command: click.Command = importlib.import_module(f"attwin.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(attwin.__version__, prog_name="attwin")
def cli() -> None:
    """Keep live digital twins of attention on this gateway."""


def main() -> None:
    """Run the command line."""
    stay_lean()
    run_command(cli, "attwin")
