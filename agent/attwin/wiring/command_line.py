"""What every command line of the project does with errors: a message, and an exit code."""

import os
import sqlite3
import sys

import click

from attwin.core.errors import AttwinError, SettingsError

EXIT_FAILED = 1
EXIT_SETTINGS = 78
"""EX_CONFIG of sysexits.h; systemd does not restart on it."""


def run_command(group: click.Group, name: str) -> None:
    """Run a command line and exit: 0 done, 1 failed, 2 usage, 78 configuration."""
    try:
        group(prog_name=name, standalone_mode=True)
    except SettingsError as error:
        click.echo(str(error), err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        sys.exit(EXIT_SETTINGS)
    except AttwinError as error:
        click.echo(f"{name}: {error}", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        sys.exit(EXIT_FAILED)
    except sqlite3.Error as error:
        click.echo(f"{name}: the database is damaged: {error}", err=True)
        click.echo("Move it aside (with its -wal and -shm files) and start anew; nothing was changed.", err=True)
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # whoever read our output has left; point stdout elsewhere so that the interpreter's last flush is quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except OSError as error:
        click.echo(f"{name}: {error.filename or 'a file'}: {error.strerror}", err=True)
        sys.exit(EXIT_FAILED)
