# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The goals of customers, drawn from the database, with the user who has one, and the test of reaching it."""

import functools
import random
import re
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..._options import check_choice, check_draw
from ...users import Fact, Scenario
from .._keywords import words
from .database import CITIES, RETURN_FEE, RETURNABLE_SINCE, STREETS, TODAY, Shop, money


if TYPE_CHECKING:
    from datasets import Dataset

POLICY = f"""\
You work at the help desk of a shop. Today is {TODAY}.
- Ask the customer for what you do not know: email address (or name and zip code), order, item, reason. Never guess.
- Identify the customer before you speak about orders.
- Cancel an order or change its address only while it is processing.
- Return or exchange an item only if it was delivered on {RETURNABLE_SINCE} or later.
- A return costs {money(RETURN_FEE)} unless the item is faulty.
- An exchange is for another option of the same product, in stock.
- Otherwise refuse, change nothing, and say on which date the order was shipped or delivered.
- After a change, tell what is refunded or charged. Name at most three amounts or dates in the whole talk.
- Without a change, name only one in the whole talk: what the customer asks for, or the date that forbids it.
- Write amounts with a $. The fee and the dates above do not count.
- When all is done and said, close the ticket."""

# What the policy above names itself. The database does not hide it, so an agent may say it while it explains.
PUBLIC = frozenset({RETURN_FEE, str(TODAY), str(RETURNABLE_SINCE)})

REQUESTS = MappingProxyType(
    {
        "cancel": ("I want to cancel an order.", "Please cancel an order for me.", "Can you cancel an order?"),
        "address": ("I want another address for an order.", "An order of mine has an old address."),
        "return": ("I want to return something.", "I would like to send something back."),
        "exchange": ("I want to exchange something.", "I would like to swap something for another one."),
        "question": ("I have a question about an order.", "I would like to know something about an order."),
        "price": ("I want to know a price.", "How much does one of your products cost?"),
    }
)
SPLITS = ("train", "validation", "test")

# Queries for what each kind of task can be about. Each `owner` always belongs to the same split.
CANDIDATES = MappingProxyType(
    {
        "cancel": "SELECT customer_id AS owner, order_id FROM orders WHERE status = 'processing'",
        "address": "SELECT customer_id AS owner, order_id FROM orders WHERE status = 'processing'",
        "return": f"""
            SELECT customer_id AS owner, order_id, item_id FROM orders JOIN items USING (order_id)
            WHERE delivered_on >= '{RETURNABLE_SINCE}'
            """,
        "exchange": f"""
            SELECT customer_id AS owner, order_id, item_id, wanted.variant_id
            FROM orders JOIN items USING (order_id) JOIN variants AS sold USING (variant_id)
            JOIN variants AS wanted ON wanted.product_id = sold.product_id AND wanted.variant_id != sold.variant_id
            WHERE delivered_on >= '{RETURNABLE_SINCE}' AND wanted.stock > 0
            """,
        "substitute": f"""
            SELECT customer_id AS owner, order_id, item_id, wanted.variant_id, other.variant_id AS fallback_id
            FROM orders JOIN items USING (order_id) JOIN variants AS sold USING (variant_id)
            JOIN variants AS wanted ON wanted.product_id = sold.product_id AND wanted.variant_id != sold.variant_id
            JOIN variants AS other ON other.product_id = sold.product_id AND other.variant_id != sold.variant_id
            WHERE delivered_on >= '{RETURNABLE_SINCE}' AND wanted.stock = 0 AND other.stock > 0
            """,
        # Only delivered orders leave more than one thing to ask: a record of one amount would be its own answer
        "question": "SELECT customer_id AS owner, order_id FROM orders WHERE status = 'delivered'",
        "price": "SELECT variant_id AS owner, variant_id FROM variants",
        "refuse": f"""
            SELECT customer_id AS owner, order_id, min(item_id) AS item_id, status
            FROM orders JOIN items USING (order_id)
            WHERE status = 'shipped' OR delivered_on < '{RETURNABLE_SINCE}' GROUP BY order_id
            """,
    }
)
KINDS = tuple(CANDIDATES)
"""The kinds of tasks."""

