"""Brokers as configured, and what is wrong with them."""

import secrets
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from attwin.adapters.mqtt_link import BrokerAddress
from attwin.adapters.mqtt_probe import BrokerLimits, probe_broker
from attwin.adapters.mqtt_watcher import Watcher
from attwin.core.errors import DataError, LinkDownError, SettingsError
from attwin.core.outgoing import base_topic
from attwin.settings.model import BrokerSettings, Settings

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_COMMIT_S = 0.1
_DROPPED = "$SYS/broker/publish/messages/dropped"
"""Retained by Mosquitto and others; published every ten seconds."""
_LISTEN_S = 0.3
_DEFAULT_WINDOW = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that was found out.

    Attributes:
        level: ``ok``, ``warning`` or ``error``.
        about: What it is about.
        text: What was found, and what to do about it.
    """

    level: str
    about: str
    text: str


def address_of(settings: BrokerSettings, client_id: str) -> BrokerAddress:
    """Return where and how to connect.

    Raises:
        SettingsError: A certificate or a password file cannot be used.
    """
    parts = urlsplit(settings.url)
    password = settings.password.reveal if settings.password else ""
    if settings.password_file:
        password = Path(settings.password_file).read_text(encoding="utf-8").rstrip("\n")
    return BrokerAddress(
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        client_id=settings.client_id or client_id,
        username=settings.username,
        password=password,
        tls=_tls(settings) if parts.scheme == "mqtts" else None,
        protocol=settings.protocol,
        keepalive_s=max(1, settings.keepalive // 1000),
        inflight=settings.inflight,
    )


def broker_given(url: str, *, username: str = "", password_file: str = "", ca_file: str = "") -> BrokerSettings:
    """Return a broker that options name, as a configuration would.

    Raises:
        DataError: The address is none.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good and "://" not in url:
        raise DataError(f"--broker has no scheme: put mqtt:// in front, mqtt://{url}, or mqtts:// for TLS")
    if not good:
        raise DataError(f"--broker is mqtt://host:port, or mqtts://host:port for TLS, not `{url}`")
    return BrokerSettings(url=url, username=username, password_file=password_file, ca_file=ca_file)


def check_broker(settings: Settings) -> list[Finding]:
    """Measure the broker of the sensors and return what was found."""
    address = address_of(settings.broker, f"attwin-{settings.gateway.id}")
    topic = f"{base_topic(settings.gateway.id)}/probe/{secrets.token_hex(4)}"
    try:
        # the measurement itself makes a broker drop
        before = _dropped(address)
        limits = probe_broker(address, topic)
    except LinkDownError as error:
        return [Finding(level="error", about="broker", text=str(error))]
    reached = f"{address!r} answers in {limits.round_trip_ms:.1f} ms"
    found = [Finding(level="ok", about="broker", text=reached), _window(settings, limits), _queue(limits)]
    return [*before, *found]


def _window(settings: Settings, limits: BrokerLimits) -> Finding:
    """Judge the window: the durable rate is at most window / (wait for the commit + round trip)."""
    inflight = settings.broker.inflight
    if limits.window is None:
        text = f"at least {limits.probed_window} unacknowledged messages are sent; broker.inflight is {inflight}"
        low = inflight < limits.probed_window
        advice = "; a larger broker.inflight gives fewer, larger commits" if low else ""
        return Finding(level="ok", about="window", text=text + advice)
    rate = limits.window / (_COMMIT_S + limits.round_trip_ms / 1000)
    text = (
        f"{limits.window} unacknowledged messages are sent: where each waits {_COMMIT_S * 1000:.0f} ms for its commit, "
        f"that is {rate:.0f} a second. Rounds commit at half of broker.inflight, {inflight}"
    )
    if inflight > limits.window:
        return Finding(level="error", about="window", text=f"{text}: set broker.inflight to {limits.window}, or raise "
                       "max_inflight_messages; as it is, every round waits its full time")  # fmt: skip
    if limits.window <= _DEFAULT_WINDOW:
        return Finding(level="warning", about="window", text=f"{text}; raise max_inflight_messages for more")
    return Finding(level="ok", about="window", text=text)


def _dropped(address: BrokerAddress) -> list[Finding]:
    """Return how many messages the broker says it has dropped for clients that were slow or away; nothing for no word.

    Raises:
        LinkDownError: It cannot be reached, or refuses.
    """
    watcher = Watcher(
        address.host, address.port, _DROPPED, username=address.username, password=address.password, tls=address.tls
    )
    try:
        time.sleep(_LISTEN_S)
        said = [arrival.payload for arrival in watcher.take()]
    finally:
        watcher.close()
    if not said or not said[-1].isdigit():
        return []
    count = int(said[-1])
    text = f"{count} messages were dropped for clients that were slow or away since the broker started"
    return [Finding(level="warning" if count else "ok", about="dropped", text=text)]


def _queue(limits: BrokerLimits) -> Finding:
    if limits.queue is None:
        return Finding(
            level="ok", about="queue", text=f"at least {limits.probed_queue} messages are kept while the agent is away"
        )
    return Finding(
        level="warning",
        about="queue",
        text=f"{limits.queue} of {limits.probed_queue} messages were kept for a client that was away; the rest was "
        "dropped without a word: raise max_queued_messages (config/mosquitto.conf)",
    )


def _tls(settings: BrokerSettings) -> ssl.SSLContext:
    """Return a context that verifies the broker, TLS 1.2 or newer.

    Raises:
        SettingsError: A certificate file is not one.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError([f"{settings.ca_file or settings.cert_file}: not usable for TLS: {error}"]) from error
    return context
