# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint, streams included, that says line after line what is written down, or misbehaves."""

import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Customer(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        message = {"role": "assistant", "content": self.server.lines[turn]}
        common = {"id": "1", "created": 0, "model": request["model"]}
        choice = {"index": 0, "finish_reason": "stop"}
        if request.get("stream"):
            chunk = {**common, "object": "chat.completion.chunk", "choices": [{**choice, "delta": message}]}
            kind, body = "text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        else:
            kind = "application/json"
            body = json.dumps({**common, "object": "chat.completion", "choices": [{**choice, "message": message}]})
        if self.server.fault == "hangs up":
            self.connection.close()
            return
        if self.server.fault == "is slow":
            self.server.closing.wait(60)
        if self.server.fault == "talks nonsense":
            kind, body = "text/html", "<html>busy</html>"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # nobody waits for it any more
            self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


@contextmanager
def serve_customer(*lines: str, fault: str = "none"):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Customer)
    server.lines, server.fault, server.closing = lines, fault, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
