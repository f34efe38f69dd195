# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A help desk for one thing: customers cancel an order, which the desk must look up, since a shipped one stays."""

import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from trl_infopo.environments import HelpdeskEnv, helpdesk_dataset
from trl_infopo.environments.helpdesk import POLICY, database, oracle
from trl_infopo.environments.helpdesk.tasks import REASONS, REQUESTS
from trl_infopo.users import NOTHING_TO_ADD

from .common import REPEATED, USEFUL, USELESS, Family, exchanges, first_call, tool_call


if TYPE_CHECKING:
    from datasets import Dataset

QUESTIONS = {
    "reason": oracle.ASK_REASON,
    "order": oracle.ASK_ORDER,
    "item": oracle.ASK_PRODUCT,
    "option": oracle.ASK_OPTION,
    "address": oracle.ASK_ADDRESS,
}
ANSWERS = {"reason": oracle.CANCEL_REASON, "order": oracle.ORDER}  # to the questions that matter
REFUSAL = "I cannot do that, it was "


class CancellationEnv(HelpdeskEnv):
    """The desk with the tools of a cancellation only: what others could do is not in the words of the policy."""

    find_customer = list_orders = get_product = change_address = return_item = exchange_item = None

    def _is_identified(self) -> bool:
        return True  # nobody can be looked up


def draw_cancellations(split: str, num_rows: int, seed: int = 0) -> "Dataset":
    """Cancellations by customers who know the number of their order. Nearly half of the orders are shipped."""
    from datasets import Dataset

    kinds = ("cancel", "refuse", "refuse", "refuse")  # of the refused, a quarter wants to cancel
    drawn = helpdesk_dataset(split, 6 * num_rows + 50, seed, kinds=kinds)
    rows = [row for row in drawn if row["goal"]["wish"] == "cancel" and row["goal"]["knows_number"]]
    return Dataset.from_list(rows[:num_rows])


class Ticket:
    """
    What a conversation has brought so far, and what can be done next.

    Args:
        messages (`list[dict]`):
            The conversation.
    """

    def __init__(self, messages: list[dict]):
        self.asked, self.known, self.results, self.note, self.is_told = [], {}, {}, "", False
        for message, answer in exchanges(messages):
            name, _ = first_call(message)
            if name:
                self.results.setdefault(name, answer)
            self.is_told |= message["content"].startswith("Done") or REFUSAL in message["content"]
            self.note = ""
            for topic in asked_topics(message):
                self.asked.append(topic)
                if topic in ANSWERS and (match := re.search(ANSWERS[topic], answer)):
                    self.known[topic] = {"need": "unneeded"}.get(match[0], match[0])
                    self.note = f"Noted: {self.known[topic]}. "

    def steps(self, topics: list[str]) -> list[dict]:
        """What finds something out: the questions about topics, and to look the order up. None once all is decided."""
        if self.is_told or "cancel_order" in self.results:
            return []
        steps = [self.ask(topic) for topic in topics if topic not in self.asked]
        if "order" in self.known and "get_order" not in self.results:
            steps.append(tool_call(self.note, "get_order", order_id=self.known["order"]))
        return steps

    def ask(self, topic: str) -> dict:
        return {"role": "assistant", "content": self.note + QUESTIONS[topic]}

    def conclude(self, rng: random.Random) -> dict:
        """Act on what is known and guess the rest, tell the customer, close the ticket."""
        if "order" not in self.known or self.is_told:
            return tool_call(self.note, "close_ticket")
        if refund := re.search(oracle.AMOUNT, self.results.get("cancel_order", "")):
            return {"role": "assistant", "content": f"Done, you are {refund[0]}."}
        if shipped := re.search(r"shipped on \S+", self.results.get("get_order", "")):
            return {"role": "assistant", "content": f"{self.note}{REFUSAL}{shipped[0]}."}
        reason = self.known.get("reason") or rng.choice(database.CANCEL_REASONS)
        return tool_call(self.note, "cancel_order", order_id=self.known["order"], reason=reason)


def asked_topics(message: dict) -> list[str]:
    return [topic for topic, question in QUESTIONS.items() if question in message["content"]]


