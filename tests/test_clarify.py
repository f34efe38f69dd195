# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import json
import random
import re
from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from natural_questions import CLARIFY, CLARIFY_USELESS, read_questions
from transformers.utils import get_json_schema

from trl_infopo.environments.clarify import (
    FORMAT_ERROR,
    PRIORITY,
    ClarifyEnv,
    _make_scenario,
    clarify_dataset,
    clarify_oracle,
)
from trl_infopo.environments.clarify_domains import DOMAINS
from trl_infopo.users import NOTHING_TO_ADD, PERSONAS, ScriptedUser
from trl_infopo.users.scripted import CHATTER, FORGOTTEN, WHY, asks_for


GOAL = {"destination": ["Rome", 3], "month": ["June", 1], "budget": ["800", 2], "company": ["friends", 2]}
PROMPT = [{"role": "system", "content": "You work."}, {"role": "user", "content": "I need a trip."}]
ROW = {"prompt": PROMPT, "domain": "travel", "goal": json.dumps(GOAL), "seed": 0}
RIGHT = "destination=Rome; month=June; budget=800; company=friends"


@pytest.fixture(scope="module")
def rows():
    return list(clarify_dataset("test", 200))


def started(**options):
    env = ClarifyEnv(**options)
    assert env.reset(**ROW) is None
    return env


def play(policy, row, env=None, max_turns=40):
    """Play an episode. Returns its reward, and how many questions the policy asked."""
    env = env or ClarifyEnv()
    env.reset(**row)
    messages = list(row["prompt"])
    questions = 0
    for _ in range(max_turns):
        message = policy(messages, [env.propose])
        messages.append(message)
        for call in message.get("tool_calls", []):
            content = env.propose(**call["function"]["arguments"])
            messages.append({"role": "tool", "name": call["function"]["name"], "content": content})
        if not message.get("tool_calls"):
            questions += 1
            said = [m for m in messages if m["role"] in ("user", "assistant") and not m.get("tool_calls")]
            messages.append({"role": "user", "content": env.user.reply(said)})
        if env.done or messages[-1]["content"] is None:
            break
    return env.get_reward(), questions


def mean_reward(policy, rows, **options):
    env = ClarifyEnv(**options)
    return sum(play(policy, row, env)[0] for row in rows) / len(rows)


def topics_of(messages):
    return {name: values.split(", ") for name, values in re.findall(r"^- (\w+): (.+)$", messages[0]["content"], re.M)}


