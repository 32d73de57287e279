"""A source as the configuration describes it, ready to decode."""

from collections.abc import Sequence
from pathlib import Path

from attwin.core.catalogue import Catalogue, Kind
from attwin.core.deliveries import Deliveries
from attwin.ports import Messages
from attwin.runtime.ingest import Ingest, Ingested
from attwin.settings.load import load_settings
from attwin.wiring.models import metrics_of
from attwin.wiring.sources import ingest_of, sources_of

NOW_MS = 1_790_000_000_000
KEY = "k" * 32
HEAD = """\
version: 1
gateway: {id: g}
broker: {url: "mqtt://127.0.0.1:1883"}
privacy: {key: KEY}
limits: {entities: 20}
kinds:
  room:
    metrics:
      temperature: {unit: Cel}
      co2: {unit: ppm}
      occupied: {}
sources:
""".replace("KEY", KEY)


class Source:
    """The ingest stage of a configuration with the given sources."""

    def __init__(self, folder: Path, *sources: str, head: str = HEAD) -> None:
        """Make it.

        Args:
            folder: Where the configuration is written.
            sources: Each as a YAML flow mapping.
            head: What stands before the sources.
        """
        path = folder / "attwin.yaml"
        path.write_text(head + "".join(f"  - {source}\n" for source in sources), encoding="utf-8")
        settings = load_settings(path)
        kinds = [
            Kind(name=name, metrics=metrics_of(kind), windows_ms=(), step_ms=1000, lateness_ms=0)
            for name, kind in settings.kinds.items()
        ]
        self.catalogue = Catalogue(kinds, most_entities=settings.limits.entities)
        self.topic = settings.sources[0].topic
        self.ingest: Ingest = ingest_of(
            settings, sources_of(settings), self.catalogue, own_base="attwin/g", deliveries=Deliveries(100)
        )

    def take(self, *messages: tuple[str, bytes], flags: Sequence[int] = (), packet_ids: Sequence[int] = ()) -> Ingested:
        """Decode messages that arrive together."""
        count, arrived = len(messages), Messages()
        for (topic, payload), flag, packet_id in zip(
            messages, flags or [0x32] * count, packet_ids or range(1, count + 1), strict=True
        ):
            arrived.add(topic.encode(), payload, length=len(payload), flags=flag, packet_id=packet_id)
        return self.ingest.decode(arrived, now_ms=NOW_MS)

    def readings(self, ingested: Ingested) -> list[tuple[str, str, float, int]]:
        """Return (entity, metric, value, time) of every reading."""
        batch = ingested.batch
        return [
            (
                self.catalogue.entity_ids[int(self.catalogue.series_entity[series])],
                self.catalogue.metric_of(series).name,
                value,
                time_ms,
            )
            for series, value, time_ms in zip(
                batch.series.tolist(), batch.value.tolist(), batch.time_ms.tolist(), strict=True
            )
        ]


def sums_hold(ingested: Ingested) -> bool:
    """Return whether the counts say what became of every message and of every reading."""

    def total(name: str) -> int:
        return sum(count for (_, found, _), count in ingested.counts.items() if found == name)

    became = ("messages_decoded", "messages_empty", "messages_rejected")
    messages = total("messages_received") == sum(map(total, became))
    gone = total("readings_suppressed") + total("readings_rejected") + total("readings_duplicate")
    return messages and total("readings_decoded") == len(ingested.batch) + gone
