"""The broker of the demo where no Mosquitto is installed: amqtt, on loopback, nothing kept.

usage: python -m attwin.wiring.demo_broker PORT
"""

import asyncio
import logging
import sys

_ANYBODY = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    from amqtt.broker import Broker  # noqa: PLC0415 -- the extra `demo` brings it

    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 20}
    broker = Broker({"listeners": {"default": listener}, "plugins": _ANYBODY})
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    try:
        asyncio.run(serve(int(sys.argv[1])))
    except ImportError:
        sys.exit("The embedded broker is missing: pip install 'attwin[demo]', or install mosquitto.")
