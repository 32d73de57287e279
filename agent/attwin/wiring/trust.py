"""Trust in what is pushed, by python-tuf where it is installed."""

from attwin.core.errors import UpdateRefusedError

try:
    from attwin.adapters.tuf_trust import check_request, read_metadata
except ImportError as error:  # pragma: no cover -- the extra is part of every test environment
    raise UpdateRefusedError(f"this needs python-tuf: pip install 'attwin[updates]' ({error})") from error

__all__ = ["check_request", "read_metadata"]
