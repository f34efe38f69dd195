# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A scripted agent that solves every ticket by asking, reading, acting and telling. It sees only the messages."""

import re
from collections.abc import Callable

from .database import COLORS, PRODUCTS, RETURNABLE_SINCE, SIZES


ASK_CUSTOMER = "What is your email address?"
ASK_ORDER = "Which order is it?"
ASK_PRODUCT = "Which product is it?"
ASK_OPTION = "Which option do you want?"
ASK_FALLBACK = "That is out of stock. What do you want instead?"
ASK_REASON = "What is the reason?"
ASK_ADDRESS = "What is the new address?"
ASK_QUESTION = "What do you want to know?"

EMAIL = r"[\w.]+@[\w.]+\w"
NAME = r"([A-Z]\w+ [A-Z]\w+), zip code (\d{5})"
ORDER = r"W\d{4}"
PRODUCT = "|".join(PRODUCTS)
OPTION = rf"\b(?:{'|'.join((*COLORS, *SIZES))})\b"
ADDRESS = r"(\d+ [A-Z]\w+ [A-Z]\w+), ([A-Z]\w+), (\d{5})"
QUESTION = r"shipped|delivered|paid"
CANCEL_REASON = r"mistake|need"
RETURN_REASON = r"faulty|not (?:like|what)"
AMOUNT = r"(?:refunded|charged) \$[\d.]+"

# What each request needs to know from the start: a pattern of the request, of the answer, and the question
OPENINGS = (
    ("cancel", CANCEL_REASON, ASK_REASON),
    ("address", ADDRESS, ASK_ADDRESS),
    ("return|back", RETURN_REASON, ASK_REASON),
    ("question|know", QUESTION, ASK_QUESTION),
)


def helpdesk_oracle(messages: list[dict], tools: list[Callable]) -> dict:
    """
    Act as a good help desk does: a scripted policy for demonstrations and tests.

    It asks one thing at a time, asks again where it got no answer, and takes what the customer said last as true. In
    the whole conversation it names one amount or date, the one that the customer must be told.

    Args:
        messages (`list[dict]`):
            The conversation so far, prompt included.
        tools (`list[Callable]`):
            Tools of the environment, unused: it knows them.

    Returns:
        `dict`: An assistant message.
    """
    return _next_action(_Conversation(messages))


class _Conversation:
    """What the messages say."""

    def __init__(self, messages: list[dict]):
        start = next(i for i, message in enumerate(messages) if message["role"] == "user")
        self.request = messages[start]["content"]
        self.messages = messages[start + 1 :]

    def said(self, pattern: str, since: str | None = None) -> re.Match | None:
        """The last match in what the customer said, at all or since a question was first asked."""
        spoken = [(message["role"], message["content"]) for message in self.messages]
        if since is not None:
            start = spoken.index(("assistant", since)) if ("assistant", since) in spoken else len(spoken)
            spoken = spoken[start:]
        matches = [match for role, text in spoken if role == "user" for match in re.finditer(pattern, text)]
        return matches[-1] if matches else None

    def result(self, tool: str) -> str | None:
        """What a tool answered when it was called first."""
        return next((m["content"] for m in self.messages if m["role"] == "tool" and m["name"] == tool), None)

    def has_told(self, text: str) -> bool:
        return any(m["role"] == "assistant" and m["content"] == text for m in self.messages)


def _next_action(talk: _Conversation) -> dict:
    if re.search("price|cost", talk.request):
        return _tell_price(talk)

    # What a customer may correct later is asked first, so that the correction comes before anything is changed
    for request, pattern, question in OPENINGS:
        if re.search(request, talk.request) and not talk.said(pattern):
            return _say(question)

    if talk.result("find_customer") is None:
        if email := talk.said(EMAIL):
            return _call("find_customer", email=email[0])
        if name := talk.said(NAME):
            return _call("find_customer", name=name[1], zip_code=name[2])
        return _say(ASK_CUSTOMER)
    order = talk.result("get_order")
    if order is None:
        if number := talk.said(ORDER):
            return _call("get_order", order_id=number[0])
        if not (product := talk.said(PRODUCT)):
            return _say(ASK_ORDER)
        orders = talk.result("list_orders")
        if orders is None:
            return _call("list_orders", customer_id=talk.result("find_customer").split()[0])
        [order_id] = [line.split()[0] for line in orders.splitlines() if product[0] in line]
        return _call("get_order", order_id=order_id)

    if re.search("question|know", talk.request):
        return _answer(talk, order)
    if re.search("cancel|address", talk.request):
        return _change_order(talk, order)
    return _take_back(talk, order)


