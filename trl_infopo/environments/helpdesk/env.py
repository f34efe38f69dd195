# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The environment of the help desk: its tools, its reward and its end."""

from collections.abc import Awaitable, Callable

from ..._options import check_callable
from ...users import NOTHING_TO_ADD, ScriptedUser, UserFactory, UserSimulator
from .database import Shop, ShopError
from .tasks import Goal, build_task, tells


class HelpdeskEnv:
    """
    A shop's help desk: a customer with a hidden scenario, a policy, and a real database.

    The customer says only what kind of thing they want (`"I want to cancel an order."`) and answers when asked: who
    they are, which order, which item, why. The agent looks things up, changes the database as far as the policy in
    the system prompt allows, and tells the customer what they need to know. Some requests must be refused. The
    database is an in-memory SQLite database, a fresh copy for every episode. The tools keep it consistent, but the
    agent must follow the policy itself: a shipped order can be cancelled, although doing so is wrong.

    - **Observation**: the request comes with the prompt, the customer's answers as user messages, and records as tool
      results. No observation depends on the reward. No tool says the same twice: a result that brings nothing new is
      [`~trl_infopo.users.NOTHING_TO_ADD`], as with the scripted user, and that is the placeholder too.
    - **Tools**: `find_customer`, `list_orders`, `get_order` and `get_product` read, `cancel_order`, `change_address`,
      `return_item` and `exchange_item` write, `close_ticket` ends the episode.
    - **Reward**: 1 when every table has exactly the right content, the customer was told the amount or date that they
      must be told, and `find_customer` has found them before any change if it is about an order; else 0. The amounts
      and dates that the agent names are counted over the whole conversation, so that reading out the database is no
      solution: where nothing may change (a price, a question, a refusal), it must name the right value and no other;
      where something changes, at most three amounts and dates. Repeating one does not count, nor do the return fee
      and the dates of the policy. A refusal is right when nothing was changed and the date that forbids the request
      was told. An agent that does not ask can still guess: there are two reasons, three questions, and four or five
      options of a product.
    - **End**: `close_ticket`, or the customer leaves. Whatever ends the episode, everything that was changed and that
      the customer has heard by then counts, so that an episode that is cut off is scored too. The customer hears
      neither what is said along with a call nor the last message that `max_turns` allows.

    Args:
        make_user ([`~trl_infopo.users.UserFactory`], *optional*, defaults to [`~trl_infopo.users.ScriptedUser`]):
            Makes the customer of an episode.

    Example:

    ```python
    >>> from trl_infopo.environments.helpdesk import HelpdeskEnv

    >>> env = HelpdeskEnv()
    >>> env.reset(goal={"wish": "price", "variant_id": "V323"}, seed=0)
    >>> env.user.reply([{"role": "assistant", "content": "Which product do you mean, and in which option?"}])
    'It is the suitcase. In black.'
    >>> print(env.get_product("suitcase"))
    V242 red, $51.50, 2 left
    V243 green, $40.00, 0 left
    V323 black, $28.00, 0 left
    V388 blue, $75.50, 5 left
    V616 white, $28.50, 3 left
    >>> env.user.reply([{"role": "assistant", "content": "It costs $28.00."}])
    'I have nothing to add.'
    >>> env.get_reward()
    1.0
    ```
    """

    user: UserSimulator
    masked_feedback = NOTHING_TO_ADD
    thread_safe = True

    def __init__(self, make_user: UserFactory = ScriptedUser):
        check_callable("make_user", make_user, "what makes a user of a scenario and a seed, as ScriptedUser does")
        self._make_user = make_user

    def reset(self, goal: dict, seed: int, **row) -> None:
        """
        Start an episode with a fresh database and a new customer.

        Args:
            goal (`dict`):
                What the customer wants, the fields of a [`Goal`].
            seed (`int`):
                Seed of the customer.
            **row:
                Other columns of the dataset, unused.
        """
        self.done = False
        self._shop = Shop()
        self._task = build_task(Goal(**goal), seed, self._shop)
        self._heard: list[str] = []
        self._said: set[str] = set()
        self._is_premature = False
        self.user = _Listener(self._make_user(self._task.scenario, seed), self._heard)

    def get_reward(self) -> float:
        """
        Compare the database, and what the customer was told, with what is right.

        Returns:
            `float`: 1.0 if both are right, else 0.0.
        """
        if self._is_premature or not self._is_identified():
            return 0.0
        told = self._task.told
        if told is not None and not tells(self._heard, told, self._task.max_named):
            return 0.0
        expected = Shop()
        if self._task.write is not None:
            operation, *arguments = self._task.write
            getattr(expected, operation)(*arguments)
        return float(self._shop.equals(expected))

    def _is_identified(self) -> bool:
        """Whether the agent has found the customer, as the policy says. Prices are for everybody."""
        return self._task.customer_id is None or self._task.customer_id in self._shop.found

    def _change(self, operation: Callable[..., str | None], *arguments: str) -> str:
        """The result of a change to the database."""
        self._is_premature |= not (self.done or self._is_identified())
        return self._answer(operation, *arguments)

    def _answer(self, operation: Callable[..., str | None], *arguments: str) -> str:
        """The result of an operation on the database, unless it was said before."""
        if self.done:
            return NOTHING_TO_ADD
        try:
            # Language models write zip codes as numbers
            text = operation(*map(str, arguments))
        except ShopError as error:
            text = str(error)
        if text is None or text in self._said:
            return NOTHING_TO_ADD
        self._said.add(text)
        return text

    def find_customer(self, email: str = "", name: str = "", zip_code: str = "") -> str:
        """
        Find a customer by email address, or by name and zip code.

        Args:
            email: Email address.
            name: First and last name.
            zip_code: Zip code.

        Returns:
            Customer id and name.
        """
        return self._answer(self._shop.find_customer, email, name, zip_code)

    def list_orders(self, customer_id: str) -> str:
        """
        List the orders of a customer.

        Args:
            customer_id: Customer id, such as C1234.

        Returns:
            Number, status and products of each order.
        """
        return self._answer(self._shop.list_orders, customer_id)

    def get_order(self, order_id: str) -> str:
        """
        Read an order.

        Args:
            order_id: Number of the order, such as W1234.

        Returns:
            Its status, dates, address and payment, and its items.
        """
        return self._answer(self._shop.get_order, order_id)

    def get_product(self, name: str) -> str:
        """
        Read the options of a product.

        Args:
            name: Name of the product.

        Returns:
            Variant id, option, price and stock of each.
        """
        return self._answer(self._shop.get_product, name)

    def cancel_order(self, order_id: str, reason: str) -> str:
        """
        Cancel an order and refund it.

        Args:
            order_id: Number of the order, such as W1234.
            reason: Why the customer cancels. (choices: ["mistake", "unneeded"])

        Returns:
            The refund.
        """
        return self._change(self._shop.cancel_order, order_id, reason)

    def change_address(self, order_id: str, street: str, city: str, zip_code: str) -> str:
        """
        Change where an order goes.

        Args:
            order_id: Number of the order, such as W1234.
            street: House number and street.
            city: City.
            zip_code: Zip code.

        Returns:
            Nothing new.
        """
        return self._change(self._shop.change_address, order_id, street, city, zip_code)

    def return_item(self, item_id: str, reason: str) -> str:
        """
        Take an item back and refund it.

        Args:
            item_id: Number of the item, such as I1234.
            reason: Why the customer returns it. (choices: ["faulty", "unwanted"])

        Returns:
            The refund.
        """
        return self._change(self._shop.return_item, item_id, reason)

    def exchange_item(self, item_id: str, variant_id: str) -> str:
        """
        Exchange an item for another option of the product.

        Args:
            item_id: Number of the item, such as I1234.
            variant_id: Variant id of the option, such as V123.

        Returns:
            The refund or charge.
        """
        return self._change(self._shop.exchange_item, item_id, variant_id)

    def close_ticket(self) -> str:
        """
        Close the ticket, when all is done and said.

        Returns:
            Nothing new.
        """
        self.done = True
        return NOTHING_TO_ADD


class _Listener:
    """Records what the agent says to a user of any kind."""

    def __init__(self, user: UserSimulator, heard: list[str]):
        self._user = user
        self._heard = heard

    def __getattr__(self, name: str):
        # `copy` and `pickle` look for hooks before there is a `_user`
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._user, name)

    def reply(self, messages: list[dict]) -> str | None | Awaitable[str | None]:
        self._heard.append(messages[-1]["content"])
        return self._user.reply(messages)
