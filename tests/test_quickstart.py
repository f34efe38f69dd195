# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import inspect
import json
import math
import random
import re

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.chat_template_utils import (
    is_chat_template_prefix_preserving,
    is_chat_template_stop_token_trained,
    supports_tool_calling,
)

from trl_infopo import _progress, cli
from trl_infopo._compat import parse_action
from trl_infopo.environments import BookingEnv, booking_dataset
from trl_infopo.environments.booking import CLOSED, KINDS, NEUTRAL, SLOTS, UNKNOWN_SLOT
from trl_infopo.scripts import quickstart, tiny_agent


GOAL = {"city": "paris", "day": "monday", "size": "two", "time": None, "music": None, "food": None}


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_agent.build_tokenizer()


@pytest.fixture(scope="module")
def demonstrations():
    return tiny_agent.demonstrate(200)


class TestBookingEnv:
    def play(self, row, slots, rng):
        env = BookingEnv()
        assert env.reset(**row) is None
        known = {slot: env.ask(slot).removeprefix("i want ") for slot in slots}
        env.book(**{slot: known.get(slot) or rng.choice(SLOTS[slot]) for slot in KINDS[row["kind"]]})
        return env.get_reward()

    def test_asking_first_always_succeeds(self):
        rng = random.Random(0)
        rows = booking_dataset("test", 200)
        assert all(self.play(row, KINDS[row["kind"]], rng) == 1.0 for row in rows)

    def test_guessing_hardly_ever_succeeds(self):
        rng = random.Random(0)
        rows = booking_dataset("train", 500)
        assert sum(self.play(row, [], rng) for row in rows) / len(rows) < 0.02

    @pytest.mark.parametrize("missing", range(3))
    def test_one_question_too_few_is_a_guess(self, missing):
        rng = random.Random(0)
        rows = booking_dataset("train", 500)
        slots = {kind: [slot for slot in KINDS[kind] if slot != KINDS[kind][missing]] for kind in KINDS}
        successes = [self.play(row, slots[row["kind"]], rng) for row in rows]
        assert 0.05 < sum(successes) / len(rows) < 0.2  # 1 in 8

    def test_answers(self):
        env = BookingEnv()
        env.reset(goal=GOAL)
        assert env.ask("city") == "i want paris"
        assert env.ask("music") == NEUTRAL
        assert env.ask("city") == NEUTRAL  # has been said
        assert env.ask("colour") == UNKNOWN_SLOT

    def test_only_the_exact_booking_counts(self):
        right = {slot: value for slot, value in GOAL.items() if value}
        for booking, reward in [
            (right, 1.0),
            ({**right, "size": "three"}, 0.0),
            ({**right, "music": "jazz"}, 0.0),
            ({"city": "paris", "day": "monday"}, 0.0),
        ]:
            env = BookingEnv()
            env.reset(goal=GOAL)
            assert env.get_reward() == 0.0
            assert env.book(**booking) == NEUTRAL  # no word about the reward
            assert env.get_reward() == reward

    def test_first_booking_closes_the_episode(self):
        env = BookingEnv()
        env.reset(goal=GOAL)
        env.book(city="rome")
        assert env.ask("city") == CLOSED
        assert env.book(city="paris", day="monday", size="two") == CLOSED
        assert env.get_reward() == 0.0

    def test_reset_makes_an_instance_new(self):
        env = BookingEnv()
        for _ in range(2):
            env.reset(goal=GOAL)
            assert env.get_reward() == 0.0
            assert env.ask("city") == "i want paris"
            env.book(city="paris", day="monday", size="two")
            assert env.get_reward() == 1.0

    def test_book_takes_every_slot(self):
        assert list(inspect.signature(BookingEnv.book).parameters) == ["self", *SLOTS]


class TestBookingDataset:
    def goals(self, split, seed):
        return {json.dumps([row["kind"], row["goal"]]) for row in booking_dataset(split, 2000, seed)}

    def test_splits_are_disjoint_whatever_the_seed(self):
        train = self.goals("train", 0) | self.goals("train", 1)
        test = self.goals("test", 0) | self.goals("test", 1)
        assert not train & test
        assert len(test) / len(train | test) == pytest.approx(0.2, abs=0.05)

    def test_prompt_does_not_leak_the_goal(self):
        for row in booking_dataset("train", 100):
            assert row["prompt"] == [{"role": "user", "content": f"i need a {row['kind']} please"}]
            assert [slot for slot in SLOTS if row["goal"][slot]] == [
                slot for slot in SLOTS if slot in KINDS[row["kind"]]
            ]

    def test_seed(self):
        assert booking_dataset("train", 20, 0).to_list() == booking_dataset("train", 20, 0).to_list()
        assert booking_dataset("train", 20, 0).to_list() != booking_dataset("train", 20, 1).to_list()


