# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server on loopback that answers chat completions, and misbehaves as a test tells it to."""

import json
import socket
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


Behaviour = Callable[["Handler"], None]

USAGE = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}


class MisbehavingServer(ThreadingHTTPServer):
    """
    Answers the requests with the behaviours of a script, in order; the last one goes on for good.

    Attributes:
        requests (`list[dict]`):
            JSON bodies of the requests.
        headers (`list[dict]`):
            Headers of the requests, with lower-case names.
        times (`list[float]`):
            When the requests came, by `time.monotonic`.
        connections (`int`):
            Number of connections that were opened.
        peak (`int`):
            Largest number of requests that were under way at once.
    """

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, *script: Behaviour):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.requests, self.headers, self.times = [], [], []
        self.connections = self.active = self.peak = self.bytes_sent = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> "MisbehavingServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what the tests are about


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MisbehavingServer

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def do_GET(self):
        """A redirect that was followed may come so."""
        with self.server.lock:
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.respond(200, completion("followed"))

    def do_POST(self):
        self.body = body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            behaviour = server.script[min(len(server.requests), len(server.script) - 1)]
            server.requests.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.times.append(time.monotonic())
            server.active += 1
            server.peak = max(server.peak, server.active)
        try:
            behaviour(self)
        finally:
            with server.lock:
                server.active -= 1

    def respond(self, status: int, body: bytes, **headers) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


def completion(content, finish_reason: str = "stop", usage: object = USAGE, **message) -> bytes:
    choice = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content, **message},
    }
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    ).encode()


def says(content, finish_reason: str = "stop", seconds: float = 0.0, **message) -> Behaviour:
    def behaviour(handler: Handler):
        handler.server.closing.wait(seconds)
        handler.respond(200, completion(content, finish_reason, **message))

    return behaviour


def sends(body: bytes, status: int = 200, **headers) -> Behaviour:
    return lambda handler: handler.respond(status, body, **headers)


def fails(status: int, message: str = "no", **headers) -> Behaviour:
    return sends(json.dumps({"error": {"message": message, "type": "t", "code": "c"}}).encode(), status, **headers)


def trickles(seconds: float, interval: float = 0.02, status: int = 200) -> Behaviour:
    """Never silent for long, so that a timeout between two bytes never fires."""

    def behaviour(handler: Handler):
        body = completion("Paris.")
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) + 10**6))
        handler.end_headers()
        end = time.monotonic() + seconds
        with suppress(OSError):  # the client hangs up
            while time.monotonic() < end and not handler.server.closing.wait(interval):
                handler.wfile.write(b" ")
        handler.close_connection = True

    return behaviour


def streams(first: bytes, again: bytes, seconds: float, interval: float = 0.0) -> Behaviour:
    """Send some bytes, then others over and over: headers, trailers, whatever never comes to an end."""

    def behaviour(handler: Handler):
        end = time.monotonic() + seconds
        with suppress(OSError):  # the client hangs up
            handler.wfile.write(first)
            while time.monotonic() < end and not handler.server.closing.wait(interval):
                handler.wfile.write(again)
        handler.close_connection = True

    return behaviour


def redirects(address: str, status: int = 307) -> Behaviour:
    return sends(b"moved", status, Location=address)


def bombs(num_bytes: int, status: int = 200, encoding: str = "gzip") -> Behaviour:
    """A body of a few kilobytes that unpacks to this size."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    block = b" " * 2**20
    packed = b"".join(packer.compress(block) for _ in range(num_bytes // len(block))) + packer.flush()
    return sends(packed, status, Content_Encoding=encoding)


def drops(handler: Handler) -> None:
    """Hang up instead of an answer."""
    handler.close_connection = True


def drops_midway(handler: Handler) -> None:
    """Hang up in the middle of the body."""
    body = completion("Paris.")
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def floods(num_bytes: int, status: int = 200) -> Behaviour:
    """A completion of this size, in chunks: the client learns its length only by reading it."""

    def behaviour(handler: Handler):
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        body = completion("x" * num_bytes)
        with suppress(OSError):  # the client hangs up
            for start in range(0, len(body), 2**14):
                chunk = body[start : start + 2**14]
                handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                handler.server.bytes_sent += len(chunk)
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return behaviour
