"""Time zones, by the rules that this machine knows."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attwin.core.errors import BundleError
from attwin.core.local_time import OffsetOf

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def offset_of(name: str) -> OffsetOf:
    """Return what tells the offset of a model's time zone.

    Raises:
        BundleError: This machine does not know the zone.
    """
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BundleError(
            f"the model's clock is that of zone `{name}`, which this machine does not know; an IANA name such as "
            "Europe/Berlin is wanted, and a time zone database (the system's tzdata, or pip install tzdata)"
        ) from None

    def offset_s(time_s: int) -> int:
        offset = (_EPOCH + timedelta(seconds=time_s)).astimezone(zone).utcoffset() or timedelta()
        return round(offset.total_seconds())

    return offset_s
