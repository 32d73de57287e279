"""The deliver stage: outbox in, messages in flight; what upstream acknowledged, to be taken out of the outbox."""

from attwin.core.outgoing import OutgoingMessage
from attwin.ports import Store, UpLink


def deliver(store: Store, uplink: UpLink) -> list[OutgoingMessage]:
    """Fill the in-flight window and return what upstream has acknowledged since the last call. Never blocks.

    At least once: a message in flight at a crash is sent again with the same id, so a receiver ignores an id it has
    seen.
    """
    free = uplink.free_places() if store.unsent_outgoing() else 0
    if free:
        for message in store.oldest_outgoing(free):
            uplink.send(message)
    return uplink.take_delivered()