def _answer(talk: _Conversation, order: str) -> dict:
    question = talk.said(QUESTION)[0]
    if question == "paid":
        amount = re.search(r"paid (\S+)", order)[1]
        return _tell(talk, f"You paid {amount}.")
    day = re.search(rf"{question} on (\S+)", order)[1]
    return _tell(talk, f"It was {question} on {day}.")


def _change_order(talk: _Conversation, order: str) -> dict:
    if shipped := re.search(r"shipped on (\S+)", order):
        return _tell(talk, f"I cannot do that, it was shipped on {shipped[1]}.")
    order_id = order.split()[0]
    if "cancel" in talk.request:
        reason = "mistake" if talk.said(CANCEL_REASON)[0] == "mistake" else "unneeded"
        return _write(talk, "cancel_order", order_id=order_id, reason=reason)
    street, city, zip_code = talk.said(ADDRESS).groups()
    return _write(talk, "change_address", order_id=order_id, street=street, city=city, zip_code=zip_code)


def _tell_price(talk: _Conversation) -> dict:
    if not (product := talk.said(PRODUCT)):
        return _say(ASK_PRODUCT)
    if not (option := talk.said(OPTION)):
        return _say(ASK_OPTION)
    variants = talk.result("get_product")
    if variants is None:
        return _call("get_product", name=product[0])
    price = re.search(rf"{option[0]}, (\S+),", variants)[1]
    return _tell(talk, f"It costs {price}.")


def _take_back(talk: _Conversation, order: str) -> dict:
    """A return or an exchange."""
    delivered = re.search(r"delivered on (\S+)", order)[1]
    if delivered < str(RETURNABLE_SINCE):
        return _tell(talk, f"I cannot do that, it was delivered on {delivered}.")
    if not (product := talk.said(PRODUCT, since=ASK_PRODUCT)):
        return _say(ASK_PRODUCT)
    item_id = re.search(rf"(I\d+) {product[0]}", order)[1]
    if re.search("return|back", talk.request):
        reason = "faulty" if talk.said(RETURN_REASON)[0] == "faulty" else "unwanted"
        return _write(talk, "return_item", item_id=item_id, reason=reason)
    if not (option := talk.said(OPTION)):
        return _say(ASK_OPTION)
    variants = talk.result("get_product")
    if variants is None:
        return _call("get_product", name=product[0])
    if re.search(rf"{option[0]}, \S+, 0 left", variants):
        option = talk.said(OPTION, since=ASK_FALLBACK)
        if not option:
            return _say(ASK_FALLBACK)
    variant_id = re.search(rf"(V\d+) {option[0]},", variants)[1]
    return _write(talk, "exchange_item", item_id=item_id, variant_id=variant_id)


def _write(talk: _Conversation, tool: str, /, **arguments: str) -> dict:
    """Change the database, then tell the cost or the refund."""
    result = talk.result(tool)
    if result is None:
        return _call(tool, **arguments)
    amount = re.search(AMOUNT, result)
    return _tell(talk, f"Done, you are {amount[0]}." if amount else "Done, it goes to the new address.")


def _tell(talk: _Conversation, text: str) -> dict:
    return _call("close_ticket") if talk.has_told(text) else _say(text)


def _say(text: str) -> dict:
    return {"role": "assistant", "content": text}


def _call(tool: str, /, **arguments: str) -> dict:
    function = {"name": tool, "arguments": arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