def demonstrate_helpdesk(messages: list[dict], rng: random.Random) -> dict:
    """Ask and look up at random, then act on what is known, guessing the rest, or give up."""
    ticket = Ticket(messages)
    steps = ticket.steps(list(QUESTIONS))
    if not steps or rng.random() < 1 / (len(steps) + 1):
        return ticket.conclude(rng)
    if ticket.asked and rng.random() < 0.1:
        return ticket.ask(rng.choice(ticket.asked))
    looks_up = "tool_calls" in steps[-1] and rng.random() < 0.5
    return steps[-1] if looks_up else rng.choice(steps)


def serve_well(messages: list[dict], tools: list[Callable]) -> dict:
    """Ask for the reason and the order, look the order up, and cancel or refuse."""
    ticket = Ticket(messages)
    steps = ticket.steps(list(ANSWERS))
    return steps[0] if steps else ticket.conclude(random.Random(0))


def classify_helpdesk(row: dict, messages: list[dict]) -> list[str | None]:
    """
    A question is useful about the reason and the order, a lookup when it brings the order that the ticket is about.
    Both are repeated when they were dealt with before.
    """
    kinds, settled = [], set()
    for message, answer in exchanges(messages):
        name, arguments = first_call(message)
        if name == "get_order":
            subjects = {str(arguments.get("order_id"))}
            is_needed = answer.startswith(row["goal"]["order_id"])
        elif not name and message["content"].endswith("?"):
            subjects = set(asked_topics(message))
            is_needed = bool(subjects & set(ANSWERS) - settled)
        else:
            kinds.append(None)
            continue
        is_new = not subjects or subjects - settled
        kinds.append(USEFUL if is_needed else USELESS if is_new else REPEATED)
        settled |= subjects
    return kinds


def helpdesk_phrases() -> tuple[str, ...]:
    phrases = [f"<|im_start|>{role}\n" for role in ("system", "user", "assistant", "tool")]
    phrases += ["dummy", "other"]  # what the trainer learns from how the template renders a reply
    # What is said
    phrases += [POLICY, *REQUESTS["cancel"], *QUESTIONS.values(), NOTHING_TO_ADD, "It is order ", "Because "]
    phrases += [text for reason in database.CANCEL_REASONS for text in (*REASONS[reason], reason)]
    phrases += ["Noted: ", "Done, you are ", REFUSAL, ". ", ".", " ", ", "]
    # Tools
    phrases += [f'<tool_call>\n{{"name": "{name}_order", "arguments": {{"order_id": "' for name in ("get", "cancel")]
    phrases += ['", "reason": "', '"}}\n</tool_call>']
    phrases += ['<tool_call>\n{"name": "close_ticket", "arguments": {}}\n</tool_call>']
    phrases += [database.NO_RECORD, "The order is cancelled."]
    phrases += [f"The reason is one of: {', '.join(database.CANCEL_REASONS)}."]
    # Records: numbers by pairs of digits, since those of the held-out customers are new
    phrases += [*map(str, range(10)), *(f"{number:02}" for number in range(100))]
    phrases += [*(f"W{number}" for number in range(10, 100)), " of C", "\nI"]
    phrases += [*(f"${number}" for number in range(200)), ".00", ".50"]
    phrases += [f"2026-0{month}-" for month in (4, 5, 6)]
    phrases += [f", {status}\n" for status in ("processing", "shipped", "delivered", "cancelled")]
    phrases += ["shipped on ", "\ndelivered on ", "\nto ", "to ", "\npaid ", "refunded "]
    phrases += [f" {link} {method}" for method in database.PAYMENT_METHODS for link in ("with", "to")]
    phrases += [f" {street}, " for street in database.STREETS] + [f"{city}, " for city in database.CITIES]
    phrases += [f" {product}, " for product in database.PRODUCTS]
    phrases += [f"{option}, " for option in (*database.COLORS, *database.SIZES)]
    return tuple(phrases)


HELPDESK = Family(
    make_environment=CancellationEnv,
    make_dataset=draw_cancellations,
    phrases=helpdesk_phrases(),
    demonstrate=demonstrate_helpdesk,
    oracle=serve_well,
    classify=classify_helpdesk,
    placeholder=NOTHING_TO_ADD,
)
