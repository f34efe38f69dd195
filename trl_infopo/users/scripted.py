# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A user who follows rules, with several personas."""

import random
import re
from collections.abc import Iterable
from functools import cache

from .._options import check_choice
from .base import Fact, Scenario


NOTHING_TO_ADD = "I have nothing to add."
"""
All that a user says when asked about nothing that they know, or about what they said before. It has one wording
because any new one would be surprising, and information gain rewards surprises: environments with scripted users make
it their placeholder, so that a useless question has a gain of exactly 0.
"""

PERSONAS = {
    "plain": "answers what was asked in whole sentences",
    "terse": "answers with the bare values",
    "chatty": "wraps every answer in small talk",
    "forgetful": "answers one question of a message, and at times must be asked again",
    "evasive": "wants to know why, and answers when asked for the second time",
    "mistaken": "gets one thing wrong, and puts it right in the next reply",
    "switching": "changes their mind about one thing, two replies after it was said",
}
"""The manners of speaking, each with what it does."""

CHATTER = (
    ("Oh, good question.", "Thanks a lot!"),
    ("Let me think.", "My sister told me to ask you."),
    ("Well, since you ask.", "What a day, by the way."),
    ("Hm, sure.", "I hope that helps."),
)
FORGOTTEN = "It slipped my mind, ask me again."
WHY = "Why do you ask?"


# Up to five words between the parts of a keyword, within a sentence
GAP = r"(?:[^\w.?!]+\w+){0,5}?[^\w.?!]+"


def asks_for(message: str, fact: Fact) -> bool:
    """
    Whether a message asks for a fact, as its keywords say.

    A keyword asks where it stands as a whole, in any case, also with a regular inflection of its last word: `replace`
    in "replaces", "replaced" and "replacing", `label` in "labelled", `copy` in "copies". A keyword `where ... go` has
    up to five words in its gap. What a keyword with a minus covers does not ask: with `where` and `-where ... sleep`,
    "Where would you like to sleep?" asks for something else.
    """
    others = tuple(keyword[1:] for keyword in fact.keywords if keyword.startswith("-"))
    keywords = tuple(keyword for keyword in fact.keywords if not keyword.startswith("-"))
    return _pattern(keywords).search(_pattern(others).sub(".", message)) is not None


@cache
def _pattern(keywords: tuple[str, ...]) -> re.Pattern:
    words = "|".join(GAP.join(map(_inflected, keyword.split(" ... "))) for keyword in keywords)
    return re.compile(rf"(?<!\w)(?:{words or '(?!)'})(?!\w)", re.IGNORECASE)


def _inflected(keyword: str) -> str:
    """A pattern of a keyword with the regular inflections of its last word, the plural alone where that is short."""
    stem, last = re.escape(keyword[:-1]), re.escape(keyword[-1:])
    word = re.search("[a-z]*$", keyword, re.IGNORECASE)[0].lower()
    if len(word) < 3:
        return f"{stem}{last}(?:e?s)?"
    if word.endswith("e"):
        return f"{stem}(?:e(?:e?s)?|ed|ing)"
    if re.search("[^aeiou]y$", word):
        return f"{stem}(?:ys?|ies|ied|ying)"
    doubled = ""
    if re.search("[^aeiou][aeiou][^aeiouwxy]$", word):
        # "planned" is of "plan", but "planed" is not; "labeled" and "labelled" are both of "label"
        doubled = last if len(re.findall("[aeiouy]+", word)) == 1 else f"{last}?"
    return f"{stem}{last}(?:e?s|{doubled}ed|{doubled}ing)?"


