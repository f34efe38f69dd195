# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Families of tasks for a tiny policy: words, demonstrations for its warm start, an oracle, and what a question was.

A demonstrator masters the form of a game, but neither what to ask nor when to stop asking.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from trl_infopo.environments import BookingEnv, ClarifyEnv, booking_dataset, clarify_dataset, clarify_oracle
from trl_infopo.environments.booking import KINDS, LARGE_KINDS, NEUTRAL, SLOTS
from trl_infopo.environments.clarify import FORMAT_ERROR, INSTRUCTIONS, OPENINGS
from trl_infopo.environments.clarify_domains import DOMAINS
from trl_infopo.scripts import quickstart
from trl_infopo.users import NOTHING_TO_ADD
from trl_infopo.users.scripted import FORGOTTEN


USEFUL, USELESS, REPEATED = QUESTIONS = ("useful", "useless", "repeated")


@dataclass(frozen=True)
class Family:
    """
    Tasks that are spoken about in the same words, and the habits of those who demonstrate them.

    Attributes:
        make_environment (`Callable`):
            Makes an environment, given options.
        make_dataset (`Callable`):
            Makes a dataset, given a split, a number of rows, a seed and options.
        phrases (`tuple[str, ...]`):
            Tokens of the policy.
        demonstrate (`Callable[[list[dict], random.Random], dict]`):
            Next message of the demonstrator.
        oracle (`Callable[[list[dict], list], dict]`):
            Next message of who plays well.
        classify (`Callable[[dict, list[dict]], list[str | None]]`):
            For each assistant message of a completion: what kind of question it was, one of [`QUESTIONS`], `None`
            where it was none.
        placeholder (`str`):
            Stands in for masked feedback: what the user says who has nothing to say.
        users (`Mapping[str, dict]`):
            Options of the environments of the demonstrations, by name.
        tasks (`tuple[dict, ...]`):
            Options of their datasets.
    """

    make_environment: Callable[..., Any]
    make_dataset: Callable[..., Any]
    phrases: tuple[str, ...]
    demonstrate: Callable[[list[dict], random.Random], dict]
    oracle: Callable[[list[dict], list[Callable]], dict]
    classify: Callable[[dict, list[dict]], list[str | None]]
    placeholder: str
    users: Mapping[str, dict] = field(default_factory=lambda: {"plain": {}})
    tasks: tuple[dict, ...] = ({},)


def tool_call(content: str, name: str, **arguments) -> dict:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


def exchanges(messages: list[dict]) -> list[tuple[dict, str]]:
    """Each assistant message with the feedback that came back, empty where none did."""
    pairs = []
    for message, following in zip(messages, [*messages[1:], None], strict=True):
        if message["role"] == "assistant":
            has_feedback = following is not None and following["role"] != "assistant"
            pairs.append((message, following["content"] if has_feedback else ""))
    return pairs


def first_call(message: dict) -> tuple[str, dict]:
    """Name and arguments of a message's first tool call, empty where it has none."""
    for call in message.get("tool_calls") or []:
        arguments = call["function"].get("arguments")
        return call["function"].get("name", ""), arguments if isinstance(arguments, dict) else {}
    return "", {}


# Booking

SLOT_OF = {value: slot for slot, values in SLOTS.items() for value in values}


def booked_slots(messages: list[dict]) -> list[str]:
    kind = messages[0]["content"].removeprefix("i need a ").removesuffix(" please")
    return (KINDS | LARGE_KINDS)[kind]


def read_values(answer: str) -> dict[str, str]:
    """Values that an answer names, by slot; of two for a slot, the last."""
    return {SLOT_OF[word]: word for word in answer.split() if word in SLOT_OF}


def demonstrate_booking(
    messages: list[dict], rng: random.Random, has_notes: bool = True, num_questions: int | None = None
) -> dict:
    """
    Ask at random, and book what is known, guessing the rest.

    Args:
        messages (`list[dict]`):
            The conversation so far.
        rng (`random.Random`):
            What the demonstrator leaves to chance.
        has_notes (`bool`, *optional*, defaults to `True`):
            Whether the demonstrator repeats what an answer said before going on.
        num_questions (`int`, *optional*):
            Number of questions. If `None`, any number up to that of the slots that matter.
    """
    slots, known, asked, answer = booked_slots(messages), {}, [], ""
    for message, answer in exchanges(messages):
        name, arguments = first_call(message)
        if name == "book":
            return {"role": "assistant", "content": quickstart.GOODBYE}
        asked.append(arguments["slot"])
        known |= read_values(answer)
    note = " ".join(f"got {value}" for value in read_values(answer).values()) if has_notes else ""
    if answer == FORGOTTEN:
        return tool_call(note, "ask", slot=asked[-1])
    most = len(slots) if num_questions is None else num_questions
    stops = len(asked) >= most or (num_questions is None and rng.random() < 1 / (most - len(asked) + 1))
    if stops:
        return tool_call(note, "book", **{slot: known.get(slot) or rng.choice(SLOTS[slot]) for slot in slots})
    repeats = asked and rng.random() < 0.1
    slot = rng.choice(asked if repeats else [slot for slot in SLOTS if slot not in asked])
    return tool_call(note, "ask", slot=slot)


