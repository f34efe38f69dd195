# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Hidden wishes about a few topics of many, in plain text."""

import random
import re
from functools import partial

from trl_infopo.environments import ClarifyEnv, clarify_dataset, clarify_oracle
from trl_infopo.environments.clarify import FORMAT_ERROR, INSTRUCTIONS, OPENINGS
from trl_infopo.environments.clarify_domains import DOMAINS
from trl_infopo.users import NOTHING_TO_ADD

from .common import REPEATED, USEFUL, USELESS, Family, exchanges, first_call, tool_call


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
