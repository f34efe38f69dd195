# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts for language models that play a user, and the reading of their answers."""

from .base import Fact, Scenario, encodable


END_MARKER = "[END]"
"""What a language model that plays a user says to end the conversation."""

PERSONA_PROMPT = """\
You play a person who talks to an assistant. Stay in this role: you are not the assistant, you do not help, and you \
do not mention that you play.

Who you are and what you want:
{profile}

What you know:
{facts}

You began the conversation by saying: {request}

Rules:
- Write only what the person says next, in plain words.
- Tell what you know when the assistant asks for it, and nothing that it has not asked for.
- Make nothing up. If you are asked what you do not know, say that you do not mind.
- As long as the assistant still needs your answers, go on answering. Once it says that it is done, write \
{end_marker} and nothing else.
{rules}"""
"""What a language model that plays a user is told, with fields that a scenario fills in."""

# Many chat templates require a first message with the role `user`. With the roles swapped, that of a conversation
# has the role `assistant`, so this one comes before it
OPENING = "Hello! How can I help you?"


def build_system_prompt(persona_prompt: str, scenario: Scenario) -> str:
    """
    Make the system prompt that tells a language model which user it plays.

    Args:
        persona_prompt (`str`):
            Format string with any of the fields `profile`, `facts`, `request`, `rules` and `end_marker`.
        scenario ([`Scenario`]):
            What the user knows.

    Returns:
        `str`: The system prompt.

    Raises:
        `ValueError`: If `persona_prompt` or the `sentence` of a fact is not text, has other fields or a stray brace.
    """
    if not isinstance(persona_prompt, str):
        raise ValueError(f"`persona_prompt` is of type {type(persona_prompt).__name__}, set it to a text.")
    facts = [f"- {fact.topic}: {_say(fact)}" for fact in scenario.facts]
    try:
        prompt = persona_prompt.format(
            profile=scenario.profile or "(not said)",
            facts="\n".join(facts) or "(only what is said above)",
            request=scenario.request,
            rules=scenario.rules,
            end_marker=END_MARKER,
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"`persona_prompt` cannot be filled in ({error!r}). Its fields are {{profile}}, {{facts}}, {{request}}, "
            "{rules} and {end_marker}; write a brace that is meant as such twice."
        ) from error
    return encodable(prompt).strip()


def _say(fact: Fact) -> str:
    try:
        return fact.sentence.format(value=fact.value)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"The `sentence` of the fact {fact.topic!r} cannot be filled in ({error!r}). Its field is {{value}}; "
            "write a brace that is meant as such twice."
        ) from error


def swap_roles(system_prompt: str, messages: list[dict]) -> list[dict]:
    """
    Swap the roles of a conversation for the language model that plays its user and answers the agent.

    Args:
        system_prompt (`str`):
            What [`build_system_prompt`] returned.
        messages (`list[dict]`):
            Messages with the roles `user` and `assistant`; none if the user begins.

    Returns:
        `list[dict]`: The system prompt, and the messages with their roles swapped.
    """
    swapped = {"assistant": "user", "user": "assistant"}
    conversation = [
        {"role": swapped[message["role"]], "content": encodable(message["content"])} for message in messages
    ]
    if not conversation or conversation[0]["role"] == "assistant":
        conversation.insert(0, {"role": "user", "content": OPENING})
    return [{"role": "system", "content": system_prompt}, *conversation]


def read_reply(text: str) -> str | None:
    """
    Read the answer of a language model that plays the user.

    Args:
        text (`str`):
            The answer, with or without `<think>` blocks.

    Returns:
        `str` or `None`:
            What the user says, encodable as UTF-8, which may be empty, or `None` if the end marker ends the
            conversation.
    """
    said, position = [], 0
    # A regular expression would take time quadratic in the number of opening tags
    while (start := text.find("<think>", position)) >= 0 and (end := text.find("</think>", start)) >= 0:
        said.append(text[position:start])
        position = end + len("</think>")
    text = encodable("".join(said) + text[position:])
    # Half a block: some templates open it in the prompt, and a length limit may leave it open
    text = text.rpartition("</think>")[2].partition("<think>")[0].strip()
    return None if END_MARKER in text else text
