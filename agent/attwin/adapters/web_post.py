"""Posts to a web server. Few sites do, and it costs megabytes, so it is loaded when the first alert asks for it."""

import http.client
import urllib.error
import urllib.request

import attwin
from attwin.core.reactions import Reaction

_MOST_SAID = 200


def post(reaction: Reaction, body: str) -> str:
    """Post an event; return what went wrong, empty where nothing did."""
    headers = {"Content-Type": "application/json", "User-Agent": f"attwin/{attwin.__version__}"}
    if reaction.token:
        headers["Authorization"] = f"Bearer {reaction.token}"
    request = urllib.request.Request(reaction.url, body.encode(), headers, method="POST")  # noqa: S310 -- http or https, as checked
    try:
        with _opener().open(request, timeout=reaction.timeout_ms / 1000) as answer:
            answer.read(_MOST_SAID)
            return ""
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"it cannot be reached: {getattr(error, 'reason', None) or error}"[:_MOST_SAID]


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens web addresses, and follows no redirection: a token must not be sent to somebody else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener
