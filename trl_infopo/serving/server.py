# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The endpoint: chat completions over HTTP on loopback, one address per episode."""

import json

from aiohttp import web

from .._show import show
from .session import PolicySession, RequestError


LARGEST_REQUEST = 2**26  # bytes


class PolicyServer:
    """
    An OpenAI-compatible server on loopback, on a free port. It lives on the event loop on which it is started.

    Attributes:
        sessions (`dict[str, PolicySession]`):
            The open sessions, by key.
    """

    def __init__(self):
        self.sessions: dict[str, PolicySession] = {}
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        """Start listening, unless it does already."""
        if self._runner is not None:
            return
        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.router.add_post("/{key}/v1/chat/completions", self._complete)
        app.router.add_get("/{key}/v1/models", self._list_models)
        app.router.add_route("*", "/{rest:.*}", self._find_nothing)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def open(self, session: PolicySession) -> None:
        """Give a session its address."""
        session.base_url = f"http://127.0.0.1:{self._port}/{session.key}/v1"
        self.sessions[session.key] = session

    def close(self, session: PolicySession) -> None:
        """Close a session: it gets no more answers."""
        session.is_open = False
        self.sessions.pop(session.key, None)

    def _session(self, request: web.Request) -> PolicySession:
        session = self.sessions.get(request.match_info["key"])
        if session is None:
            raise RequestError("There is no such episode, or it is over.", "episode_not_found", status=404)
        return session

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            session = self._session(request)
        except RequestError as error:
            return _error_response(error)
        try:
            body = json.loads(await request.read())
            completion = await session.answer(body)
        except web.HTTPRequestEntityTooLarge:
            return _error_response(
                RequestError(f"The body has more than {LARGEST_REQUEST} bytes.", "body_too_large", status=413)
            )
        except (ValueError, RecursionError) as error:
            return _error_response(RequestError(f"The body is no JSON: {show(error)}.", "invalid_body"))
        except RequestError as error:
            session.is_delivered = session.is_delivered or session.is_full
            return _error_response(error)
        events = []
        if body.get("stream"):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
            events = _events(completion, bool((body.get("stream_options") or {}).get("include_usage")))
        else:
            response = web.json_response(completion)
        try:
            await response.prepare(request)
            for event in events:
                await response.write(event)
            await response.write_eof()
            # What is written into a connection that the agent has closed is lost without an error
            session.is_delivered = request.transport is not None and not request.transport.is_closing()
        except ConnectionError:
            pass
        return response

    async def _list_models(self, request: web.Request) -> web.Response:
        try:
            session = self._session(request)
        except RequestError as error:
            return _error_response(error)
        model = {"id": session.model, "object": "model", "created": 0, "owned_by": "trl-infopo"}
        return web.json_response({"object": "list", "data": [model]})

    async def _find_nothing(self, request: web.Request) -> web.Response:
        return _error_response(
            RequestError(
                f"There is no {request.method} {request.path.rpartition('/v1')[2]} here. Chat completions are at "
                "`base_url`/chat/completions.",
                "not_found",
                status=404,
            )
        )


def _error_response(error: RequestError) -> web.Response:
    return web.json_response(error.body(), status=error.status)


def _events(completion: dict, has_usage: bool) -> list[bytes]:
    """A chat completion as a stream of events: all of it at once, as it was sampled."""
    common = {name: completion[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    (choice,) = completion["choices"]
    delta = dict(choice["message"])
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    chunks = [
        {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
    ]
    if has_usage:
        chunks.append({**common, "choices": [], "usage": completion["usage"]})
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"]
