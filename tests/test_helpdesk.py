# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import asyncio
import copy
import inspect
import json
import pickle
import random
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from natural_questions import HELPDESK, HELPDESK_USELESS, read_questions
from transformers.utils import get_json_schema

from trl_infopo.environments.helpdesk import KINDS, POLICY, HelpdeskEnv, helpdesk_dataset, helpdesk_oracle, oracle
from trl_infopo.environments.helpdesk.database import PRODUCTS, Shop, money
from trl_infopo.environments.helpdesk.tasks import (
    QUESTIONS,
    Goal,
    _address_fact,
    _option_fact,
    _product_fact,
    _question_fact,
    _reason_fact,
    build_task,
    tells,
)
from trl_infopo.users import NOTHING_TO_ADD, PERSONAS, ScriptedUser, Usage
from trl_infopo.users.scripted import asks_for


TOOLS = [
    name
    for name, _ in inspect.getmembers(HelpdeskEnv, predicate=inspect.isfunction)
    if not name.startswith("_") and name not in ("reset", "get_reward")
]
WRITES = ("cancel_order", "change_address", "return_item", "exchange_item")


@pytest.fixture(scope="module")
def rows():
    return helpdesk_dataset("test", 160).to_list()


@pytest.fixture
def db():
    """The database as it is before every episode, for queries of the test's own."""
    shop = Shop()
    yield shop.db
    del shop


def say(text):
    return {"role": "assistant", "content": text}


