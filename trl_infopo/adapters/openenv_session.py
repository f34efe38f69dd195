# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A session with a server of OpenEnv: its protocol over a WebSocket, and what ends a run."""

import json
import math
from contextlib import ExitStack, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._show import show
from ..users import UserSimulatorError


if TYPE_CHECKING:
    from .openenv import OpenEnvSpec

LARGEST_MESSAGE = 100 * 2**20  # bytes, as OpenEnv's own client has it


class RefusedAction(ValueError):
    """The server refused an action of the agent, who is told so."""


class Session:
    """
    One connection to a server, which gives it an environment of its own.

    OpenEnv's client is not used: it connects again by itself when a connection is lost, and goes on in a new
    environment that nobody has reset.

    Args:
        spec ([`~trl_infopo.adapters.openenv.OpenEnvSpec`]):
            Where the server is, and how long to wait for it.
    """

    def __init__(self, spec: "OpenEnvSpec"):
        connect = import_websockets()
        self.spec = spec
        self._is_waiting = False
        self._stack = ExitStack()
        try:
            connecting = connect(
                find_address(spec.base_url, "ws", "ws"),
                open_timeout=spec.timeout,
                ping_interval=None,  # our limit is the only one: a server that is busy in a step answers no ping
                close_timeout=1.0,
                max_size=LARGEST_MESSAGE,
                additional_headers=spec.headers,
                proxy=None if is_local(spec.base_url) else True,
            )
            self._connection = self._stack.enter_context(connecting)
        except Exception as error:  # of several types: sockets, handshakes, proxies
            self._connection = None
            raise UserSimulatorError(
                f"The OpenEnv server at {spec.base_url} cannot be reached: {show(error)}. Start it, or set `base_url` "
                "to its address."
            ) from error

    def request(self, kind: str, data: dict | None = None) -> dict:
        """
        Ask the server for something.

        Args:
            kind (`str`):
                `"reset"` or `"step"`.
            data (`dict`, *optional*):
                Arguments of the reset, or the action.

        Returns:
            `dict`: The observation, the reward and whether the episode is done.

        Raises:
            [`RefusedAction`]: If the action is wrong, which the agent is told.
            `TypeError` or `ValueError`: If the data are not JSON. Nothing was sent.
            [`~trl_infopo.users.UserSimulatorError`]: If there is no answer. The session is over.
        """
        self.check()
        message = json.dumps({"type": kind, "data": data or {}})
        self._is_waiting = True
        try:
            try:
                self._connection.send(message)
                answer = self._connection.recv(timeout=self.spec.timeout)
            except TimeoutError:
                raise self.failure(f"did not answer within {self.spec.timeout:g} s") from None
            except Exception as error:  # websockets raises its own errors, and those of sockets
                raise self.failure(f"hung up: {show(error)}") from error
            self._is_waiting = False
            return self._read(answer, kind)
        except RefusedAction:
            raise
        except BaseException:  # also at a time limit of others: a late answer must not be taken for the next one
            self.close()
            raise

    def check(self) -> None:
        """
        Raises:
            [`~trl_infopo.users.UserSimulatorError`]: If a step was cut off: nobody knows how the episode stands.
        """
        if self._connection is None or self._is_waiting:
            raise UserSimulatorError(
                f"The session with the OpenEnv server at {self.spec.base_url} is lost: a step before was cut off. "
                "Raise `feedback_timeout`, or set none and let the `timeout` of `OpenEnvSpec` be the limit."
            )

    def close(self) -> None:
        """End the session, and with it the server's environment."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.send(json.dumps({"type": "close", "data": {}}))
            with suppress(Exception):
                self._stack.close()

    def failure(self, what: str) -> UserSimulatorError:
        return UserSimulatorError(f"The OpenEnv server at {self.spec.base_url} {what}.")

    def _read(self, text: Any, kind: str) -> dict:
        try:
            answer = json.loads(text)
            data = answer["data"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self.failure(f"answered what is no answer to a {kind}: {show(text)}") from None
        if answer.get("type") == "error" and isinstance(data, dict):
            message, code = data.get("message"), data.get("code")
            if kind == "step" and code == "VALIDATION_ERROR":
                raise RefusedAction(_tell_errors(data.get("errors")) or str(message))
            if kind == "step" and code == "EXECUTION_ERROR" and self.spec.tell_errors:
                raise RefusedAction(str(message))
            hint = ""
            if code == "CAPACITY_REACHED":
                hint = " Each episode needs a session: raise `max_concurrent_envs` of the server"
            elif kind == "step" and code == "EXECUTION_ERROR":
                hint = " If it is the agent's mistake, set `tell_errors`"
            raise self.failure(f"failed at a {kind}: {code}: {show(message)}.{hint}")
        is_whole = isinstance(data, dict) and isinstance(data.get("observation"), dict)
        if answer.get("type") != "observation" or not is_whole:
            raise self.failure(f"answered what is no answer to a {kind}: {show(text)}")
        reward, done = data.get("reward"), data.get("done", False)
        if reward is not None and not (isinstance(reward, int | float) and math.isfinite(reward)):
            raise self.failure(f"gave the reward {show(reward)}, which is no finite number")
        if not isinstance(done, bool):
            raise self.failure(f"says {show(done)} for whether the episode is done")
        return {"observation": data["observation"], "reward": reward, "done": done}


def find_address(base_url: str, scheme: str, path: str) -> str:
    """
    The URL of an endpoint of a server.

    Args:
        base_url (`str`):
            Address of the server, for HTTP or WebSockets.
        scheme (`str`):
            `"http"` or `"ws"`, which is encrypted where that of the server is.
        path (`str`):
            Path of the endpoint.

    Returns:
        `str`: The URL.
    """
    parts = urlsplit(base_url)
    secure = "s" if parts.scheme in ("https", "wss") else ""
    return parts._replace(scheme=scheme + secure, path=f"{parts.path.rstrip('/')}/{path}").geturl()


def is_local(base_url: str) -> bool:
    """Whether a server runs on this machine, so that no proxy leads to it."""
    return urlsplit(base_url).hostname in ("localhost", "127.0.0.1", "::1")


def redirect_error(location: str) -> ConnectionError:
    """What to raise at a redirect, which is not followed: `headers` may hold a key."""
    address = location.partition("?")[0].partition("#")[0]  # without what may be secret
    return ConnectionError(f"it redirects to {show(address)}, where `headers` are not sent")


@cache
def import_websockets() -> Any:
    """
    Import the function that opens a connection.

    Returns:
        `Callable`: `websockets.sync.client.connect`, which refuses redirects.

    Raises:
        `ImportError`: If it is not installed.
    """
    try:
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import ClientConnection, connect
    except ImportError as error:
        raise ImportError(
            'The adapter of OpenEnv needs `websockets` 15 or later: pip install "trl-infopo[openenv]". It was tested '
            "with servers of OpenEnv 0.10.0."
        ) from error

    class Connection(ClientConnection):
        def handshake(self, *args, **kwargs):
            try:
                super().handshake(*args, **kwargs)
            except InvalidStatus as error:
                if 300 <= error.response.status_code < 400:  # newer versions of `connect` would follow it
                    raise redirect_error(error.response.headers.get("Location", "")) from error
                raise

    return partial(connect, create_connection=Connection)


def _tell_errors(errors: Any) -> str:
    """Pydantic's errors about an action, without links to its documentation."""
    if not isinstance(errors, list) or not all(isinstance(error, dict) for error in errors):
        return ""
    return "; ".join(f"{'.'.join(map(str, error.get('loc', ())))}: {error.get('msg')}" for error in errors)