def proposal(choices):
    arguments = {"choices": "; ".join(f"{name}={value}" for name, value in choices.items())}
    call = {"type": "function", "function": {"name": "propose", "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def guesser(rng, num_topics):
    def policy(messages, tools):
        topics = topics_of(messages)
        return proposal({name: rng.choice(topics[name]) for name in rng.sample(list(topics), num_topics)})

    return policy


def random_policy(rng):
    """Asks about random topics and notes nothing, proposes at a random time what was said last and a guess."""

    def policy(messages, tools):
        topics = topics_of(messages)
        if rng.random() < 0.7:
            return {"role": "assistant", "content": f"What {rng.choice(list(topics))}?"}
        said = {name: value for name in topics for value in topics[name] if value in messages[-1]["content"]}
        guess = rng.choice(list(topics))
        return proposal({guess: rng.choice(topics[guess]), **said})

    return policy


class TestPolicies:
    @pytest.mark.quick(2)
    @pytest.mark.parametrize("questions_per_message", [1, 7, 2, 3])
    def test_oracle_is_always_right(self, rows, questions_per_message):
        policy = partial(clarify_oracle, questions_per_message=questions_per_message)
        assert all(play(policy, row)[0] == 1.0 for row in rows)

    @pytest.mark.quick(2)
    @pytest.mark.parametrize("persona", ["forgetful", "evasive", "terse", "chatty"])
    def test_oracle_copes_with_every_manner(self, rows, persona):
        make_user = partial(ScriptedUser, persona=persona)
        for questions_per_message in (1, 3):
            policy = partial(clarify_oracle, questions_per_message=questions_per_message)
            assert mean_reward(policy, rows[:100], make_user=make_user) == 1.0

    @pytest.mark.parametrize("persona", ["mistaken", "switching"])
    def test_who_proposes_at_once_misses_late_corrections(self, rows, persona):
        policy = partial(clarify_oracle, questions_per_message=1)
        reward = mean_reward(policy, rows[:100], make_user=partial(ScriptedUser, persona=persona))
        assert 0.85 < reward < 1

    def test_oracle_is_quick(self, rows):
        asked = [play(partial(clarify_oracle, questions_per_message=1), row)[1] for row in rows]
        assert set(asked) == {7}
        assert max(play(clarify_oracle, row)[1] for row in rows) <= 5

    @pytest.mark.parametrize("num_topics", range(1, 8))
    def test_never_asking_fails(self, rows, num_topics):
        assert mean_reward(guesser(random.Random(0), num_topics), rows) <= 0.2

    def test_the_most_common_values_fail(self, rows):
        counts = {name: {topic: Counter() for topic in domain.topics} for name, domain in DOMAINS.items()}
        for row in clarify_dataset("train", 1000):
            for topic, (value, _) in json.loads(row["goal"]).items():
                counts[row["domain"]][topic][value] += 1

        for num_topics in (3, 4, 5, 7):  # those that matter most often, too

            def policy(messages, tools, num_topics=num_topics):
                topics = topics_of(messages)
                [domain] = [name for name in DOMAINS if list(DOMAINS[name].topics) == list(topics)]
                common = sorted(counts[domain].items(), key=lambda item: -item[1].total())[:num_topics]
                return proposal({topic: values.most_common(1)[0][0] for topic, values in common})

            assert mean_reward(policy, rows) <= 0.2

    def test_random_is_below_the_oracle(self, rows):
        assert mean_reward(random_policy(random.Random(0)), rows) < 0.4

    def test_half_the_questions_are_half_the_reward(self, rows):
        def policy(messages, tools):
            if sum(message["role"] == "assistant" for message in messages) < 3:
                return clarify_oracle(messages, tools, questions_per_message=1)
            topics, replies = topics_of(messages), " ".join(m["content"] for m in messages[2:] if m["role"] == "user")
            known = {name: v for name in topics for v in topics[name] if re.search(rf"\b{v}\b", replies)}
            return proposal(known)

        assert 0.3 < mean_reward(policy, rows) < 0.6


class TestReward:
    @pytest.mark.parametrize(
        ("choices", "reward"),
        [
            (RIGHT, 1.0),
            ("destination=Rome; month=June; company=friends", 6 / 8),
            ("destination=Rome", 3 / 8),
            ("destination=Oslo; month=June; budget=800; company=friends", 5 / 8),  # wrong is as good as none
            (f"{RIGHT}; transport=train", 8 / 9),
            (f"{RIGHT}; transport=train; lodging=hotel; activity=hiking", 8 / 11),
            ("month=June; transport=train", 1 / 9),
            ("transport=train", 0.0),
        ],
    )
    def test_weighs_what_matters(self, choices, reward):
        env = started()
        assert env.get_reward() == 0.0
        assert env.propose(choices) == NOTHING_TO_ADD  # no word about the reward
        assert env.get_reward() == pytest.approx(reward)

    @given(st.dictionaries(st.sampled_from(list(DOMAINS["travel"].topics)), st.integers(0, 4), min_size=1))
    def test_is_a_share_and_1_for_the_right_proposal_alone(self, indices):
        choices = {name: DOMAINS["travel"].topics[name].values[i] for name, i in indices.items()}
        env = started()
        env.propose("; ".join(f"{name}={value}" for name, value in choices.items()))
        assert 0 <= env.get_reward() <= 1
        assert (env.get_reward() == 1) == (choices == {name: value for name, (value, _) in GOAL.items()})

    def test_first_proposal_counts(self):
        env = started()
        assert not env.done
        env.propose("destination=Rome")
        assert env.done
        assert env.propose(RIGHT) == NOTHING_TO_ADD
        assert env.get_reward() == 3 / 8

    def test_reset_makes_an_instance_new(self):
        env = ClarifyEnv()
        for _ in range(2):
            env.reset(**ROW)
            assert not env.done
            assert env.get_reward() == 0.0
            assert env.user.reply([{"role": "assistant", "content": "Where to?"}]) == "I want to go to Rome."
            assert env.propose("Rome") == FORMAT_ERROR
            env.propose(RIGHT)
            assert env.get_reward() == 1.0


class TestProposal:
    @pytest.mark.parametrize(
        "choices",
        [
            RIGHT.upper(),
            RIGHT.replace("=", " = ").replace("; ", " ;"),
            RIGHT.replace("; ", "\n"),
            RIGHT.replace(";", ",") + ",",
            RIGHT.replace("=", ": "),
            "; ".join(reversed(RIGHT.split("; "))),
        ],
    )
    def test_case_spaces_and_separators_do_not_matter(self, choices):
        env = started()
        env.propose(choices)
        assert env.get_reward() == 1.0

    @pytest.mark.parametrize(
        "choices",
        [
            "",
            " ; ",
            "Rome",
            "destination=Atlantis",
            "destination=Rome; colour=red",
            "destination=Rome; destination=Oslo",
            "destination=Rome; destination=Rome",
            "month=Rome",
            "destination==Rome",
            {"destination": "Rome"},
            None,
        ],
    )
    def test_what_is_no_proposal_does_not_count(self, choices):
        env = started()
        assert env.propose(choices) == FORMAT_ERROR
        assert not env.done
        assert env.propose(choices) == NOTHING_TO_ADD  # nothing new in an error that was told
        env.propose(RIGHT)
        assert env.get_reward() == 1.0

    def test_the_error_does_not_depend_on_the_goal(self):
        for value in ("Rome", "Oslo"):
            assert started().propose(f"destination={value}; x") == FORMAT_ERROR

    @pytest.mark.parametrize("name", list(DOMAINS))
    def test_every_value_can_be_proposed(self, name):
        for topic_name, topic in DOMAINS[name].topics.items():
            for value in topic.values:
                env = ClarifyEnv()
                env.reset(PROMPT, name, json.dumps({topic_name: [value, 2]}), 0)
                env.propose(f"{topic_name}={value}")
                assert env.get_reward() == 1.0

    def test_transformers_renders_the_tool(self):
        schema = get_json_schema(ClarifyEnv().propose)["function"]
        assert schema["name"] == "propose"
        assert list(schema["parameters"]["properties"]) == ["choices"]
        assert schema["parameters"]["properties"]["choices"]["type"] == "string"

    def test_propose_is_the_only_tool(self):
        public = {name for name in vars(ClarifyEnv) if callable(vars(ClarifyEnv)[name]) and not name.startswith("_")}
        assert public == {"reset", "propose", "get_reward"}


class TestDomains:
    def test_enough(self):
        assert len(DOMAINS) >= 6
        assert all(len(domain.topics) == 7 for domain in DOMAINS.values())
        assert all(len(topic.values) == 5 for domain in DOMAINS.values() for topic in domain.topics.values())

    @pytest.mark.parametrize("name", list(DOMAINS))
    def test_a_value_says_its_topic(self, name):
        topics = DOMAINS[name].topics
        values = [value.casefold() for topic in topics.values() for value in topic.values]
        assert len(set(values)) == len(values)
        # Whatever else is said names no value
        others = [WHY, FORGOTTEN, NOTHING_TO_ADD, "I was wrong:", "I changed my mind:", *sum(CHATTER, ())]
        others += [topic.sentence.format(value="") for topic in topics.values()]
        spoken = set(re.findall(r"[\w-]+", " ".join(others).casefold()))
        assert not spoken & set(values)

    @pytest.mark.parametrize("name", list(DOMAINS))
    def test_a_topic_has_its_own_name(self, name):
        """Asking for a topic by its name gets that topic only."""
        topics = DOMAINS[name].topics
        for asked in topics:
            for other in topics:
                env = ClarifyEnv()
                env.reset(PROMPT, name, json.dumps({other: [topics[other].values[0], 1]}), 0)
                answer = env.user.reply([{"role": "assistant", "content": f"What about the {asked}?"}])
                told = topics[other].sentence.format(value=topics[other].values[0])
                assert answer == (told if asked == other else NOTHING_TO_ADD)

    @pytest.mark.parametrize("name", list(DOMAINS))
    def test_every_keyword_asks(self, name):
        for topic_name, topic in DOMAINS[name].topics.items():
            for keyword in topic.keywords:
                if keyword.startswith("-"):
                    continue
                env = ClarifyEnv()
                env.reset(PROMPT, name, json.dumps({topic_name: [topic.values[0], 1]}), 0)
                answer = env.user.reply([{"role": "assistant", "content": f"And {keyword.replace('...', 'we')}?"}])
                assert answer == topic.sentence.format(value=topic.values[0])

    def test_asked_for_priorities_the_user_tells_what_weighs_most(self):
        for phrase in PRIORITY:
            answer = started().user.reply([{"role": "assistant", "content": f"And {phrase}?"}])
            assert answer == "I want to go to Rome."


@pytest.mark.parametrize(
    ("domain", "topic", "question", "is_asked"),
    [
        ("laptop", "system", "Windows or Linux?", True),
        ("table", "cuisine", "Do you want Italian or Indian?", True),
        ("flat", "extra", "Would you like a balcony or garden?", True),
        ("travel", "transport", "How would you like to travel?", True),
        ("table", "day", "Which days work for you?", True),
        ("travel", "month", "Which months suit you?", True),
        ("table", "time", "At which hours are you free?", True),
        ("laptop", "price", "How much do you want to pay?", True),
        ("laptop", "price", "How much memory?", False),
        ("laptop", "purpose", "Does that work for you? Which screen?", False),
        ("appointment", "specialist", "No problem! What language do you speak?", False),
    ],
)
def test_users_understand_what_is_asked_and_nothing_else(domain, topic, question, is_asked):
    goal = {name: [entry.values[0], 1] for name, entry in DOMAINS[domain].topics.items()}
    facts = {fact.topic: fact for fact in _make_scenario("", DOMAINS[domain], goal).facts}
    assert asks_for(question, facts[topic]) is is_asked


def told(domain, question):
    """The topics that a question reveals of a user who has a wish about all of them."""
    goal = {name: [topic.values[0], 1] for name, topic in DOMAINS[domain].topics.items()}
    return [fact.topic for fact in _make_scenario("", DOMAINS[domain], goal).facts if asks_for(question, fact)]


class TestQuestions:
    def test_a_natural_question_gets_its_answer_alone(self):
        questions = read_questions(CLARIFY)
        wrong = [(name, topic, question) for (name, topic), question in questions if told(name, question) != [topic]]
        assert not wrong

    def test_there_are_at_least_three_questions_for_each_topic(self):
        counts = Counter((domain, topic) for (domain, topic), _ in read_questions(CLARIFY))
        assert set(counts) == {(name, topic) for name, domain in DOMAINS.items() for topic in domain.topics}
        assert min(counts.values()) >= 3

    def test_what_asks_for_nothing_reveals_nothing(self):
        for domain in DOMAINS:
            assert not [question for question in CLARIFY_USELESS.strip().splitlines() if told(domain, question)]


class TestUser:
    @pytest.mark.parametrize("persona", list(PERSONAS))
    def test_can_be_exchanged(self, persona):
        env = started(make_user=partial(ScriptedUser, persona=persona))
        assert env.user.persona == persona

    def test_gets_the_rows_seed(self):
        seeds = []

        def make_user(scenario, seed):
            seeds.append(seed)
            return ScriptedUser(scenario, seed)

        env = ClarifyEnv(make_user)
        for seed in (3, 4):
            env.reset(**{**ROW, "seed": seed})
        assert seeds == [3, 4]

    def test_profile_tells_a_language_model_everything(self, rows):
        for row in rows[:50]:
            env = ClarifyEnv()
            env.reset(**row)
            scenario, goal = env.user.scenario, json.loads(row["goal"])
            assert scenario.request == row["prompt"][-1]["content"]
            assert scenario.request in scenario.profile
            wishes = dict(re.findall(r"^- (\w+): (.+) \(", scenario.profile, re.M))
            assert wishes == {topic: value for topic, (value, _) in goal.items()}
            assert scenario.profile.count("very important") == sum(weight == 3 for _, weight in goal.values())
            irrelevant = scenario.profile.rpartition("(")[2].rstrip(").").split(", ")
            assert set(irrelevant) == DOMAINS[row["domain"]].topics.keys() - goal.keys()
            assert NOTHING_TO_ADD in scenario.rules

    def test_placeholder_is_what_says_nothing_new(self):
        env = started()
        assert env.masked_feedback == env.user.reply([{"role": "assistant", "content": "Hello!"}]) == NOTHING_TO_ADD


class TestDataset:
    def goals(self, split, seed):
        """What users want, whatever its importance."""
        return {
            json.dumps([row["domain"], {topic: value for topic, (value, _) in json.loads(row["goal"]).items()}])
            for row in clarify_dataset(split, 600, seed)
        }

    def test_splits_are_disjoint_whatever_the_seed(self):
        train, validation, test = (
            self.goals(split, 0) | self.goals(split, 1) for split in ("train", "validation", "test")
        )
        assert not train & test
        assert not train & validation
        assert not validation & test

    def test_seed(self):
        assert clarify_dataset("train", 20, 0).to_list() == clarify_dataset("train", 20, 0).to_list()
        assert clarify_dataset("train", 20, 0).to_list() != clarify_dataset("train", 20, 1).to_list()

    def test_variety(self, rows):
        assert {row["domain"] for row in rows} == set(DOMAINS)
        assert len({row["prompt"][-1]["content"] for row in rows}) > 50
        goals = [json.loads(row["goal"]) for row in rows]
        assert {len(goal) for goal in goals} == {4, 5}
        assert {weight for goal in goals for _, weight in goal.values()} == {1, 2, 3}

    def test_prompt_lists_the_topics_and_leaks_no_wish(self, rows):
        for row in rows[:50]:
            domain = DOMAINS[row["domain"]]
            assert topics_of(row["prompt"]) == {name: list(topic.values) for name, topic in domain.topics.items()}
            assert row["prompt"][0] in [other["prompt"][0] for other in rows if other["goal"] != row["goal"]]
            request = set(re.findall(r"[\w-]+", row["prompt"][-1]["content"].casefold()))
            assert not request & {value.casefold() for topic in domain.topics.values() for value in topic.values}

    def test_unknown_split(self):
        with pytest.raises(ValueError, match=r"`split` is 'dev', choose one of \['train', 'validation', 'test'\]"):
            clarify_dataset("dev", 1)


def test_domains_can_be_chosen():
    assert set(clarify_dataset("train", 100, domains=("gift", "flat"))["domain"]) == {"gift", "flat"}
    with pytest.raises(ValueError, match=r"`domains` is \('gifts',\), choose some of \['travel'"):
        clarify_dataset("train", 1, domains=("gifts",))
