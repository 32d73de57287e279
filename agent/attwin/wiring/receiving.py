"""A receiver of what gateways send upstream."""

import time
from collections.abc import Iterator
from contextlib import closing

from attwin.adapters.mqtt_watcher import Watcher
from attwin.core.receiver import Heard, Receiver
from attwin.core.topics import quote_id
from attwin.settings.model import BrokerSettings
from attwin.wiring.brokers import address_of

_LOOK_S = 0.1


def received(
    broker: BrokerSettings, gateway: str, receiver: Receiver, *, seconds: float | None, messages: int | None
) -> Iterator[Heard]:
    """Yield what gateways send, checked.

    Args:
        broker: Where they send it.
        gateway: Which one; empty for all.
        receiver: Checks and counts.
        seconds: For how long; None for ever.
        messages: Until so many messages have come; None for any number.

    Raises:
        LinkDownError: The broker cannot be reached, or refuses.
    """
    address = address_of(broker, "attwin-tail")
    topics = f"attwin/{quote_id(gateway) if gateway else '+'}/#"
    watcher = Watcher(
        address.host, address.port, topics, username=address.username, password=address.password, tls=address.tls
    )
    deadline = None if seconds is None else time.monotonic() + seconds
    count = 0
    with closing(watcher):
        while deadline is None or time.monotonic() < deadline:
            for arrival in watcher.take():
                yield from receiver.take(arrival.topic, arrival.payload, retained=arrival.retained)
                count += 1
                if messages is not None and count >= messages:
                    return
            time.sleep(_LOOK_S)
