# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""τ²-bench played by script: an agent that does a task's gold actions, the user's by asking for them, and an endpoint
that plays upstream's user and judge.
"""

import json

from oracle_server import completion


BYE = "###STOP###"


def task_of(tasks, text):
    """The task that a text names between brackets."""
    return tasks[json.loads(text[text.index("<<") + 2 : text.index(">>")])]


def make_endpoint(tasks):
    """Answers as the user of whatever task upstream's system prompt holds, and as a judge to whom all is met."""
    names = {str(task.user_scenario): name for name, task in tasks.items()}

    def answer(request):
        system, *messages = request["messages"]
        if "expectedOutcomes" in messages[-1]["content"]:
            return completion({"role": "assistant", "content": json.dumps({"results": verdicts(messages[-1])})})
        if len(messages) == 1:
            found = [name for scenario, name in names.items() if scenario in system["content"]]
            return completion({"role": "assistant", "content": f"Hello, <<{json.dumps(max(found, key=len))}>>."})
        text = messages[-1]["content"]
        if messages[-1]["role"] == "user" and text.startswith("Please: "):
            function = json.loads(text.removeprefix("Please: "))
            call = {"id": f"u{len(messages)}", "type": "function", "function": function}
            return completion({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")
        if messages[-1]["role"] == "tool":
            return completion({"role": "assistant", "content": "Done."})
        return completion({"role": "assistant", "content": f"Thanks! {BYE}" if "Goodbye" in text else "I see."})

    return answer


def verdicts(message):
    asked = message["content"].split("expectedOutcomes:")[1].strip()
    return [{"expectedOutcome": text, "reasoning": "seen", "metExpectation": True} for text in eval(asked)]


def make_gold(tasks):
    """A policy that does the gold actions of the task that the user names, two of its own in a row at once."""

    def play(messages, tools):
        opening = next(message for message in messages if message["role"] == "user")
        task = task_of(tasks, opening["content"])
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

    return play


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
