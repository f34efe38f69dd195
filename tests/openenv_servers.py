# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Environments on OpenEnv's own server, over HTTP on loopback: tools, single actions, and a game in plain text."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastmcp import FastMCP
from openenv.core.env_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field


WORDS = [
    f"{first}{second}" for first in ("red", "blue", "old", "new") for second in ("box", "hat", "cup", "pen", "key")
]
records = []  # of all episodes: what each environment was told and said
alive = []  # environments that are not closed


class Recorded(Environment):
    """Keeps a record of its own, and can be slow, fail or die as its word says."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def begin(self, seed):
        self.word = WORDS[(seed or 0) % len(WORDS)]
        self.record = []
        records.append(self.record)
        alive.append(self)
        self._state = State(step_count=0)

    @property
    def state(self):
        return self._state

    def close(self):
        while self in alive:
            alive.remove(self)


class SafeEnvironment(Recorded, MCPEnvironment):
    """A safe that opens by a word, which one tool gives away."""

    def __init__(self):
        mcp = FastMCP("safe")

        @mcp.tool
        def ask(part: str) -> str:
            """Ask for a part of the word: first or last."""
            if part not in ("first", "last"):
                raise ValueError(f"There is no part {part}.")
            return self.word[:-3] if part == "first" else self.word[-3:]

        @mcp.tool
        def unlock(word: str, options: dict | None = None) -> dict:
            """Unlock the safe."""
            self.is_open = word == self.word
            return {"open": self.is_open}

        MCPEnvironment.__init__(self, mcp)

    def reset(self, seed: int | None = None, **kwargs) -> Observation:
        self.begin(seed)
        self.is_open = None
        return Observation()

    def _step_impl(self, action, timeout_s=None, **kwargs):
        raise TypeError(type(action))

    async def step_async(self, action, timeout_s=None, **kwargs):
        observation = await super().step_async(action, timeout_s=timeout_s, **kwargs)
        if isinstance(action, CallToolAction):
            if action.tool_name == "unlock":
                observation.done, observation.reward = True, float(bool(self.is_open))
            result = observation.result
            text = None if result is None else result.content[0].text
            self.record.append((action.tool_name, action.arguments, text, observation.reward))
        return observation


class Guess(Action):
    """Guess the word."""

    word: str = Field(description="The word.")
    tries: int = Field(default=1, ge=1)


class Seen(Observation):
    hint: str
    score: float | None = None


class GuessEnvironment(Recorded):
    """Says how many letters are right; each right letter is worth a little, the word a lot."""

    def reset(self, seed: int | None = None, **kwargs) -> Seen:
        self.begin(seed)
        return Seen(hint=f"{len(self.word)} letters, {self.word[:-3]}...", reward=0.0)

    def step(self, action: Guess, **kwargs) -> Seen:
        if action.word == "crash":
            raise RuntimeError("The board is broken.")
        right = action.word == self.word
        seen = Seen(
            hint="right" if right else f"{self.word[-3:]} it ends", done=right, reward=float(right), score=float(right)
        )
        self.record.append((action.word, seen.hint, seen.reward))
        return seen


class Move(Action):
    message: str


class Shown(Observation):
    prompt: str
    messages: list[dict] = []


class TalkEnvironment(Recorded):
    """The same as a game in plain text that shows all that was said before, each time, as those of TextArena do."""

    def reset(self, seed: int | None = None, **kwargs) -> Shown:
        self.begin(seed)
        self.text = f"[GAME] A word that begins with {self.word[:-3]}."
        return self.show(0.0, False)

    def step(self, action: Move, **kwargs) -> Shown:
        if action.message == "sleep":
            time.sleep(5)
        right = action.message == self.word
        hint = "You have it." if right else f"It ends with {self.word[-3:]}."
        self.text += f"\n[Player 0] {action.message}\n[GAME] {hint}"
        self.record.append((action.message, f"[Player 0] {action.message}\n[GAME] {hint}"))
        return self.show(float(right), right)

    def show(self, reward, done):
        messages = [{"sender_id": -1, "content": self.text, "category": "MESSAGE"}]
        return Shown(prompt="A game.", messages=messages, reward=reward, done=done)


APPS = {
    "tools": (SafeEnvironment, CallToolAction, CallToolObservation),
    "action": (GuessEnvironment, Guess, Seen),
    "text": (TalkEnvironment, Move, Shown),
}


@contextmanager
def serve(app) -> Iterator[str]:
    """The address of an app that a real server runs in a thread."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(5)


def make_app(mode: str, max_concurrent_envs: int = 64):
    return create_app(*APPS[mode], env_name=mode, max_concurrent_envs=max_concurrent_envs)


def number_prompts(rows) -> list[dict]:
    """Rows with different prompts."""
    return [
        {**row, "prompt": [{"role": "user", "content": f"{row['prompt'][0]['content']} ({i})"}]}
        for i, row in enumerate(rows)
    ]


def solve(messages: list[dict], tools: list) -> dict:
    """Finds the word by what came back."""
    seen = [message["content"] for message in messages if message["role"] in ("tool", "user")]
    names = {tool["function"]["name"] for tool in tools}

    def call(name, **arguments):
        return {
            "role": "assistant",
            "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
        }

    if "ask" in names:
        results = [message["content"] for message in messages if message["role"] == "tool"]
        return [call("ask", part="first"), call("ask", part="last"), call("unlock", word="".join(results))][
            len(results)
        ]
    first = next(
        word for word in ("red", "blue", "old", "new") if f"{word}..." in seen[0] or f"with {word}." in seen[0]
    )
    end = next((word for word in ("box", "hat", "cup", "pen", "key") if len(seen) > 1 and word in seen[-1]), "???")
    if "act" in names:
        return call("act", word=first + end)
    return {"role": "assistant", "content": first + end}
