# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""τ²-bench played by script: an agent that does a task's gold actions, the user's by asking for them, and an endpoint
that plays upstream's user and judge.
"""

import json
from ast import literal_eval

from oracle_server import completion


BYE = "###STOP###"


def answer(request):
    """An endpoint that plays a user who does what the agent asks for, and a judge to whom all is met."""
    _, *messages = request["messages"]
    text = messages[-1]["content"]
    if "expectedOutcomes" in text:
        return completion({"role": "assistant", "content": json.dumps({"results": verdicts(text)})})
    if messages[-1]["role"] == "user" and text.startswith("Please: "):
        function = json.loads(text.removeprefix("Please: "))
        call = {"id": f"u{len(messages)}", "type": "function", "function": function}
        return completion({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")
    said = "Hello." if len(messages) == 1 else f"Thanks! {BYE}" if "Goodbye" in text else "I see."
    return completion({"role": "assistant", "content": said})


def verdicts(text):
    asked = text.split("expectedOutcomes:")[1].strip()
    return [{"expectedOutcome": text, "reasoning": "seen", "metExpectation": True} for text in literal_eval(asked)]


def play_gold(messages, tools):
    """Do the gold actions of a task, two of its own in a row at once, and ask the user for theirs."""
    task = tools[0]._environment.task
    done = sum(
        len(m.get("tool_calls") or []) + (m.get("content") or "").startswith("Please: ")
        for m in messages
        if m["role"] == "assistant"
    )
    left = (task.evaluation_criteria.actions or [])[done:]
    if not left:
        said = " ".join(task.evaluation_criteria.communicate_info or [])
        return {"role": "assistant", "content": f"{said} Goodbye.".strip()}
    if left[0].requestor == "user":
        function = {"name": left[0].name, "arguments": json.dumps(left[0].arguments)}
        return {"role": "assistant", "content": f"Please: {json.dumps(function)}"}
    calls = []
    for action in left[:2]:
        if action.requestor == "user":
            break
        calls.append({"type": "function", "function": {"name": action.name, "arguments": action.arguments}})
    return {"role": "assistant", "content": "One moment.", "tool_calls": calls}


def do_nothing(messages, tools):
    return {"role": "assistant", "content": "Goodbye."}


def compare(record, simulation):
    """Our record of a dialogue and upstream's, both without what the agent does not see."""
    ours = [
        (m["role"], m["content"] or None, [(c["function"]["name"], c["function"]["arguments"]) for c in calls(m)])
        for m in record["messages"]
        if m["role"] != "system"
    ]
    theirs = [
        (m.role, m.content or None, [(c.name, c.arguments) for c in getattr(m, "tool_calls", None) or []])
        for m in simulation.messages
        if not (m.role == "user" and m.tool_calls) and not (m.role == "tool" and m.requestor == "user")
    ]
    assert ours == theirs


def calls(message):
    return message.get("tool_calls") or []
