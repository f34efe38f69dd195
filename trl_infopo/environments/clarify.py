# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Intent clarification: the agent finds out hidden wishes before it proposes something."""

import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .._options import check_callable, check_choice, check_draw
from .._show import show
from ..users import NOTHING_TO_ADD, Fact, Scenario, ScriptedUser, UserFactory, UserSimulator
from .clarify_domains import DOMAINS, Domain


if TYPE_CHECKING:
    from datasets import Dataset

OPENINGS = (
    "I need {need}.",
    "I am looking for {need}.",
    "Could you help me? I would like {need}.",
    "Hello, I want {need}, please.",
    "Hi! Can you find me {need}?",
)
INSTRUCTIONS = """\
You work for {business}. The user has not said yet what they want. Ask them in plain text about the topics below. \
Then call the tool `propose`, once, with the topics that the user has a wish about and without the others, written \
like topic=value; topic=value. Topics and values:
{topics}"""
FORMAT_ERROR = "This is no proposal. Write it like topic=value; topic=value, with topics and values from the list."

IMPORTANCE = {3: "very important", 2: "important", 1: "nice to have"}
# A question for no topic in particular, but for what weighs most
PRIORITY = ("most important", "matters most", "matter most", "priority", "priorities")
RULES = f"""\
Answer only what the last message asks, in at most one short sentence for each wish that it asks about. Name the \
value of a wish exactly as it is written above. Never mention a wish that you were not asked about. If the message \
asks about none of your wishes, or only about what you said before, answer exactly: {NOTHING_TO_ADD}"""

SPLITS = ("train", "validation", "test")


class ClarifyEnv:
    """
    A user asks for something without saying what they want, and the agent asks before it proposes.

    A task belongs to one of six domains (a trip, a table, a gift, a doctor's appointment, a flat, a laptop) of seven
    topics each. The user has hidden wishes about four or five of them, each of importance 1, 2 or 3, and no wish
    about the others. Only asking can tell which topics these are.

    - **Observation**: the system message lists the topics and their values, the request is vague. The user answers in
      plain text; an answer that brings nothing new is always [`NOTHING_TO_ADD`]. No observation depends on the reward.
    - **Tools**: `propose` makes the proposal.
    - **Reward**: the importance of the wishes that the proposal meets, divided by the importance of all wishes plus 1
      for each entry about a topic that the user has no wish about. So it is 1 for exactly what the user wants, an
      invented entry costs as much as a missed wish of least importance, and a wrong value is as good as none. 0
      without a proposal.
    - **End**: the first well-formed proposal counts and ends the episode.

    Args:
        make_user (`UserFactory`, *optional*, defaults to [`ScriptedUser`]):
            Makes the user of each episode from a [`Scenario`] and the row's seed.

    Example:

    ```python
    >>> from trl_infopo.environments.clarify import ClarifyEnv

    >>> env = ClarifyEnv()
    >>> goal = '{"destination": ["Rome", 3], "month": ["June", 1]}'
    >>> env.reset(prompt=[{"role": "user", "content": "I need a trip."}], domain="travel", goal=goal, seed=0)
    >>> env.user.reply([{"role": "assistant", "content": "Where do you want to go?"}])
    'I want to go to Rome.'
    >>> env.propose("destination=Rome")
    'I have nothing to add.'
    >>> env.get_reward()
    0.75
    ```
    """

    user: UserSimulator
    masked_feedback = NOTHING_TO_ADD
    thread_safe = True

    def __init__(self, make_user: UserFactory = ScriptedUser):
        check_callable("make_user", make_user, "what makes a user of a scenario and a seed, as ScriptedUser does")
        self._make_user = make_user

    def reset(self, prompt: list[dict], domain: str, goal: str, seed: int, **row) -> None:
        """
        Start an episode with a new user.

        Args:
            prompt (`list[dict]`):
                The conversation so far, the user's request at its end.
            domain (`str`):
                Key of `DOMAINS`.
            goal (`str`):
                The user's wishes, as JSON: value and importance by topic.
            seed (`int`):
                Seed of the user.
            **row:
                Other columns of the dataset, unused.
        """
        self.domain = DOMAINS[domain]
        self.goal = json.loads(goal)
        self.proposal = {}
        self.done = False
        self.format_error = FORMAT_ERROR
        self.user = self._make_user(_make_scenario(prompt[-1]["content"], self.domain, self.goal), seed)

    def propose(self, choices: str) -> str:
        """
        Propose what the user wants, which is final.

        Args:
            choices: The topics that the user has a wish about and their values, like "topic=value; topic=value".

        Returns:
            The acknowledgement, whatever was proposed.
        """
        if self.done:
            return NOTHING_TO_ADD
        proposal = _parse_proposal(choices, self.domain)
        if proposal is None:
            # Like everything else it is said once, or a mistake could be repeated for the gain of its error
            error, self.format_error = self.format_error, NOTHING_TO_ADD
            return error
        self.proposal = proposal
        self.done = True
        return NOTHING_TO_ADD

    def get_reward(self) -> float:
        """
        Compare the proposal with what the user wants.

        Returns:
            `float`: The share of what matters that is right, between 0.0 and 1.0; 0.0 when nothing was proposed.
        """
        met = sum(weight for topic, (value, weight) in self.goal.items() if self.proposal.get(topic) == value)
        invented = len(self.proposal.keys() - self.goal.keys())
        return met / (sum(weight for _, weight in self.goal.values()) + invented)