def book_well(messages: list[dict], tools: list[Callable], patience: int = 12, num_questions: int = 0) -> dict:
    """
    Ask for each slot that matters until it is told, and once more for what may be put right, then book.

    Args:
        messages (`list[dict]`):
            The conversation so far.
        tools (`list[Callable]`):
            Tools of the environment, unused.
        patience (`int`, *optional*, defaults to `12`):
            Number of questions after which the rest is guessed.
        num_questions (`int`, *optional*, defaults to `0`):
            Number of questions to ask at least.
    """
    slots, known, num_asked = booked_slots(messages), {}, 0
    for message, answer in exchanges(messages):
        name, _ = first_call(message)
        if name == "book":
            return {"role": "assistant", "content": quickstart.GOODBYE}
        num_asked += 1
        known |= read_values(answer)
    unknown = [slot for slot in slots if slot not in known]
    if num_asked < patience and (unknown or num_asked < max(num_questions, len(slots) + 1)):
        return tool_call("", "ask", slot=(unknown or slots)[0])
    return tool_call("", "book", **{slot: known.get(slot, SLOTS[slot][0]) for slot in slots})


def classify_booking(row: dict, messages: list[dict]) -> list[str | None]:
    """A question is useful about a slot that matters and is not told yet, repeated about one that was dealt with."""
    kinds, settled = [], set()
    for message, answer in exchanges(messages):
        name, arguments = first_call(message)
        if name != "ask":
            kinds.append(None)
            continue
        slot = str(arguments.get("slot"))
        matters = bool(row["goal"].get(slot))
        kinds.append(REPEATED if slot in settled else USEFUL if matters else USELESS)
        if not matters or slot in read_values(answer):
            settled.add(slot)
    return kinds


BOOKING = Family(
    make_environment=BookingEnv,
    make_dataset=booking_dataset,
    phrases=(*quickstart.PHRASES, *LARGE_KINDS, FORGOTTEN, "I was wrong: ", " "),
    demonstrate=demonstrate_booking,
    oracle=book_well,
    classify=classify_booking,
    placeholder=NEUTRAL,
    users={
        "plain": {},
        "forgetful": {"persona": "forgetful"},
        "mistaken": {"persona": "mistaken"},
        "distracting": {"distraction": 1.0},
        "silent": {"silence": 0.3},
    },
    tasks=({"num_slots": 3}, {"num_slots": 4}),
)

# Clarify

CLARIFY_DOMAINS = ("travel", "table")


def mentions(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def clarify_topics(messages: list[dict]) -> dict[str, list[str]]:
    return {name: values.split(", ") for name, values in re.findall(r"^- (\w+): (.+)$", messages[0]["content"], re.M)}


def demonstrate_clarify(messages: list[dict], rng: random.Random) -> dict:
    """Ask about some topics at random, repeat each wish, and propose what was said, or one guess."""
    topics, known, asked, news = clarify_topics(messages), {}, [], []
    for message, answer in exchanges(messages):
        asked += [name for name in topics if message["content"].endswith(f"Any wishes for {name}?")]
        news = [(name, value) for name in topics for value in topics[name] if mentions(answer, value)]
        known |= dict(news)
    note = "".join(f"Noted: {value}. " for _, value in news)
    unasked = [name for name in topics if name not in asked]
    if not unasked or rng.random() < 1 / (len(unasked) + 1):
        if not known:
            name = rng.choice(list(topics))
            known = {name: rng.choice(topics[name])}
        choices = "; ".join(f"{name}={value}" for name, value in known.items())
        return tool_call(note, "propose", choices=choices)
    return {"role": "assistant", "content": f"{note}Any wishes for {rng.choice(unasked)}?"}


def classify_clarify(row: dict, messages: list[dict]) -> list[str | None]:
    """A question is useful about a wish that is not told yet, repeated about topics that were all dealt with."""
    topics, kinds, settled = clarify_topics(row["prompt"]), [], set()
    for message, _ in exchanges(messages):
        if first_call(message)[0]:
            kinds.append(None)
            continue
        asked = {name for name in topics if mentions(message["content"], name)}
        new = asked - settled
        wishes = {name for name in new if f'"{name}"' in row["goal"]}
        kinds.append(USEFUL if wishes else USELESS if new or not asked else REPEATED)
        settled |= asked
    return kinds


def clarify_phrases() -> tuple[str, ...]:
    phrases = ["<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_start|>tool\n"]
    phrases += [NOTHING_TO_ADD, FORMAT_ERROR, "Any wishes for ", "?", "Noted: ", ". ", ".", " ", "=", "; "]
    phrases += ["dummy", "other"]  # what the trainer learns from how the template renders a reply
    phrases += ['<tool_call>\n{"name": "propose", "arguments": {"choices": "', '"}}\n</tool_call>']
    for domain in (DOMAINS[name] for name in CLARIFY_DOMAINS):
        listed = "\n".join(f"- {name}: {', '.join(topic.values)}" for name, topic in domain.topics.items())
        phrases.append(INSTRUCTIONS.format(business=domain.business, topics=listed))
        phrases += [opening.format(need=need) for opening in OPENINGS for need in domain.needs]
        for name, topic in domain.topics.items():
            phrases += [name, *topic.values, *topic.sentence.split("{value}")]
    return tuple(dict.fromkeys(filter(None, phrases)))


CLARIFY = Family(
    make_environment=ClarifyEnv,
    make_dataset=partial(clarify_dataset, domains=CLARIFY_DOMAINS),
    phrases=clarify_phrases(),
    demonstrate=demonstrate_clarify,
    oracle=partial(clarify_oracle, questions_per_message=1),
    classify=classify_clarify,
    placeholder=NOTHING_TO_ADD,
)

FAMILIES = {"booking": BOOKING, "clarify": CLARIFY}