class ScriptedUser:
    """
    A user who follows rules: no model, no network, the same replies for the same seed.

    A message asks for a fact when it contains one of the fact's keywords as a whole, or an inflection of it. Each fact
    is told once: a question about nothing that the user knows, or about what they have said, is always answered
    [`NOTHING_TO_ADD`]. After `patience` such answers in a row, the next useless message ends the conversation.

    Args:
        scenario ([`Scenario`]):
            What the user knows.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the random choices of the persona.
        persona (`str`, *optional*, defaults to `"plain"`):
            Manner of speaking, a key of [`PERSONAS`]. Whatever it is, what the user says last about a topic is true.
        patience (`int`, *optional*, defaults to `3`):
            Number of useless messages in a row that the user answers; the next one ends the conversation.

    Attributes:
        untold (`dict[str, Fact]`):
            What the user has not said yet, by topic.
        num_replies (`int`):
            Number of messages that the user has answered.

    Raises:
        `ValueError`: If the persona is unknown, or `patience` is below 1.

    Example:

    ```python
    >>> from trl_infopo.users import Fact, Scenario, ScriptedUser

    >>> city = Fact("city", "Paris", keywords=("city", "where"), sentence="I want to go to {value}.")
    >>> user = ScriptedUser(Scenario("I need a trip.", facts=(city,)))
    >>> user.reply([{"role": "user", "content": "I need a trip."}, {"role": "assistant", "content": "Where to?"}])
    'I want to go to Paris.'
    ```
    """

    def __init__(self, scenario: Scenario, seed: int = 0, persona: str = "plain", patience: int = 3):
        check_choice("persona", persona, list(PERSONAS))
        if patience < 1:
            raise ValueError(f"`patience` is {patience}, set it to at least 1: a user hears one message.")
        self.scenario = scenario
        self.persona = persona
        self.patience = patience
        self._rng = random.Random(f"{seed} {persona}")
        self.untold = {fact.topic: fact for fact in scenario.facts}
        self.num_replies = 0
        self._was_asked: set[str] = set()
        self._useless = 0
        # The topic that a mistaken or switching user gets wrong at first, and in how many replies they correct it
        uncertain = [fact.topic for fact in scenario.facts if fact.alternatives]
        changes = persona in ("mistaken", "switching") and uncertain
        self._wrong_topic = self._rng.choice(uncertain) if changes else None
        self._correction: tuple[int, str] | None = None

    def reply(self, messages: list[dict]) -> str | None:
        self.num_replies += 1
        question = messages[-1]["content"]
        return self.tell(fact.topic for fact in self.scenario.facts if asks_for(question, fact))

    def tell(self, topics: Iterable[str]) -> str | None:
        """
        Answer a question about topics, in the user's own manner.

        Args:
            topics (`Iterable[str]`):
                Topics that were asked for, including those that the user knows nothing about.

        Returns:
            `str` or `None`: The answer, or `None` when the user has lost patience.
        """
        asked = [self.untold[topic] for topic in dict.fromkeys(topics) if topic in self.untold]
        asked = asked[: self.scenario.max_facts]
        answer = self._answer(asked) if asked else ""
        correction = self._due_correction()
        self._useless = 0 if answer or correction else self._useless + 1
        if self._useless > self.patience:
            return None
        return " ".join(filter(None, [correction, answer])) or NOTHING_TO_ADD

    def _answer(self, asked: list[Fact]) -> str:
        if self.persona == "evasive":
            again = [fact for fact in asked if fact.topic in self._was_asked]
            self._was_asked.update(fact.topic for fact in asked)
            if not again:
                return WHY
            asked = again
        if self.persona == "forgetful":
            asked = asked[:1]
            if asked[0].topic not in self._was_asked and self._rng.random() < 0.5:
                self._was_asked.add(asked[0].topic)
                return FORGOTTEN
        for fact in asked:
            del self.untold[fact.topic]
        if self.persona == "terse":
            return ", ".join(fact.value for fact in asked)
        sentences = " ".join(self._sentence(fact) for fact in asked)
        if self.persona == "chatty":
            before, after = self._rng.choice(CHATTER)
            return f"{before} {sentences} {after}"
        return sentences

    def _sentence(self, fact: Fact) -> str:
        if fact.topic != self._wrong_topic:
            return fact.sentence.format(value=fact.value)
        opening, delay = ("I was wrong:", 1) if self.persona == "mistaken" else ("I changed my mind:", 2)
        self._correction = (delay, f"{opening} {fact.sentence.format(value=fact.value)}")
        return fact.sentence.format(value=self._rng.choice(fact.alternatives))

    def _due_correction(self) -> str:
        """What must be corrected in this reply. The reply that was wrong counts as the first."""
        if self._correction is None:
            return ""
        delay, correction = self._correction
        self._correction = (delay - 1, correction) if delay else None
        return "" if delay else correction
