# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Agents that own their loop, as programs of others do: they know an OpenAI client and nothing of this package."""

import json

from openai import AsyncOpenAI
from transformers.utils import get_json_schema


ANSWERS = {"city": "paris it is", "day": "monday"}


def ask(slot: str) -> str:
    """
    Ask the user.

    Args:
        slot: What to ask for.
    """
    return ANSWERS.get(slot, "i do not mind")


def look_up(word: str) -> str:
    """
    Look a word up.

    Args:
        word: The word.
    """
    return f"{word}:\n- one\n- two"


FUNCTIONS = {"ask": ask, "look_up": look_up}
TOOLS = [get_json_schema(function) for function in FUNCTIONS.values()]


def run_tool(call) -> str:
    try:
        return FUNCTIONS[call.function.name](**json.loads(call.function.arguments))
    except Exception as error:
        return f"error: {error!r}"


async def run_agent(client, model: str, messages: list[dict], max_turns: int = 4, **options) -> list[dict]:
    """The loop of an agent with tools, whose user answers once in words. Returns its conversation."""
    messages = list(messages)
    has_spoken = False
    for turn in range(max_turns):
        answer = await client.chat.completions.create(model=model, messages=messages, tools=TOOLS, **options)
        message = answer.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if turn == max_turns - 1:
            break
        if message.tool_calls:
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": run_tool(call)} for call in message.tool_calls
            ]
        elif has_spoken:
            break
        else:
            has_spoken = True
            messages.append({"role": "user", "content": "please go on"})
    return messages


def client_of(session, **options) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=session.base_url, api_key=session.api_key, **options)


async def play(row, session) -> float:
    """One episode of the agent, rewarded for asking for the city."""
    async with client_of(session) as client:
        messages = await run_agent(client, session.model, row["prompt"])
    said = [message["content"] for message in messages if message["role"] == "tool"]
    return float("paris it is" in said) + 0.1 * len(said)