def call(tool, /, **arguments):
    return {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": tool, "arguments": arguments}}]}


def called(message):
    return [tool_call["function"]["name"] for tool_call in message.get("tool_calls", ())]


def play(policy, row, env=None, max_turns=30):
    env = env or HelpdeskEnv()
    assert env.reset(**row) is None
    tools = [getattr(env, name) for name in TOOLS]
    messages = list(row["prompt"])
    for _ in range(max_turns):
        messages.append(policy(messages, tools))
        if called(messages[-1]):
            for tool_call in messages[-1]["tool_calls"]:
                function = tool_call["function"]
                result = getattr(env, function["name"])(**function["arguments"])
                messages.append({"role": "tool", "name": function["name"], "content": result})
        else:
            talk = [m for m in messages if m["role"] in ("user", "assistant") and not called(m)]
            reply = env.user.reply(talk)
            if reply is None:
                break
            messages.append({"role": "user", "content": reply})
        if env.done:
            break
    return env.get_reward(), messages


def mean_by_kind(policy, rows, **kwargs):
    rewards = defaultdict(list)
    for row in rows:
        rewards[row["kind"]].append(play(policy, row, **kwargs)[0])
    assert set(rewards) == set(KINDS)
    return {kind: sum(values) / len(values) for kind, values in rewards.items()}


def mean(policy, rows, **kwargs):
    return sum(play(policy, row, **kwargs)[0] for row in rows) / len(rows)


# Scripted policies other than the oracle. They are functions of the messages, as it is.


def silent(messages, tools):
    return call("close_ticket")


def never_asking(messages, tools):
    """Uses what it can without asking, and says dates and prices on the off chance."""
    rng = random.Random(len(messages) + len(messages[1]["content"]))
    results = [message["content"] for message in messages if message["role"] == "tool"]
    turn = sum(message["role"] == "assistant" for message in messages)
    if turn == 0:
        return call("get_product", name=rng.choice(list(PRODUCTS)))
    if turn == 1:
        return say(f"It costs {' or '.join(re.findall(r'[$][0-9.]+', results[0])[:3])}.")
    if turn == 2:
        days = rng.sample(range(1, 30), 3)
        return say(f"I cannot do that, since {', '.join(f'2026-06-{day:02}' for day in days)}.")
    if turn == 3:
        return call("cancel_order", order_id=f"W{rng.randrange(1000, 10000)}", reason="mistake")
    return call("close_ticket")


def randomly(messages, tools, seed=0):
    """Any tool with anything that has been seen so far, or any question."""
    rng = random.Random(f"{seed} {len(messages)} {messages[-1]['content']}")
    seen = re.findall(r"[\w.@]+", " ".join(m["content"] for m in messages[1:])) or ["W1000"]
    questions = ("What is your email address?", "Which order is it?", "Why?", "Which item?", "What do you want?")
    if rng.random() < 0.5:
        return say(rng.choice(questions))
    tool = rng.choice([tool for tool in tools if tool.__name__ != "close_ticket" or rng.random() < 0.1])
    return call(tool.__name__, **{name: rng.choice(seen) for name in inspect.signature(tool).parameters})


def mute(messages, tools):
    """The oracle, but it keeps amounts and dates to itself."""
    action = helpdesk_oracle(messages, tools)
    text = re.sub(r"\$[\d.]+|\d{4}-\d\d-\d\d", "something", action["content"])
    if text == action["content"]:
        return action
    return call("close_ticket") if say(text) in messages else say(text)


def reading_out(messages, tools, values_per_message=None):
    """Asks who it is, which order and which product, but not what is wanted, and reads out all that it finds."""
    if len(messages) == 2:
        return say("What is your email address, which order is it, and which product?")
    request, answer = messages[1]["content"], messages[3]["content"]
    results = {message["name"]: message["content"] for message in messages if message["role"] == "tool"}
    product = next((name for name in PRODUCTS if name in answer), None)
    if re.search("price|cost", request):
        if "get_product" not in results:
            return call("get_product", name=product)
    elif "find_customer" not in results:
        email = re.search(r"[\w.]+@[\w.]+\w", answer)
        if email:
            return call("find_customer", email=email[0])
        name, zip_code = re.search(r"([A-Z]\w+ [A-Z]\w+), zip code (\d{5})", answer).groups()
        return call("find_customer", name=name, zip_code=zip_code)
    elif "get_order" not in results:
        number = re.search(r"W\d{4}", answer)
        if number:
            return call("get_order", order_id=number[0])
        if "list_orders" not in results:
            return call("list_orders", customer_id=results["find_customer"].split()[0])
        # The product of the order is named before the product that the request is about
        named = min((name for name in PRODUCTS if name in answer), key=answer.index)
        line = next(line for line in results["list_orders"].splitlines() if named in line)
        return call("get_order", order_id=line.split()[0])
    values = re.findall(r"\$[\d.]+|\d{4}-\d\d-\d\d", results.get("get_product") or results["get_order"])
    size = values_per_message or len(values)
    for start in range(0, len(values), size):
        text = say(f"For you: {', '.join(values[start : start + size])}.")
        if text not in messages:
            return text
    return call("close_ticket")


def guessing(messages, tools, seed=0):
    """The oracle, but it makes up what the customer wants and why, and asks only for who and which order and item."""
    # The same guesses in every turn: made anew from the first answer, and from what is for sale once it was looked up
    rng = random.Random(f"{seed} {messages[min(3, len(messages) - 1)]['content']}")
    options = re.findall(r"V\d+ (\w+),", " ".join(m["content"] for m in messages)) or ["red"]
    guesses = {
        oracle.ASK_OPTION: options,
        oracle.ASK_FALLBACK: options,
        oracle.ASK_REASON: ["a mistake", "no need"] if "cancel" in messages[1]["content"] else ["faulty", "not like"],
        oracle.ASK_ADDRESS: ["1 Elm Street, Oslo, 10000"],
        oracle.ASK_QUESTION: ["shipped", "delivered", "paid"],
    }
    action = helpdesk_oracle(messages, tools)
    while action["content"] in guesses:
        guess = rng.choice(guesses[action["content"]])
        messages = [*messages, action, {"role": "user", "content": guess}]
        action = helpdesk_oracle(messages, tools)
    return action


class TestPolicies:
    def test_oracle_solves_every_kind(self, rows):
        assert min(mean_by_kind(helpdesk_oracle, rows).values()) >= 0.95

    @pytest.mark.quick(3)
    @pytest.mark.parametrize("persona", PERSONAS)
    def test_oracle_copes_with_every_persona(self, rows, persona):
        env = HelpdeskEnv(partial(ScriptedUser, persona=persona))
        assert min(mean_by_kind(helpdesk_oracle, rows[:80], env=env).values()) >= 0.95

    def test_silence_fails(self, rows):
        assert mean(silent, rows) == 0.0

    def test_never_asking_fails(self, rows):
        assert mean(never_asking, rows) <= 0.1

    @pytest.mark.quick(1)
    @pytest.mark.parametrize("values_per_message", [1, 3, None])
    def test_reading_out_the_database_fails(self, rows, values_per_message):
        policy = partial(reading_out, values_per_message=values_per_message)
        assert not any(mean_by_kind(policy, rows).values())

    def test_guessing_wins_as_often_as_chance(self, rows):
        rewards = mean_by_kind(partial(guessing, seed=1), rows)
        assert rewards.pop("refuse") == 1.0  # what is wanted in detail does not matter then
        assert rewards.pop("address") == 0.0
        assert max(rewards["cancel"], rewards["return"]) <= 0.7
        assert max(rewards["question"], rewards["exchange"], rewards["substitute"], rewards["price"]) <= 0.5

    def test_random_is_far_below_the_oracle(self, rows):
        assert mean(randomly, rows) <= 0.1

    @pytest.mark.parametrize("topic", ["customer", "item", "option", "fallback", "reason", "address", "question"])
    def test_every_answer_is_needed(self, rows, topic):
        def withhold(scenario, seed):
            return ScriptedUser(replace(scenario, facts=tuple(f for f in scenario.facts if f.topic != topic)), seed)

        env, num_episodes = HelpdeskEnv(), 0
        for row in rows[:60]:
            env.reset(**row)
            if topic in [fact.topic for fact in env.user.scenario.facts] and row["kind"] != "refuse":
                num_episodes += 1
                assert play(helpdesk_oracle, row, env=HelpdeskEnv(withhold))[0] == 0.0
        assert num_episodes


def identify(env, goal, db):
    query = "SELECT email FROM customers JOIN orders USING (customer_id) WHERE order_id = ?"
    env.find_customer(email=db.execute(query, (goal.order_id,)).fetchone()[0])


class TestReward:
    @pytest.mark.quick(1)
    @pytest.mark.parametrize("tool", WRITES)
    def test_a_wrong_extra_write_scores_zero(self, rows, db, tool):
        [order_id] = db.execute("SELECT order_id FROM orders WHERE status = 'processing' LIMIT 1").fetchone()
        [item_id, variant_id] = db.execute(
            """
            SELECT item_id, other.variant_id
            FROM orders JOIN items USING (order_id) JOIN variants AS old USING (variant_id)
            JOIN variants AS other ON other.product_id = old.product_id AND other.variant_id != old.variant_id
            WHERE other.stock > 3 AND orders.status = 'delivered' LIMIT 1
            """
        ).fetchone()
        arguments = {
            "cancel_order": {"order_id": order_id, "reason": "mistake"},
            "change_address": {"order_id": order_id, "street": "1 Elm Street", "city": "Oslo", "zip_code": "10000"},
            "return_item": {"item_id": item_id, "reason": "faulty"},
            "exchange_item": {"item_id": item_id, "variant_id": variant_id},
        }[tool]

        def overdoing(messages, tools):
            action = helpdesk_oracle(messages, tools)
            done = any(called(message) == [tool] and message == call(tool, **arguments) for message in messages)
            return call(tool, **arguments) if called(action) == ["close_ticket"] and not done else action

        about_others = [
            row for row in rows if row["goal"]["order_id"] != order_id and row["goal"]["item_id"] != item_id
        ]
        assert mean(overdoing, about_others[:40]) == 0.0

    def test_untold_facts_score_zero(self, rows):
        rewards = mean_by_kind(mute, rows)
        assert rewards.pop("address") == 1.0  # a new address is all that is wanted
        assert not any(rewards.values())

    def test_facts_told_after_the_end_do_not_count(self, rows):
        def hasty(messages, tools):
            action = helpdesk_oracle(messages, tools)
            return call("close_ticket") if re.search(r"[$]\d|\d{4}-", action["content"]) else action

        assert mean(hasty, [row for row in rows if row["kind"] != "address"][:40]) == 0.0

    @pytest.mark.parametrize("moment", ["first", "after the change", "never"])
    def test_the_customer_is_identified_before_anything_is_changed(self, rows, db, moment):
        num_changes = 0
        for row in [row for row in rows if row["kind"] != "price"][:40]:
            goal, env = Goal(**row["goal"]), HelpdeskEnv()
            env.reset(**row)
            task = build_task(goal, row["seed"], Shop())
            if moment == "first":
                identify(env, goal, db)
            if task.write is not None:
                operation, *arguments = task.write
                getattr(env, operation)(*arguments)
                num_changes += 1
            if moment == "after the change":
                identify(env, goal, db)
            env.user.reply([say(money(task.told) if isinstance(task.told, int) else f"{task.told}")])
            expected = {"first": True, "after the change": task.write is None, "never": False}[moment]
            assert env.get_reward() == expected, row
        assert 0 < num_changes < 40

    def test_another_customer_is_not_the_one(self, rows, db):
        [row] = [row for row in rows if row["kind"] == "question"][:1]
        env = HelpdeskEnv()
        env.reset(**row)
        task = build_task(Goal(**row["goal"]), row["seed"], Shop())
        env.user.reply([say(money(task.told) if isinstance(task.told, int) else task.told)])
        env.find_customer(
            email=db.execute("SELECT email FROM customers WHERE customer_id != ?", (task.customer_id,)).fetchone()[0]
        )
        assert env.get_reward() == 0.0
        identify(env, Goal(**row["goal"]), db)
        assert env.get_reward() == 1.0

    def test_doing_what_is_forbidden_scores_zero_although_everything_is_told(self, rows, db):
        for row in [row for row in rows if row["kind"] == "refuse"]:
            _, messages = play(helpdesk_oracle, row)
            env = HelpdeskEnv()
            env.reset(**row)
            goal = Goal(**row["goal"])
            identify(env, goal, db)
            env.user.reply([say(messages[-4]["content"])])
            assert env.get_reward() == 1.0
            if goal.wish == "cancel":
                env.cancel_order(goal.order_id, goal.detail)
            elif goal.wish == "address":
                env.change_address(goal.order_id, *goal.address.split(", "))
            else:
                env.return_item(goal.item_id, goal.detail)
            assert env.get_reward() == 0.0

    @pytest.mark.parametrize(("kind", "max_others"), [("price", 0), ("question", 0), ("refuse", 0), ("return", 2)])
    def test_other_values_count_over_the_whole_conversation(self, rows, kind, max_others):
        row = next(row for row in rows if row["kind"] == kind)
        others = ["2026-01-01", "It costs $1.07.", "It was on January 3rd."]

        def digressing(messages, tools, num_others):
            num_said = sum(say(other) in messages for other in others)
            return say(others[num_said]) if num_said < num_others else helpdesk_oracle(messages, tools)

        for num_others in range(3):
            reward, _ = play(partial(digressing, num_others=num_others), row)
            assert reward == (num_others <= max_others)

    def test_saying_it_again_and_naming_the_policy_is_free(self, rows):
        for kind in ("price", "question", "refuse", "return"):
            row = next(row for row in rows if row["kind"] == kind)
            env = HelpdeskEnv()
            _, messages = play(helpdesk_oracle, row, env=env)
            env.user.reply([say(f"As I said: {messages[-4]['content']}")])
            env.user.reply([say("Within 30 days, since May 31, it is June 30 now, less a fee of $5.00 for 1 item.")])
            assert env.get_reward() == 1.0
            env.user.reply([say("Or $1.07, $1.08 or $1.09.")])
            assert env.get_reward() == 0.0

    def test_the_reward_needs_no_closing(self, rows):
        row = next(row for row in rows if row["kind"] == "cancel")
        turns = sum(message["role"] == "assistant" for message in play(helpdesk_oracle, row)[1])
        assert play(helpdesk_oracle, row, max_turns=turns - 1)[0] == 1.0  # all but closing
        assert play(helpdesk_oracle, row, max_turns=turns - 2)[0] == 0.0  # not told

    @settings(max_examples=60, deadline=None)
    @given(cents=st.integers(0, 10**7), other=st.integers(0, 10**7), spelling=st.sampled_from(range(6)))
    def test_amounts_count_however_they_are_spelled(self, cents, other, spelling):
        text = [
            f"You get ${cents / 100:.2f}.",
            f"you get **${cents / 100:,.2f}** back, as agreed on 2026-06-03",
            f"That is {cents / 100:.2f} USD",
            f"({cents / 100:,.2f} dollars)",
            f"W1234: {cents / 100:.2f}€!",
            f"$\n{cents / 100:g}" if cents < 10**6 else f"{cents / 100:.2f}",
        ][spelling]
        assert tells([text], cents, 2)
        assert tells([text], other, 2) == (other == cents)

    @settings(max_examples=60, deadline=None)
    @given(
        day=st.dates(date(2026, 1, 1), date(2026, 12, 31)),
        shift=st.integers(1, 400),
        spelling=st.sampled_from(range(6)),
    )
    def test_dates_count_however_they_are_spelled(self, day, shift, spelling):
        text = [
            f"It was shipped on {day}.",
            f"{day:%B} {day.day}, {day.year}",
            f"on the {day.day}th of {day:%B} {day.year}",
            f"since {day:%b} {day.day}",
            f"{day.day} {day:%b}, and cost $5.50",
            f"({day:%B} {day.day}st)",
        ][spelling]
        assert tells([text], str(day), 2)
        assert not tells([text], str(day + timedelta(days=shift)), 2)
        assert not tells([text], day.day * 100, 2)  # a day is no amount

    @pytest.mark.parametrize("text", ["W4500, I45, V45, #x45.505", "45 items in 45 days", "zip code 45, version 45.0"])
    def test_other_numbers_are_no_amounts(self, text):
        assert not tells([text], 4500, 9)
        assert tells([text, "$45"], 4500, 1)

    @pytest.mark.parametrize("text", ["$45", "$ 45", "45 dollars", "45 USD", "45$", "45.00", "**$45.0**", "US$45."])
    def test_amounts_have_a_sign_a_unit_or_cents(self, text):
        assert tells([text], 4500, 1)

    @pytest.mark.parametrize("text", ["Maybe 2 options.", "I decide 3 things.", "2 marked and 1 separate item."])
    def test_other_words_are_no_dates(self, text):
        assert tells([text, "It is shipped on 2026-06-09."], "2026-06-09", max_named=1)

    @pytest.mark.parametrize("digits", [13, 5000])
    def test_a_number_without_end_is_one_more_amount(self, digits):
        assert not tells([f"It is ${'1' * digits}.", "No, $28.00."], 2800, max_named=1)
        assert tells([f"It is ${'1' * digits}.", "No, $28.00."], 2800, max_named=2)


@pytest.mark.parametrize(
    ("fact", "question", "is_asked"),
    [
        (_address_fact("1 Elm Road", random.Random(0)), "What is your address?", True),
        (_address_fact("1 Elm Road", random.Random(0)), "What is your email address?", False),
        (_product_fact("suitcase"), "What do you want to return?", True),
        (_reason_fact("faulty", random.Random(0)), "Is it damaged?", True),
        (_reason_fact("faulty", random.Random(0)), "No problem! Which order is it?", False),
        (_option_fact("fallback", "red"), "We have no more. Which other option would you like?", True),
        (_option_fact("fallback", "red"), "Which option is it?", False),
        (_question_fact(next(iter(QUESTIONS))), "How can I help you?", True),
        (_question_fact(next(iter(QUESTIONS))), "Please let me know your email address.", False),
    ],
)
def test_customers_understand_what_is_asked_and_nothing_else(fact, question, is_asked):
    assert asks_for(question, fact) is is_asked


@pytest.fixture(scope="module")
def facts_of(rows):
    """What customers know, one for each wish, and one more who would take another option."""
    goals = {(row["goal"]["wish"], row["goal"]["fallback_id"] is not None): row for row in rows}
    return {key: build_task(Goal(**row["goal"]), row["seed"], Shop()).scenario.facts for key, row in goals.items()}


class TestQuestions:
    def test_a_natural_question_gets_its_answers_alone(self, facts_of):
        questions, wrong = read_questions(HELPDESK), []
        for (wish, has_fallback), facts in facts_of.items():
            for (about, *topics), question in questions:
                if about not in (wish, "-") or not set(topics) <= {fact.topic for fact in facts}:
                    continue
                # Nobody is asked for another option before they have told the one that they want
                known = [fact for fact in facts if "fallback" not in topics or fact.topic != "option"]
                told = {fact.topic for fact in known if asks_for(question, fact)}
                if told != set(topics):
                    wrong.append((wish, has_fallback, question, told))
        assert not wrong

    def test_there_are_questions_for_whatever_a_customer_knows(self, facts_of):
        topics = {(about, topic) for (about, *topics), _ in read_questions(HELPDESK) for topic in topics}
        for (wish, _), facts in facts_of.items():
            assert all({(wish, fact.topic), ("-", fact.topic)} & topics for fact in facts)

    def test_what_asks_for_nothing_reveals_nothing(self, facts_of):
        for facts in facts_of.values():
            for question in HELPDESK_USELESS.strip().splitlines():
                assert not [fact.topic for fact in facts if asks_for(question, fact)], question


class TestDatabase:
    """What the tools do to the database, read by the test's own SQL."""

    @pytest.fixture
    def env(self, rows):
        env = HelpdeskEnv()
        env.reset(**rows[0])
        return env

    def one(self, env, query, *values):
        return tuple(env._shop.db.execute(query, values).fetchone())

    def test_the_shop_is_consistent(self, db):
        def count(query):
            return db.execute(f"SELECT count(*) FROM ({query})").fetchone()[0]

        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert count("SELECT * FROM orders WHERE (status = 'delivered') != (delivered_on IS NOT NULL)") == 0
        assert count("SELECT * FROM orders WHERE (status = 'processing') != (shipped_on IS NULL)") == 0
        assert (
            count(
                "SELECT * FROM orders WHERE shipped_on >= delivered_on OR max(shipped_on, '2026-06-30') > '2026-06-30'"
            )
            == 0
        )
        bought = "SELECT order_id, sum(price) AS total FROM items GROUP BY order_id"
        assert count(f"SELECT * FROM ({bought}) JOIN payments USING (order_id) WHERE total != amount") == 0
        sales = (
            "SELECT customer_id, product_id FROM items JOIN variants USING (variant_id) JOIN orders USING (order_id)"
        )
        assert count(f"{sales} GROUP BY customer_id, product_id HAVING count(*) > 1") == 0
        for status in ("processing", "shipped", "delivered"):
            assert count(f"SELECT * FROM orders WHERE status = '{status}'") > 100

    def test_equality_is_that_of_the_contents(self, db):
        [order_id] = db.execute("SELECT order_id FROM orders WHERE status = 'processing'").fetchone()
        straight, detour = Shop(), Shop()
        assert straight.equals(detour)
        straight.change_address(order_id, "12 Elm Street", "Oslo", "12345")
        assert not straight.equals(detour)
        detour.change_address(order_id, "1 Rose Lane", "Rome", "54321")
        detour.change_address(order_id, "12 Elm Street", "Oslo", "12345")
        assert straight.db.serialize() != detour.db.serialize()
        assert straight.equals(detour)

    def test_cancel_order(self, env, db):
        [order_id, paid, method] = db.execute(
            """
            SELECT order_id, amount, method FROM payments JOIN orders USING (order_id) JOIN items USING (order_id)
            WHERE status = 'processing' GROUP BY order_id HAVING count(*) = 2
            """
        ).fetchone()
        stock = "SELECT sum(stock) FROM variants"
        before = self.one(env, stock)[0]
        assert env.cancel_order(order_id, "bored") == "The reason is one of: mistake, unneeded."
        assert env.cancel_order(order_id.lower(), "unneeded") == f"refunded ${paid / 100:.2f} to {method}"
        query = "SELECT status, cancel_reason FROM orders WHERE order_id = ?"
        assert self.one(env, query, order_id) == ("cancelled", "unneeded")
        assert self.one(env, "SELECT sum(amount), count(*) FROM payments WHERE order_id = ?", order_id) == (0, 2)
        assert self.one(env, stock)[0] == before + 2
        snapshot = env._shop.snapshot()
        assert env.cancel_order(order_id, "unneeded") == "The order is cancelled."
        assert env._shop.snapshot() == snapshot

    def test_change_address(self, env, db):
        [order_id] = db.execute("SELECT order_id FROM orders WHERE status = 'processing'").fetchone()
        assert env.change_address(order_id, "12  elm street,", " oslo", 10024) == NOTHING_TO_ADD
        query = "SELECT street, city, zip_code FROM orders WHERE order_id = ?"
        assert self.one(env, query, order_id) == ("12 Elm Street", "Oslo", "10024")

    @pytest.mark.parametrize(("reason", "fee"), [("faulty", 0), ("unwanted", 500)])
    def test_return_item(self, env, db, reason, fee):
        [item_id, order_id, price, paid] = db.execute(
            """
            SELECT item_id, order_id, price, amount
            FROM orders JOIN items USING (order_id) JOIN payments USING (order_id)
            WHERE status = 'delivered' AND price < amount
            """
        ).fetchone()
        assert env.return_item(item_id, reason).startswith(f"refunded ${(price - fee) / 100:.2f} to ")
        assert self.one(env, "SELECT return_reason FROM items WHERE item_id = ?", item_id) == (reason,)
        balance = "SELECT sum(amount) FROM payments WHERE order_id = ?"
        assert self.one(env, balance, order_id) == (paid - price + fee,)
        assert env.return_item(item_id, "faulty") == "The item is returned or cancelled."
        assert self.one(env, balance, order_id) == (paid - price + fee,)
        # What is left is what a cancellation refunds
        assert f" ${(paid - price + fee) / 100:.2f} " in env.cancel_order(order_id, "mistake")

    def test_exchange_item(self, env, db):
        [item_id, order_id, old, price, paid, new, new_price, new_stock] = db.execute(
            """
            SELECT item_id, order_id, old.variant_id, items.price, amount, new.variant_id, new.price, new.stock
            FROM items JOIN variants AS old USING (variant_id) JOIN payments USING (order_id)
            JOIN variants AS new ON new.product_id = old.product_id AND new.variant_id != old.variant_id
            WHERE new.stock = 1
            """
        ).fetchone()
        [foreign] = db.execute(
            "SELECT variant_id FROM variants WHERE stock > 0 AND product_id != "
            "(SELECT product_id FROM variants WHERE variant_id = ?)",
            (old,),
        ).fetchone()
        same_product = "An exchange is for another option of the same product."
        assert env.exchange_item(item_id, foreign) == same_product
        assert env.exchange_item(item_id, old) == NOTHING_TO_ADD  # the same was said before
        word = "charged" if new_price > price else "refunded"
        assert env.exchange_item(item_id, new).startswith(f"{word} ${abs(new_price - price) / 100:.2f} to ")
        assert self.one(env, "SELECT variant_id, price FROM items WHERE item_id = ?", item_id) == (new, new_price)
        assert self.one(env, "SELECT stock FROM variants WHERE variant_id = ?", new) == (new_stock - 1,)
        query = "SELECT sum(amount) FROM payments WHERE order_id = ?"
        assert self.one(env, query, order_id) == (paid + new_price - price,)
        [other] = db.execute(
            """
            SELECT item_id FROM items JOIN variants USING (variant_id) WHERE item_id != ? AND variant_id != ?
            AND product_id = (SELECT product_id FROM variants WHERE variant_id = ?)
            """,
            (item_id, new, new),
        ).fetchone()
        assert env.exchange_item(other, new) == "That option is out of stock."

    def test_reads(self, env, db):
        customer = db.execute("SELECT * FROM customers").fetchone()
        found = f"{customer['customer_id']} {customer['name']}"
        assert env.find_customer(email=customer["email"].upper()) == found
        assert (
            env.find_customer(name=customer["name"], zip_code=customer["zip_code"]) == NOTHING_TO_ADD
        )  # known by now
        assert env.find_customer(name=customer["name"]) == "There is no such record."
        listed = env.list_orders(customer["customer_id"])
        orders = [
            order[0] for order in db.execute("SELECT order_id FROM orders WHERE customer_id = ?", (customer[0],))
        ]
        assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(orders)
        for order_id in orders:
            text = env.get_order(f"#{order_id}")
            assert text.startswith(f"{order_id} of {customer['customer_id']}, ")
            items = db.execute("SELECT item_id FROM items WHERE order_id = ? ORDER BY item_id", (order_id,))
            assert re.findall(r"I\d{4}", text) == [item[0] for item in items]
        for name, options in PRODUCTS.items():
            assert sorted(re.findall(r"V\d+ (\w+),", env.get_product(name))) == sorted(options)

    def test_nothing_is_said_twice(self, env):
        assert env.get_order("W0") == "There is no such record."
        assert env.get_product("cheese") == NOTHING_TO_ADD == env.masked_feedback
        assert env.get_product("tent") != NOTHING_TO_ADD
        assert env.get_product("Tent") == NOTHING_TO_ADD

    def test_a_closed_ticket_stays_closed(self, env, db):
        [order_id] = db.execute("SELECT order_id FROM orders WHERE status = 'processing'").fetchone()
        snapshot = env._shop.snapshot()
        assert env.close_ticket() == NOTHING_TO_ADD
        assert env.done
        assert env.cancel_order(order_id, "mistake") == env.get_order(order_id) == NOTHING_TO_ADD
        assert env._shop.snapshot() == snapshot

    def test_any_thread_may_run_the_tools(self, env, db):
        [order_id] = db.execute("SELECT order_id FROM orders WHERE status = 'processing'").fetchone()
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(env.cancel_order, order_id, "mistake").result().startswith("refunded")
        assert "cancelled" in env.get_order(order_id)


class TestEpisodes:
    def test_reset_makes_an_instance_new(self, rows):
        fresh = Shop().snapshot()
        env = HelpdeskEnv()
        for row in [row for row in rows if row["kind"] in ("cancel", "return", "exchange", "address")][:8]:
            assert play(helpdesk_oracle, row, env=env)[0] == 1.0
            assert env._shop.snapshot() != fresh
            env.reset(**row)
            assert env._shop.snapshot() == fresh
            assert not env.done
            assert env.get_reward() == 0.0

    def test_instances_share_nothing(self, rows):
        row = next(row for row in rows if row["kind"] == "cancel")
        idle, busy = HelpdeskEnv(), HelpdeskEnv()
        idle.reset(**row)
        assert play(helpdesk_oracle, row, env=busy)[0] == 1.0
        assert idle._shop.snapshot() == Shop().snapshot()
        assert idle.get_reward() == 0.0

    def test_any_user_is_heard(self, rows):
        """An async user, with an attribute of its own: what the agent says counts just the same."""

        class AsyncUser:
            def __init__(self, scenario, seed):
                self.usage = Usage(tokens=3)
                self.user = ScriptedUser(scenario, seed)

            async def reply(self, messages):
                return self.user.reply(messages)

        row = next(row for row in rows if row["kind"] == "price")
        _, messages = play(helpdesk_oracle, row)
        env = HelpdeskEnv(make_user=AsyncUser)
        env.reset(**row)
        assert env.user.usage.tokens == 3
        assert asyncio.run(env.user.reply([say("Which product is it?")])).startswith("It is the ")
        assert env.get_reward() == 0.0
        asyncio.run(env.user.reply([messages[-4]]))
        assert env.get_reward() == 1.0

    def test_the_user_can_be_copied(self, rows):
        env = HelpdeskEnv()
        env.reset(**rows[0])
        for twin in (copy.copy(env.user), copy.deepcopy(env.user), pickle.loads(pickle.dumps(env.user))):
            assert twin.scenario == env.user.scenario
        assert not hasattr(env.user, "usage")

    @pytest.mark.parametrize("tool", TOOLS)
    def test_every_tool_has_a_schema(self, tool):
        function = getattr(HelpdeskEnv(), tool)
        schema = get_json_schema(function)["function"]
        assert schema["name"] == tool
        assert schema["description"]
        assert list(schema["parameters"]["properties"]) == list(inspect.signature(function).parameters)
        assert all(value["type"] == "string" for value in schema["parameters"]["properties"].values())

    def test_there_are_nine_tools(self):
        assert len(TOOLS) == 9
        assert set(WRITES) < set(TOOLS)


class TestDataset:
    def goals(self, split):
        rows = [row for seed in range(2) for row in helpdesk_dataset(split, 400, seed)]
        return {json.dumps(row["goal"]) for row in rows}, rows

    def test_splits_are_disjoint_whatever_the_seed(self, db):
        owner = {row["order_id"]: row["customer_id"] for row in db.execute("SELECT * FROM orders")}
        goals, owners = {}, {}
        for split in ("train", "validation", "test"):
            goals[split], rows = self.goals(split)
            owners[split] = {
                owner[row["goal"]["order_id"]] if row["goal"]["order_id"] else row["goal"]["variant_id"]
                for row in rows
            }
        for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
            assert not goals[a] & goals[b]
            assert not owners[a] & owners[b]

    def test_kinds_are_what_they_say(self, db):
        for row in helpdesk_dataset("train", 400):
            goal, kind = Goal(**row["goal"]), row["kind"]
            order = db.execute("SELECT * FROM orders WHERE order_id = ?", (goal.order_id,)).fetchone()
            stock = dict(db.execute("SELECT variant_id, stock FROM variants").fetchall())
            if kind in ("cancel", "address"):
                assert order["status"] == "processing"
            elif kind in ("return", "exchange", "substitute"):
                assert order["delivered_on"] >= "2026-05-31"
            elif kind == "refuse" and goal.wish == "return":
                assert order["delivered_on"] < "2026-05-31"
            elif kind == "refuse":
                assert order["status"] == "shipped"
            elif kind == "question":
                assert order["status"] == "delivered"  # with two dates and an amount to ask for
            if kind == "exchange":
                assert stock[goal.variant_id] > 0
            elif kind == "substitute":
                assert stock[goal.variant_id] == 0
                assert stock[goal.fallback_id] > 0

    def test_prompt_is_the_policy_and_an_underspecified_request(self, rows):
        for row in rows:
            system, user = row["prompt"]
            assert system == {"role": "system", "content": POLICY}
            assert not re.search(r"[\d@]", user["content"])
            assert user["content"] == build_task(Goal(**row["goal"]), row["seed"], Shop()).scenario.request
        assert len(POLICY.split()) < 180

    def test_kinds_hide_behind_the_same_requests(self):
        requests = defaultdict(set)
        for row in helpdesk_dataset("train", 400):
            requests[row["kind"]].add(row["prompt"][-1]["content"])
        assert requests["refuse"] <= requests["cancel"] | requests["address"] | requests["return"]
        assert requests["substitute"] == requests["exchange"]

    def test_seed(self):
        assert helpdesk_dataset("train", 20, 0).to_list() == helpdesk_dataset("train", 20, 0).to_list()
        assert helpdesk_dataset("train", 20, 0).to_list() != helpdesk_dataset("train", 20, 1).to_list()

    def test_unknown_split(self):
        with pytest.raises(ValueError, match=r"`split` is 'dev', choose one of \['train', 'validation', 'test'\]"):
            helpdesk_dataset("dev", 1)

    def test_kinds_can_be_chosen(self):
        drawn = Counter(helpdesk_dataset("train", 400, kinds=("cancel", "refuse", "refuse"))["kind"])
        assert set(drawn) == {"cancel", "refuse"}
        assert drawn["refuse"] > 1.5 * drawn["cancel"]
        for kinds in (("cancels",), ()):
            with pytest.raises(ValueError, match=r"`kinds` is \(.*\), choose some of \['cancel', 'address'"):
                helpdesk_dataset("train", 1, kinds=kinds)
