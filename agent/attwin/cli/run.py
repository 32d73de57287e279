"""``attwin run``: the daemon."""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from attwin.cli.options import config_option
from attwin.core.errors import BundleError, SettingsError, StoreDamagedError, StoreStalledError
from attwin.settings.load import load_settings
from attwin.settings.model import Settings

if TYPE_CHECKING:
    from attwin.wiring.daemon import Daemon

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_RETRY_S = 1.0
_LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger("attwin")


class _LogFormat(logging.Formatter):
    """One line a record; under systemd with the priority that journald reads."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"level={record.levelname.lower()} {record.getMessage()}"
        if record.exc_info:
            text += f" {self.formatException(record.exc_info)!r}"
        return f"<{_PRIORITY[record.levelno]}>{text}" if "JOURNAL_STREAM" in os.environ else text


@click.command("run")
@config_option
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True, help="How much to log.")
def command(config: Path, log_level: str) -> None:
    """Run the agent until SIGTERM or Ctrl-C."""
    settings = load_settings(config)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogFormat())
    logging.basicConfig(handlers=[handler], level=log_level.upper(), force=True)
    from attwin.wiring.daemon import Daemon  # noqa: PLC0415 -- heavy, and not needed for a wrong configuration

    def build(settings: Settings) -> Daemon:
        return _patiently(lambda: Daemon(settings, lambda: load_settings(config)))

    try:
        daemon = build(settings)
    except BundleError as error:
        # the model that the configuration names will not do, and trying again does not make it better
        raise SettingsError([f"{config.name}: {error}"]) from error
    log.info("state=started gateway=%s store=%s", settings.gateway.id, settings.store.path)
    while True:
        daemon.run()
        if daemon.next_settings is None:
            log.info("state=stopped")
            return
        log.info("reload=begun; the agent goes on with the new configuration in a moment")
        try:
            daemon = build(daemon.next_settings)
            settings = daemon.settings
            log.info("reload=done")
        except (BundleError, SettingsError) as error:
            log.error("reload=refused problem=%r; the configuration before it goes on", str(error))
            daemon = build(settings)


def _patiently(build: "Callable[[], Daemon]") -> "Daemon":
    """Build the agent; damage that is found meanwhile is mended, and a full disk is waited for."""
    told, damaged = "", False
    while True:
        try:
            return build()
        except StoreDamagedError as error:
            # noted by now: a second try sets it aside
            if damaged:
                raise
            damaged = True
            log.error("%s", error)
        except StoreStalledError as error:
            if str(error) != told:
                told = str(error)
                log.error("store=stalled problem=%r; the agent starts when the disk takes something again", told)
            time.sleep(_RETRY_S)