class TestTokenizer:
    def test_chat_template_suits_trl(self, tokenizer):
        assert supports_tool_calling(tokenizer)
        assert is_chat_template_prefix_preserving(tokenizer)
        assert is_chat_template_stop_token_trained(tokenizer)

    def test_round_trip(self, tokenizer, demonstrations):
        for row in demonstrations:
            text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
            ids = tokenizer.encode(text)
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text

    def test_everything_the_user_says_is_known(self, tokenizer):
        for text in (NEUTRAL, UNKNOWN_SLOT, CLOSED, "i want paris"):
            assert tokenizer.unk_token_id not in tokenizer.encode(text)

    def test_conversations_preserve_prefixes(self, tokenizer, demonstrations):
        messages = demonstrations[0]["messages"]
        whole = tokenizer.apply_chat_template(messages)["input_ids"]
        for end in range(1, len(messages)):
            prefix = tokenizer.apply_chat_template(messages[:end])["input_ids"]
            assert whole[: len(prefix)] == prefix

    def test_trl_parses_the_tool_calls(self, tokenizer, demonstrations):
        for row in demonstrations.select(range(20)):
            for i, message in enumerate(row["messages"]):
                if message["role"] != "assistant":
                    continue
                prefix = tokenizer.apply_chat_template(row["messages"][:i], add_generation_prompt=True)["input_ids"]
                ids = tokenizer.apply_chat_template(row["messages"][: i + 1])["input_ids"][len(prefix) :]
                parsed = parse_action(tokenizer, ids, prefix, [BookingEnv().ask, BookingEnv().book])
                expected = [
                    {
                        "type": "function",
                        "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])},
                    }
                    for call in message["tool_calls"] or []
                ]
                assert parsed["content"] == message["content"]
                assert parsed.get("tool_calls", []) == expected


class TestDemonstrations:
    def test_rarely_succeed(self, demonstrations):
        rows = booking_dataset("train", len(demonstrations))
        successes = 0
        for demonstration, row in zip(demonstrations, rows, strict=True):
            booking = json.loads(demonstration["messages"][-3]["tool_calls"][0]["function"]["arguments"])
            successes += booking == {slot: value for slot, value in row["goal"].items() if value}
        assert successes / len(rows) < 0.15

    def test_never_contradict_an_answer(self, demonstrations):
        for demonstration in demonstrations:
            answers = [message["content"] for message in demonstration["messages"] if message["role"] == "tool"]
            booking = json.loads(demonstration["messages"][-3]["tool_calls"][0]["function"]["arguments"])
            for answer in answers:
                if answer.startswith("i want ") and not answer.endswith(tuple(booking.values())):
                    raise AssertionError(f"{answer} is not in {booking}")


def test_score_conversation(tokenizer, demonstrations):
    model = tiny_agent.build_policy(tokenizer).eval()
    for row in demonstrations.select(range(5)):
        answers = [message["content"] for message in row["messages"] if message["role"] == "tool"]
        gains = tiny_agent.score_conversation(model, tokenizer, row["messages"])
        assert len(gains) == len(answers) + 1
        assert math.isnan(gains[-1])
        for answer, gain in zip(answers, gains[:-1], strict=True):
            assert (gain == 0) == (answer == NEUTRAL)


