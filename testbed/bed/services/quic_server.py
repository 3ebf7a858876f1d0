"""An HTTP/3 server: /N answers N bytes, any other path a page of drawn size.

Owns: one UDP port. In: QUIC. Out: HTTP/3 answers.
"""

import argparse
import asyncio
import random
from pathlib import Path

BODY_MAX = 8 << 20


def protocol(seed):
    """The connection class, which aioquic makes one of for each client."""
    from aioquic.asyncio import QuicConnectionProtocol
    from aioquic.h3.connection import H3Connection
    from aioquic.h3.events import HeadersReceived

    rng = random.Random(seed)

    class Connection(QuicConnectionProtocol):
        http = None

        def quic_event_received(self, event):
            if self.http is None:
                self.http = H3Connection(self._quic)
            for each in self.http.handle_event(event):
                if isinstance(each, HeadersReceived):
                    self._answer(each)

        def _answer(self, request):
            path = dict(request.headers).get(b":path", b"/")[1:]
            size = int(path) if path.isdigit() and len(path) < 9 else int(rng.lognormvariate(9, 1.3))
            self.http.send_headers(request.stream_id, [(b":status", b"200"), (b"content-type", b"text/html")])
            self.http.send_data(request.stream_id, bytes(min(size, BODY_MAX)), end_stream=True)
            self.transmit()

    return Connection


async def main():
    """Serves until it is ended."""
    from aioquic.asyncio import serve
    from aioquic.h3.connection import H3_ALPN
    from aioquic.quic.configuration import QuicConfiguration

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--idle", type=float, default=30)
    parser.add_argument("--ready", type=Path, required=True)
    arguments = parser.parse_args()
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN, idle_timeout=arguments.idle)
    configuration.load_cert_chain(arguments.certificate, arguments.key)
    await serve("::", arguments.port, configuration=configuration, create_protocol=protocol(arguments.seed))
    arguments.ready.touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