def _make_scenario(request: str, domain: Domain, goal: dict[str, list]) -> Scenario:
    most = max(weight for _, weight in goal.values())
    facts = []
    for name, (value, weight) in goal.items():
        topic = domain.topics[name]
        choices = (f"{one} ... or ... {other}" for one in topic.values for other in topic.values if one != other)
        keywords = (name, *topic.keywords, *choices, *(PRIORITY if weight == most else ()))
        alternatives = tuple(other for other in topic.values if other != value)
        facts.append(Fact(name, value, keywords, topic.sentence, alternatives))
    wishes = "\n".join(f"- {name}: {value} ({IMPORTANCE[weight]})" for name, (value, weight) in goal.items())
    others = ", ".join(name for name in domain.topics if name not in goal)
    profile = (
        f'You are a customer of {domain.business} and said: "{request}" You have these wishes, which you have not '
        f"told yet:\n{wishes}\nYou do not mind about the rest ({others})."
    )
    return Scenario(request, tuple(facts), profile, RULES)


def _parse_proposal(choices: str, domain: Domain) -> dict[str, str] | None:
    """Values by topic, spelt as in the domain; `None` if there is none, or one is malformed, unknown or repeated."""
    values = {
        (name.casefold(), value.casefold()): (name, value)
        for name, topic in domain.topics.items()
        for value in topic.values
    }
    proposal = {}
    # A model may send an object instead of a text, which is one more thing that is no proposal
    for entry in re.split(r"[;,\n]", str(choices).casefold()):
        if not entry.strip():
            continue
        key = tuple(part.strip() for part in re.split("[=:]", entry, maxsplit=1))
        if key not in values or values[key][0] in proposal:
            return None
        name, value = values[key]
        proposal[name] = value
    return proposal or None


def clarify_dataset(split: str, num_rows: int, seed: int = 0, domains: Sequence[str] = tuple(DOMAINS)) -> "Dataset":
    """
    Draw requests for [`ClarifyEnv`], each with the hidden wishes of its user.

    A hash assigns each goal (what a user wants, whatever its importance) to one split, so that no seed puts a held-out
    goal into training.

    Args:
        split (`str`):
            `"train"` (four fifths of the goals), `"validation"` or `"test"` (a tenth each).
        num_rows (`int`):
            Number of requests to draw, with replacement.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the draw.
        domains (`Sequence[str]`, *optional*):
            Domains to draw from, by default all.

    Returns:
        [`~datasets.Dataset`]:
            Dataset with the columns `prompt` (conversational, with a system message), `domain`, `goal` (JSON: value
            and importance by topic) and `seed` (the user's).

    Raises:
        `ValueError`: If there is no such split or domain, or the number of rows or the seed is not a whole number or
            is too small.
    """
    from datasets import Dataset

    check_choice("split", split, SPLITS)
    check_draw(num_rows, seed)
    if not domains or not set(domains) <= set(DOMAINS):
        raise ValueError(f"`domains` is {show(domains)}, choose some of {list(DOMAINS)}.")
    rng = random.Random(int(seed))
    rows = []
    while len(rows) < num_rows:
        domain_name = rng.choice(list(domains))
        domain = DOMAINS[domain_name]
        wanted = rng.sample(list(domain.topics), rng.randint(4, 5))
        wishes = {topic: rng.choice(domain.topics[topic].values) for topic in domain.topics if topic in wanted}
        bucket = zlib.crc32(f"{domain_name} {wishes}".encode()) % 10
        if split != {0: "test", 1: "validation"}.get(bucket, "train"):
            continue
        topics = "\n".join(f"- {name}: {', '.join(topic.values)}" for name, topic in domain.topics.items())
        instructions = INSTRUCTIONS.format(business=domain.business, topics=topics)
        request = rng.choice(OPENINGS).format(need=rng.choice(domain.needs))
        rows.append(
            {
                "prompt": [{"role": "system", "content": instructions}, {"role": "user", "content": request}],
                "domain": domain_name,
                "goal": json.dumps({topic: [value, rng.randint(1, 3)] for topic, value in wishes.items()}),
                "seed": rng.randrange(2**31),
            }
        )
    return Dataset.from_list(rows)


def clarify_oracle(messages: list[dict], tools: list[Callable], questions_per_message: int = 3) -> dict:
    """
    Play [`ClarifyEnv`] well: ask about every topic that the system message lists, then propose what the user said.

    A topic is settled when the user has named one of its values, or has had nothing to add to a message that asked
    about it. So a user who answers only one of several questions, or must be asked twice, is asked again.

    Args:
        messages (`list[dict]`):
            Prompt and conversation so far.
        tools (`list[Callable]`):
            Tools of the environment, unused: the only one is `propose`.
        questions_per_message (`int`, *optional*, defaults to `3`):
            Number of topics that a message asks about.

    Returns:
        `dict`: The assistant's next message.
    """
    system, _, *talk = messages
    topics = {name: values.split(", ") for name, values in re.findall(r"^- (\w+): (.+)$", system["content"], re.M)}
    times_asked, wishes, settled, question = Counter(), {}, set(), []
    for message in talk:
        if message["role"] == "assistant":
            question = [name for name in topics if _mentions(message["content"], name)]
            times_asked.update(question)
        elif message["role"] == "user":
            if message["content"] == NOTHING_TO_ADD:
                settled.update(question)
            said = {name: value for name in topics for value in topics[name] if _mentions(message["content"], value)}
            wishes.update(said)
            settled.update(said)
    unsettled = sorted((name for name in topics if name not in settled), key=lambda name: times_asked[name])
    if unsettled:
        return {"role": "assistant", "content": f"Any wishes for {', '.join(unsettled[:questions_per_message])}?"}
    arguments = {"choices": "; ".join(f"{name}={value}" for name, value in wishes.items())}
    call = {"type": "function", "function": {"name": "propose", "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _mentions(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