REASONS = MappingProxyType(
    {
        "mistake": ("it was ordered by mistake", "I pressed the wrong button, a mistake"),
        "unneeded": ("it is not needed any more", "I do not need it now"),
        "faulty": ("it is faulty", "it is broken, it was faulty from the start"),
        "unwanted": ("it is not what I wanted", "I do not like it"),
    }
)
QUESTIONS = MappingProxyType(
    {"shipped": "when it was shipped", "delivered": "when it was delivered", "paid": "how much I paid for it"}
)
RULES = (
    "You only know what is written here; never make anything up. Answer what you are asked in at most two sentences, "
    "and say nothing that you were not asked for. You do not know the shop's rules: if you hear that something cannot "
    "be done, accept it."
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# What follows where the name is not abbreviated: other letters make another word, as in "marked" or "maybe"
REST_OF_MONTH = "uary|ruary|ch|il|e|y|ust|t|tember|ober|ember"


@dataclass(frozen=True)
class Goal:
    """
    What a customer wants, and how they say it. Each row of the dataset has one.

    Attributes:
        wish (`str`):
            The kind of request, a key of `REQUESTS`.
        order_id, item_id (`str`, *optional*):
            What it is about.
        variant_id (`str`, *optional*):
            The option that they want or ask about.
        fallback_id (`str`, *optional*):
            The option that they take if that one is out of stock.
        detail (`str`, *optional*):
            The reason, a key of `REASONS`, or what they want to know, a key of `QUESTIONS`.
        address (`str`, *optional*):
            The new address: street, city and zip code.
        knows_email, knows_number (`bool`, *optional*, defaults to `True`):
            Whether they know their email address and the number of the order. If not, they give their name and zip
            code, and a product that was in the order.
    """

    wish: str
    order_id: str | None = None
    item_id: str | None = None
    variant_id: str | None = None
    fallback_id: str | None = None
    detail: str | None = None
    address: str | None = None
    knows_email: bool = True
    knows_number: bool = True


@dataclass(frozen=True)
class Task:
    """
    A goal as the environment plays it.

    Attributes:
        scenario ([`~trl_infopo.users.Scenario`]):
            The scenario of the user.
        write (`tuple[str, ...]`, *optional*):
            The operation of [`Shop`] that makes the right database, and its arguments. `None` where nothing may
            change.
        told (`int` or `str`, *optional*):
            What the user must be told: an amount in cents, or a date such as `"2026-06-03"`.
        customer_id (`str`, *optional*):
            Who must be identified. `None` where it is not about an order.
    """

    scenario: Scenario
    write: tuple[str, ...] | None
    told: int | str | None
    customer_id: str | None = None

    @property
    def max_named(self) -> int:
        """
        How many amounts and dates the agent may name in the whole conversation. Where nothing may change, only words
        decide, and two values would be a guess. Where something changes, the database decides, and an exchange has two
        prices.
        """
        return 1 if self.write is None else 3


def build_task(goal: Goal, seed: int, shop: Shop) -> Task:
    """
    Make the task of a goal: its user, the right database and what the user must be told.

    Args:
        goal ([`Goal`]):
            What the customer wants.
        seed (`int`):
            Seed of the wording.
        shop ([`Shop`]):
            The database, as it is before the episode.

    Returns:
        [`Task`]: The task.
    """
    rng = random.Random(seed)
    request = rng.choice(REQUESTS[goal.wish])
    if goal.wish == "price":
        variant = _variant(shop, goal.variant_id)
        facts = (_product_fact(variant["name"]), _option_fact("option", variant["option"]))
        return Task(_scenario("", request, facts), None, variant["price"])

    order = shop.db.execute("SELECT * FROM orders WHERE order_id = ?", (goal.order_id,)).fetchone()
    customer = shop.db.execute("SELECT * FROM customers WHERE customer_id = ?", (order["customer_id"],)).fetchone()
    items = shop.db.execute("SELECT * FROM items WHERE order_id = ? ORDER BY item_id", (goal.order_id,)).fetchall()
    item = next((item for item in items if item["item_id"] == goal.item_id), items[0])
    product = _variant(shop, item["variant_id"])["name"]
    paid = sum(item["price"] for item in items)

    facts = [_customer_fact(customer, goal.knows_email), _order_fact(goal.order_id, product, goal.knows_number)]
    write, told = None, None
    if goal.wish == "cancel":
        facts.append(_reason_fact(goal.detail, rng))
        write, told = ("cancel_order", goal.order_id, goal.detail), paid
    elif goal.wish == "address":
        facts.append(_address_fact(goal.address, rng))
        write = ("change_address", goal.order_id, *goal.address.split(", "))
    elif goal.wish == "return":
        facts += [_product_fact(product), _reason_fact(goal.detail, rng)]
        fee = RETURN_FEE if goal.detail == "unwanted" else 0
        write, told = ("return_item", goal.item_id, goal.detail), item["price"] - fee
    elif goal.wish == "exchange":
        wanted = _variant(shop, goal.variant_id)
        facts += [_product_fact(product), _option_fact("option", wanted["option"])]
        if goal.fallback_id is not None:
            wanted = _variant(shop, goal.fallback_id)
            facts.append(_option_fact("fallback", wanted["option"]))
        write, told = ("exchange_item", goal.item_id, wanted["variant_id"]), abs(wanted["price"] - item["price"])
    else:
        facts.append(_question_fact(goal.detail))
        told = paid if goal.detail == "paid" else order[f"{goal.detail}_on"]

    if goal.wish in ("cancel", "address") and order["status"] == "shipped":
        write, told = None, order["shipped_on"]
    elif goal.wish == "return" and order["delivered_on"] < str(RETURNABLE_SINCE):
        write, told = None, order["delivered_on"]
    return Task(_scenario(customer["name"], request, tuple(facts)), write, told, customer["customer_id"])


def tells(messages: Iterable[str], value: int | str, max_named: int) -> bool:
    """
    Whether a conversation tells an amount or a date, without reading out the database.

    Args:
        messages (`Iterable[str]`):
            All messages of the agent.
        value (`int` or `str`):
            Amount in cents, or date such as `"2026-06-03"`.
        max_named (`int`):
            How many different amounts and dates, this one included, the messages may name together. Those that the
            shop's policy names do not count.

    Returns:
        `bool`: `True` if the value is named, however it is spelled, and not too many others are.
    """
    named = set().union(*map(_named, messages))
    return value in named and len(named - PUBLIC | {value}) <= max_named


LONGEST_AMOUNT = 12  # digits
_DATE = re.compile(
    rf"""
    \b(?: (?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)
    | (?P<slash_month>\d\d?)/(?P<slash_day>\d\d?)/(?P<slash_year>\d{{4}})
    | (?: (?P<day_before>\d{{1,2}})(?:st|nd|rd|th|\.)?\ (?:of\ )?(?P<name>{"|".join(MONTHS)})(?:{REST_OF_MONTH})?
      | (?P<name_before>{"|".join(MONTHS)})(?:{REST_OF_MONTH})?\.?\ (?:the\ )?(?P<day_after>\d{{1,2}})(?:st|nd|rd|th)?
      ) (?:,?\ (?P<year_after>\d{{4}}))?
    )\b
    """,
    re.VERBOSE,
)
# A number is an amount if it has a dollar sign, a unit or cents. Others count things: "2 items", "within 30 days".
_AMOUNT = re.compile(
    r"""
    (?P<sign>\$\ ?|\busd\ )? (?<![\w.,]) (?P<whole>\d{1,3}(?:,\d{3})+|\d+) (?:\.(?P<cents>\d{1,2}))?
    (?P<unit>\ ?(?:\$|dollars?|usd))? (?!\w|[.,]\d)
    """,
    re.VERBOSE,
)


def _named(message: str) -> set[int | str]:
    """The amounts and the dates in a message."""
    message = " ".join(message.lower().split())
    named = set()
    for match in _DATE.finditer(message):
        name = match["name"] or match["name_before"]
        month = MONTHS.index(name) + 1 if name else int(match["month"] or match["slash_month"])
        day = int(match["day"] or match["slash_day"] or match["day_before"] or match["day_after"])
        year = match["year"] or match["slash_year"] or match["year_after"] or TODAY.year
        named.add(f"{year}-{month:02}-{day:02}")
    for match in _AMOUNT.finditer(_DATE.sub(" ", message)):
        cents = match["cents"] or ""
        if match["sign"] or match["unit"] or len(cents) == 2:
            # A number that is no price, and too long to be read, is one more that was named
            dollars = int(match["whole"].replace(",", "")[:LONGEST_AMOUNT])
            named.add(100 * dollars + int(cents.ljust(2, "0")))
    return named


def _variant(shop: Shop, variant_id: str) -> sqlite3.Row:
    query = "SELECT variants.*, name FROM variants JOIN products USING (product_id) WHERE variant_id = ?"
    return shop.db.execute(query, (variant_id,)).fetchone()


def _customer_fact(customer: sqlite3.Row, knows_email: bool) -> Fact:
    keywords = words(
        "email, e-mail, mail, name, zip, who, account, identify yourself, identity, -mailing address, -mailed to, "
        "-name of the, -city ... and zip, -zip ... new address"
    )
    if knows_email:
        return Fact("customer", customer["email"], keywords, "My email address is {value}.")
    value = "{name}, zip code {zip_code}".format(**customer)
    return Fact("customer", value, keywords, "I do not know which email address I gave. I am {value}.")


def _order_fact(order_id: str, product: str, knows_number: bool) -> Fact:
    keywords = words(
        "order, number, purchase, -ordered, -order it by mistake, -in order to, -why ... the order, "
        "-cancel the order, -cancelling the order, -phone number, -telephone number, -card number, "
        "-tracking number, -house number"
    )
    # An order that is only mentioned: "Why do you want to cancel your order?"
    doing = words("why, cancel, cancellation, cancelling, change, send, ship, deliver, address, help, about")
    keywords += tuple(f"-{verb} ... {whose} order" for verb in doing for whose in ("your", "this", "that"))
    if knows_number:
        return Fact("order", order_id, keywords, "It is order {value}.")
    return Fact("order", product, keywords, "I do not have the number, it is the order with the {value}.")


def _product_fact(product: str) -> Fact:
    nouns, verbs = ("item", "product", "article"), words("return, send back, exchange, swap, replace, buy")
    asking = words("want to, like to, what ..., which ...")
    keywords = nouns + tuple(f"{start} {verb}" for verb in verbs for start in asking) + ("-in return",)
    # An item that is only mentioned: "Why do you want to return it?", "What do you want to exchange it for?"
    mentioning = words("-why ..., -reason ..., -wrong with ..., -condition ..., -problem with ..., -is the, -does the")
    keywords += tuple(f"{start} {word}" for word in nouns + verbs for start in mentioning)
    keywords += tuple(f"-{verb} {rest}" for verb in verbs for rest in ("it for", "it with", "the ... for"))
    return Fact("item", product, keywords, "It is the {value}.")


def _option_fact(topic: str, option: str) -> Fact:
    if topic == "fallback":
        # Not "instead" alone, which asks for what is wanted first
        keywords = words(
            "out of stock, sold out, unavailable, not available, isn't available, no longer available, not in stock, "
            "no stock, none left, ran out, run out, have no more, alternative, other option, another option, "
            "other colour, another colour, other color, another color, other size, another size, another one, "
            "what else, something else, second choice, take instead"
        )
        return Fact(topic, option, keywords, "Then I take {value}.")
    keywords = words(
        "option, color, colour, size, variant, version, model, instead, replacement, replace ... with, "
        "exchange ... for, exchange ... with, swap ... for, swap ... with, in return, in exchange, "
        "which one ... like, which one ... prefer"
    )
    return Fact(topic, option, keywords, "In {value}.")


def _reason_fact(reason: str, rng: random.Random) -> Fact:
    keywords = words(
        "why, reason, wrong with, faulty, defective, defect, broken, damaged, condition, the problem, your problem, "
        "problem with, the issue, issue with, made you, your mind, order it by mistake, by accident, no longer need, "
        "no longer want, what happened, work properly, does it work, not working"
    )
    other = {"mistake": "unneeded", "unneeded": "mistake", "faulty": "unwanted", "unwanted": "faulty"}[reason]
    return Fact("reason", rng.choice(REASONS[reason]), keywords, "Because {value}.", alternatives=REASONS[other])


def _address_fact(address: str, rng: random.Random) -> Fact:
    keywords = words(
        "address, street, city, where, send it to, ship it to, deliver it to, -email address, -e-mail address, "
        "-mail address, -address change, -help ... address"
    )
    other = _draw_address(rng)
    return Fact("address", address, keywords, "Send it to {value}.", alternatives=(other,))


def _question_fact(detail: str) -> Fact:
    # Not "know" or "ask" alone: "please let me know your email address" asks for something else
    keywords = words(
        "question, want to know, like to know, wish to know, need to know, find out, information, want to ask, "
        "like to ask, looking for, help with, help you, assist, do for you, -to help, -let me help, -i can help, "
        "-i will help, -to assist, -let me assist, -i can assist, -i will assist, -answer ... question, "
        "-some questions, -a few questions"
    )
    return Fact("question", QUESTIONS[detail], keywords, "I want to know {value}.")


def _scenario(name: str, request: str, facts: tuple[Fact, ...]) -> Scenario:
    """The scenario, with a profile for language models that says the same as the facts."""
    who = f"You are {name}, a customer" if name else "You are a customer"
    told = "\n".join(f"- {fact.topic}: {fact.sentence.format(value=fact.value)}" for fact in facts)
    profile = (
        f"{who} of a shop. You wrote to its help desk: {request!r} "
        f"This is what you know, and say when you are asked for it:\n{told}"
    )
    return Scenario(request, facts, profile, RULES)


def _draw_address(rng: random.Random) -> str:
    return f"{rng.randrange(1, 200)} {rng.choice(STREETS)}, {rng.choice(CITIES)}, {rng.randrange(10000, 100000)}"


@functools.cache
def _candidates(kind: str, split: str) -> list[dict]:
    shop = Shop()
    rows = [dict(row) for row in shop.db.execute(CANDIDATES[kind]) if _split_of(row["owner"]) == split]
    # Another version of SQLite may find them in another order
    return sorted(rows, key=str)


def _split_of(owner: str) -> str:
    return {0: "test", 1: "validation"}.get(zlib.crc32(owner.encode()) % 10, "train")


def _draw_goal(kind: str, split: str, rng: random.Random) -> Goal:
    found = rng.choice(_candidates(kind, split))
    wish = {"substitute": "exchange"}.get(kind, kind)
    if kind == "refuse":
        wish = rng.choice(("cancel", "address")) if found["status"] == "shipped" else "return"
    details = {"cancel": ("mistake", "unneeded"), "return": ("faulty", "unwanted"), "question": tuple(QUESTIONS)}
    return Goal(
        wish=wish,
        order_id=found.get("order_id"),
        item_id=found.get("item_id") if wish in ("return", "exchange") else None,
        variant_id=found.get("variant_id"),
        fallback_id=found.get("fallback_id"),
        detail=rng.choice(details[wish]) if wish in details else None,
        address=_draw_address(rng) if wish == "address" else None,
        knows_email=rng.random() < 0.7,
        knows_number=rng.random() < 0.5,
    )


def helpdesk_dataset(split: str, num_rows: int, seed: int = 0, kinds: Sequence[str] = KINDS) -> "Dataset":
    """
    Draw tickets for [`HelpdeskEnv`], each with the hidden goal of its user.

    A hash of the customer's number assigns each customer, with all orders, to one split; the same holds for the option
    of a product whose price is asked for. No seed puts a held-out goal into training.

    Args:
        split (`str`):
            `"train"` (eight tenths of the customers), `"validation"` or `"test"`.
        num_rows (`int`):
            Number of tickets to draw, with replacement.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the draw.
        kinds (`Sequence[str]`, *optional*):
            Kinds of tickets to draw from, by default all of [`KINDS`]. All are equally likely, and one that is named
            twice is twice as likely.

    Returns:
        [`~datasets.Dataset`]:
            Dataset with the columns `prompt` (conversational, with the shop's policy as system message), `kind`,
            `goal` and `seed`.

    Raises:
        `ValueError`: If there is no such split or kind, or the number of rows or the seed is not a whole number or
            is too small.

    Example:

    ```python
    >>> from trl_infopo.environments.helpdesk import helpdesk_dataset

    >>> helpdesk_dataset("train", 2)["kind"][:]
    ['question', 'exchange']
    ```
    """
    from datasets import Dataset

    check_choice("split", split, SPLITS)
    check_draw(num_rows, seed)
    if not kinds or not set(kinds) <= set(KINDS):
        raise ValueError(f"`kinds` is {kinds!r}, choose some of {list(KINDS)}.")
    rng = random.Random(f"{split} {seed}")
    shop = Shop()
    rows = []
    for _ in range(num_rows):
        kind = rng.choice(kinds)
        goal = _draw_goal(kind, split, rng)
        user_seed = rng.randrange(2**31)
        request = build_task(goal, user_seed, shop).scenario.request
        prompt = [{"role": "system", "content": POLICY}, {"role": "user", "content": request}]
        rows.append({"prompt": prompt, "kind": kind, "goal": asdict(goal), "seed": user_seed})
    return Dataset.from_list(rows)
