# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What plays the simulators of UserRL's gyms: an endpoint that answers by rules, from what it is asked."""

import json
import re

from misbehaving_server import completion


STANCES = ["Strongly Agree", "Agree", "Partly Agree", "Neutral", "Partly Disagree", "Disagree", "Strongly Disagree"]


def answer(gym: str, text: str) -> str:
    """The answer of a gym's simulator to a prompt."""
    if gym == "telepathy":
        if '"judgment"' not in text:
            return repr({"response": "Maybe"})
        # The guess is right if it is the target, word by word, so that it is there twice
        is_right = any(text.count(line) > 1 for line in text.splitlines() if len(line) > 9 and " - " in line)
        return repr({"judgment": "Yes" if is_right else "No", "feedback": "That is it." if is_right else "No."})
    if gym == "turtle":
        if '"scores"' not in text:
            return repr({"response": "No"})
        truth, told, protocol = re.search(
            r"\(Bottom\)\n(.*)\n\n### User's.*?\n(.*)\n\n### Evaluation Protocol\n(.*)", text, flags=re.DOTALL
        ).groups()
        score = float(truth.strip() == told.strip())
        return repr({"scores": [{"score": score}] * protocol.count('"statement":'), "feedback": "so"})
    if gym == "persuade":
        level = int(re.findall(r"level (\d)", text)[-1]) if "level " in text else 0
        return repr({"response": f"I see ({level}).", "stance": STANCES[level]})
    if gym == "intention":
        if "covered_detail_indices" not in text:
            return json.dumps({"thought": "", "response": "I would like the first."})
        asked = re.search(r"LATEST USER'S QUESTION: (.*)", text).group(1).strip()
        details = re.findall(r"^(\d+)\. \[.*\n   Example question type expected: (.*)$", text, flags=re.MULTILINE)
        covered = [int(i) for i, inquiry in details if inquiry.strip() == asked]
        return json.dumps({"analysis": "", "is_task_related": True, "covered_detail_indices": covered})
    if gym == "search":
        return repr({"reasoning": "", "judgment": "No", "feedback": "No."})
    return "###STOP###" if "done" in text.rpartition("\n\n")[2] else "Please go on."  # tau


def plays(gym: str):
    """A behaviour of [`~misbehaving_server.MisbehavingServer`]."""

    def behaviour(handler):
        text = "\n\n".join(message["content"] for message in handler.body["messages"])
        handler.respond(200, completion(answer(gym, text)))

    return behaviour


def act_by(solutions: dict[str, list[tuple[str, str]]]):
    """An agent that takes the actions of its task's solution, which its prompt names, one after the other."""

    def act(messages: list[dict], tools: list) -> dict:
        task = re.search(r"\(task (.*?)\)$", messages[1]["content"]).group(1)
        number = sum(message["role"] == "tool" for message in messages)
        if number >= len(solutions[task]):
            return {"role": "assistant", "content": "I am done."}
        choice, content = solutions[task][number]
        arguments = {"choice": choice, "content": content}
        return {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": {"name": "interact_with_env", "arguments": arguments}}],
        }

    return act


def name_tasks(rows: list[dict]) -> list[dict]:
    """Rows whose prompts end with the name of their task, for agents that only see messages."""
    return [
        {
            **row,
            "prompt": [
                row["prompt"][0],
                {**row["prompt"][1], "content": f"{row['prompt'][1]['content']} (task {row['task']})"},
            ],
        }
        for row in rows
    ]
