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
@click.option("--safe", is_flag=True, help="Only store and forward, without models, rules, reactions and updates.")
def command(config: Path, log_level: str, *, safe: bool) -> None:
    """Run the agent until SIGTERM or Ctrl-C."""
    # a wrong file is told before anything heavy is loaded
    load_settings(config)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogFormat())
    logging.basicConfig(handlers=[handler], level=log_level.upper(), force=True)
    from attwin.wiring.daemon import Daemon  # noqa: PLC0415 -- heavy, and not needed for a wrong configuration
    from attwin.wiring.layers import Configured, configured  # noqa: PLC0415 -- the same
    from attwin.wiring.slots import note_start  # noqa: PLC0415 -- the same

    def build(configuration: Configured) -> Daemon:
        if not safe:
            note_start(configuration.settings)
        return _patiently(lambda: Daemon(configuration, lambda: configured(config), is_safe=safe))

    configuration = configured(config)
    try:
        daemon = build(configuration)
    except BundleError as error:
        # the model that the configuration names will not do, and trying again does not make it better
        raise SettingsError([f"{config.name}: {error}"]) from error
    settings = configuration.settings
    log.info("state=started gateway=%s store=%s%s", settings.gateway.id, settings.store.path, " safe" if safe else "")
    while True:
        daemon.run()
        if daemon.next_configuration is None:
            log.info("state=stopped")
            return
        log.info("reload=begun; the agent goes on with the new configuration in a moment")
        try:
            daemon = build(daemon.next_configuration)
            configuration = daemon.configuration
            log.info("reload=done")
        except (BundleError, SettingsError) as error:
            log.error("reload=refused problem=%r; the configuration before it goes on", str(error))
            daemon = build(configuration)
            daemon.note_refused([str(error)])


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