class TestCLI:
    def test_help_names_the_command(self, capsys):
        assert cli.main([]) == 0
        assert "quickstart" in capsys.readouterr().out

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as error:
            cli.main(["--version"])
        assert error.value.code == 0
        assert capsys.readouterr().out.startswith("trl-infopo ")

    @pytest.mark.parametrize(
        ("command", "message"),
        [
            (["quickstrat"], "there is no command 'quickstrat', choose one of .* Did you mean 'quickstart'?"),
            (["--verison"], "there is no option '--verison', choose one of .* Did you mean '--version'?"),
            (["--seed", "eval"], "there is no option '--seed'"),
            ([""], "there is no command ''"),
        ],
    )
    def test_unknown_command(self, command, message, capsys):
        with pytest.raises(SystemExit) as error:
            cli.main(command)
        assert error.value.code == 2
        assert re.search(message, capsys.readouterr().err.splitlines()[-1])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--steps", "0"], "`steps` is 0, set it to at least 1"),
            (["--steps", "many"], "invalid int value: 'many'"),
            (["--warm_start_steps", "-1"], "`warm_start_steps` is -1"),
            (["--num_held_out", "1000000000"], "`num_held_out` is 1000000000"),
            (["--seed", "-1"], "`seed` is -1"),
            (["--seed", str(2**32)], "`seed` is 4294967296"),
            (["--info_gain_coef", "nan"], "`info_gain_coef` is nan"),
            (["--info_gain_coef", "inf"], "`info_gain_coef` is inf"),
            (["--info_gain_coef", "-0.5"], "`info_gain_coef` is -0.5"),
            (["--output_dir", ""], "`output_dir` is ''"),
            (["--output_dir", __file__], "is not a directory"),
            (["--step", "3"], "there is no option --step. Did you mean '--steps'?"),
            (["--config", "no/such.yaml"], "--config cannot be read"),
        ],
    )
    def test_wrong_options(self, options, message, capsys):
        with pytest.raises(SystemExit) as error:
            cli.main(["quickstart", *options])
        assert error.value.code == 2
        usage, line = capsys.readouterr().err.splitlines()
        assert message in line

    @pytest.mark.parametrize(
        ("name", "value"),
        [("steps", None), ("steps", 1.5), ("steps", True), ("compare", "false"), ("seed", "0"), ("output_dir", None)],
    )
    def test_wrong_types_in_a_file(self, name, value, tmp_path, capsys):
        path = tmp_path / "quickstart.yaml"
        path.write_text(json.dumps({name: [value]}))  # in a list, what argparse would convert is not
        for config in (path, None):
            with pytest.raises((SystemExit, ValueError)):
                quickstart.main(["--config", str(path)]) if config else quickstart.QuickstartArguments(**{name: value})
        assert f"`{name}` is [{value!r}]" in capsys.readouterr().err

    def test_options_reach_the_command(self, monkeypatch):
        received = []
        monkeypatch.setattr(quickstart, "main", received.append)
        assert cli.main(["quickstart", "--seed", "1"]) == 0
        assert received == [["--seed", "1"]]


def success(output, name):
    """The number under a name in the table of results."""
    lines = output.splitlines()
    [header] = [i for i, line in enumerate(lines) if "warm start" in line and "InfoPO" in line]
    names, values = (
        [cell.strip() for cell in line.strip("┃│ ").replace("┃", "│").split("│")]
        for line in (lines[header], lines[header + 2])
    )
    return float(dict(zip(names, values, strict=True))[name])


def test_quickstart_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_progress, "PULSE", 0)
    options = ["--warm_start_steps", "20", "--steps", "2", "--num_held_out", "16", "--compare"]
    quickstart.main([*options, "--output_dir", str(tmp_path)])
    output = capsys.readouterr().out
    assert all(0 <= success(output, name) <= 1 for name in ("warm start", "InfoPO", "GRPO"))
    assert "information gain" in output
    # In a pipe, a line before the first step and one for each, not one bar at the end
    assert [len(re.findall(rf"^{name} +\d+/", output, re.M)) for name in ("warm start", "InfoPO")] == [21, 3]
    assert output.startswith(f"training a policy in {tmp_path}")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["success"]["GRPO"] == pytest.approx(success(output, "GRPO"), abs=1e-3)
    AutoModelForCausalLM.from_pretrained(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_quickstart_learns(tmp_path, capsys, seed, recwarn):
    quickstart.main(["--output_dir", str(tmp_path), "--seed", str(seed)])
    assert not [warning for warning in recwarn if str(warning.message).startswith("Step ")]  # of a risk
    output = capsys.readouterr().out
    assert success(output, "warm start") < 0.15
    assert success(output, "InfoPO") > 0.6

    # What was saved is what was trained
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    rows = booking_dataset("test", 50, seed=1)
    assert sum(tiny_agent.play(model, tokenizer, row)[1] for row in rows) / len(rows) > 0.6
