# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Messages as requests bring them, as chat templates take them, and the parts of them that must not change."""

import json
from typing import Any


def is_tool(tool: Any) -> bool:
    return (
        isinstance(tool, dict)
        and tool.get("type", "function") == "function"
        and isinstance(tool.get("function"), dict)
        and isinstance(tool["function"].get("name"), str)
    )


def read_message(message: dict) -> dict:
    """A message of a request in the parts that count."""
    role = {"developer": "system"}.get(message["role"], message["role"])
    if role not in ("system", "user", "assistant", "tool"):
        raise ValueError(f"the role {role!r}")
    content = message.get("content")
    if isinstance(content, list):
        if any(part["type"] != "text" for part in content):
            raise ValueError(f"content of the type {next(p['type'] for p in content if p['type'] != 'text')!r}")
        content = "".join(part["text"] for part in content)
    if content is not None and not isinstance(content, str):
        raise TypeError(f"content of the type {type(content).__name__}")
    read = {"role": role, "content": content or ""}
    if role == "tool":
        read["tool_call_id"] = message.get("tool_call_id")
    if message.get("tool_calls"):
        read["tool_calls"] = [
            {
                "id": call.get("id"),
                "type": "function",
                "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]},
            }
            for call in message["tool_calls"]
        ]
    return read


def for_template(messages: list[dict]) -> list[dict]:
    """Messages as chat templates take them: arguments of calls are objects, if they can be, and results have names."""
    rendered, names = [], {}
    for message in messages:
        if message["role"] == "tool":
            name = names.get(message["tool_call_id"], "unknown")
            message = {"role": "tool", "name": name, "content": message["content"]}
        elif "tool_calls" in message:
            names |= {call["id"]: call["function"]["name"] for call in message["tool_calls"]}
            functions = [call["function"] for call in message["tool_calls"]]
            functions = [{**f, "arguments": _arguments_object(f["arguments"])} for f in functions]
            message = {**message, "tool_calls": [{"type": "function", "function": f} for f in functions]}
        rendered.append(message)
    return rendered


def _arguments_object(arguments: Any) -> Any:
    value = _read_json(arguments)
    return value if isinstance(value, dict) else arguments


def _read_json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text


def arguments_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def comparable(message: dict) -> tuple:
    """The parts of a message that must not change: its text without space around it, its calls without their ids."""
    calls = [call["function"] for call in message.get("tool_calls", [])]
    calls = [(function["name"], _read_json(function["arguments"])) for function in calls]
    return message["role"], message["content"].strip(), *calls
