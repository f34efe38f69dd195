# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint that plays `clarify_oracle`."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from trl_infopo.environments.clarify import clarify_oracle


KEY = "sk-a-secret-that-nobody-may-read"


class Endpoint(BaseHTTPRequestHandler):
    """Plays `clarify_oracle` from what an OpenAI-compatible request holds, and from nothing else."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave together

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append(request)
            server.keys.add(self.headers["Authorization"])
            failure = server.failures.pop(0) if server.failures else None
        if failure is not None:
            return self.send(failure, {"error": {"message": f"no, {self.headers['Authorization']}"}})
        return self.send(200, server.answer(request))

    def send(self, status, body):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def completion(message, finish_reason="stop"):
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


def play_oracle(request):
    message = clarify_oracle(request["messages"], [])
    for i, tool_call in enumerate(message.get("tool_calls", [])):
        tool_call["id"] = f"server_{i}"
        tool_call["function"]["arguments"] = json.dumps(tool_call["function"]["arguments"])
    return completion(message)


@contextmanager
def serve_oracle():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.lock, server.requests, server.keys, server.failures = threading.Lock(), [], set(), []
    server.answer = play_oracle
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
