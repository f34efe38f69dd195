# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import asyncio
import inspect
import json
import random
import re
import subprocess
import sys
import threading
from collections import defaultdict, deque
from functools import cache, partial
from itertools import permutations
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils import get_json_schema


gymnasium = pytest.importorskip("gymnasium")
textarena = pytest.importorskip("textarena")

from trl_infopo.environments.explore import (  # noqa: E402
    GAME_OVER,
    NOTHING_HAPPENS,
    FrozenLakeEnv,
    GymnasiumEnv,
    SokobanEnv,
    TextArenaEnv,
    frozen_lake_dataset,
    frozen_lake_oracle,
    mastermind_oracle,
    sokoban_dataset,
    sokoban_oracle,
    text_game_dataset,
)
from trl_infopo.environments.explore.sokoban import PROMPT, solve  # noqa: E402
from trl_infopo.rollout import Episode, StopReason, converse  # noqa: E402


LAKE = ["SFH", "HFF", "FFG"]
DIRECTIONS = ("left", "down", "right", "up")


def call(direction):
    function = {"name": "move", "arguments": {"direction": direction}}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def say(text):
    return {"role": "assistant", "content": text}


def age(messages):
    """Number of actions so far."""
    return sum(message["role"] == "assistant" for message in messages)


def code(digits):
    return f"[{' '.join(map(str, digits))}]"


class Family:
    def __init__(self, make_env, dataset, oracle, plan, act_at_random):
        self.make_env, self.oracle = make_env, oracle
        self.draw = dataset
        self.never_looks = lambda messages, tools: plan[age(messages) % len(plan)]
        rng = random.Random(0)
        self.acts_at_random = lambda messages, tools: act_at_random(rng)


CODES = list(permutations(range(1, 7), 4))
FAMILIES = {
    "frozen_lake": Family(
        FrozenLakeEnv,
        frozen_lake_dataset,
        frozen_lake_oracle,
        [call(direction) for direction in ("down", "right") * 4],
        lambda rng: call(rng.choice(DIRECTIONS)),
    ),
    "sokoban": Family(
        SokobanEnv,
        sokoban_dataset,
        sokoban_oracle,
        [call(direction) for direction in ("right", "down", "left", "up", "up", "left", "down")],
        lambda rng: call(rng.choice(DIRECTIONS)),
    ),
    "text_game": Family(
        TextArenaEnv,
        text_game_dataset,
        mastermind_oracle,
        [say(code(digits)) for digits in CODES],
        lambda rng: say(code(rng.choice(CODES))),
    ),
}


@pytest.fixture(scope="module")
def play():
    """Plays rows with a policy through the rollout's own loop, and returns the episodes."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def play_rows(make_env, rows, policy):
        episodes = []
        for row in rows:
            env = make_env()
            *before, last = row["prompt"]
            prompt = [*before, {**last, "content": last["content"] + env.reset(**row)}]
            tools = {"move": env.move} if hasattr(env, "move") else {}
            episodes.append(Episode(prompt, env, tools))

        def act(playing):
            for episode in playing:
                messages = [*episode.prompt, *episode.completion, *episode.feedback]
                episode.act(policy(messages, list(episode.tools.values())))

        act(episodes)
        converse(episodes, act, loop, max_turns=50)
        return episodes

    yield play_rows
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@cache
def held_out(name):
    return list(FAMILIES[name].draw("test", 15 if name == "sokoban" else 100))  # its levels take long to make


def rewards(episodes):
    return [episode.environment.get_reward() for episode in episodes]


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", FAMILIES)
class TestPolicies:
    def test_the_oracle_succeeds_by_reading_alone(self, name, play):
        episodes = play(FAMILIES[name].make_env, held_out(name), FAMILIES[name].oracle)
        assert mean(rewards(episodes)) >= 0.95
        assert {episode.stop_reason for episode in episodes} == {StopReason.ENVIRONMENT_DONE}

    def test_a_plan_that_does_not_look_at_the_game_fails(self, name, play):
        assert mean(rewards(play(FAMILIES[name].make_env, held_out(name), FAMILIES[name].never_looks))) <= 0.2

    def test_chance_fails(self, name, play):
        assert mean(rewards(play(FAMILIES[name].make_env, held_out(name), FAMILIES[name].acts_at_random))) <= 0.2

    def test_won_or_lost_reads_the_same(self, name, play):
        episodes = play(FAMILIES[name].make_env, held_out(name)[:30], FAMILIES[name].acts_at_random)
        episodes += play(FAMILIES[name].make_env, held_out(name)[:5], FAMILIES[name].oracle)
        assert {0.0, 1.0} == set(rewards(episodes))
        assert {episode.feedback[0]["content"] for episode in episodes} == {GAME_OVER}

    def test_an_instance_can_be_used_again(self, name, play):
        env = FAMILIES[name].make_env()
        for row in held_out(name)[:5]:
            [episode] = play(lambda: env, [row], FAMILIES[name].oracle)
            assert rewards([episode]) == [1.0]
            first = env.reset(**row)
            assert (env.done, env.get_reward()) == (False, 0.0)
            assert episode.prompt[-1]["content"].endswith(first)


class TestFeedback:
    """Whether the prompt, which holds the first observation, is enough, or what comes back is needed."""

    def test_no_plan_from_the_first_tiles_crosses_most_lakes(self):
        """Even the best shortest way in hindsight, one for each first observation, leads into a hole."""
        lakes = defaultdict(list)
        for row in frozen_lake_dataset("test", 600):
            lakes[FrozenLakeEnv().reset(**row)].append(row["lake"])
        assert len(lakes) == 3  # a hole below, to the right, or neither
        plans = set(permutations("DDDDRRRR"))
        best = [max(sum(arrives(lake, plan) for lake in group) for plan in plans) for group in lakes.values()]
        assert sum(best) / 600 <= 0.25

    def test_no_list_of_guesses_finds_most_codes(self):
        """Different guesses find at most as many codes as there are guesses, whatever their order."""
        instructions = TextArenaEnv().reset(seed=0)
        num_turns = int(re.search(r"You have (\d+) turns", instructions)[1])
        assert num_turns / len(CODES) <= 0.1

    @pytest.mark.thorough
    def test_sokoban_is_the_control_that_needs_none(self, play):
        def plans_ahead(messages, tools):
            return call(solve(messages[0]["content"])[age(messages)])

        assert mean(rewards(play(SokobanEnv, held_out("sokoban"), plans_ahead))) == 1.0


def arrives(lake, plan):
    row = column = 0
    for step in plan:
        row, column = row + (step == "D"), column + (step == "R")
        if lake[row][column] == "H":
            return False
    return True


def lake_level(row):
    return str(row["lake"])


def sokoban_level(row):
    return SokobanEnv().reset(row["seed"], row["num_boxes"])


def test_a_move_that_a_game_cannot_convert_has_no_effect():
    env = TextArenaEnv("GuessTheNumber-v0")
    env.reset(0)
    assert env.user.play(f"[{'1' * 5000}]") == NOTHING_HAPPENS


def number_level(row):
    env = TextArenaEnv("GuessTheNumber-v0", max_number=1000)
    env.reset(row["seed"])
    return json.loads(env.user.level())["game_number"]


def mastermind_level(row):
    env = TextArenaEnv()
    env.reset(row["seed"])
    return str(json.loads(env.user.level())["secret_code"])


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("draw", "level"),
    [
        (frozen_lake_dataset, lake_level),
        (partial(sokoban_dataset, num_boxes=1), sokoban_level),
        pytest.param(sokoban_dataset, sokoban_level, marks=pytest.mark.slow),
        (partial(text_game_dataset, game_id="GuessTheNumber-v0", max_number=1000), number_level),
        (text_game_dataset, mastermind_level),
    ],
)
def test_splits_share_no_level_whatever_the_seed(draw, level):
    splits = ("train", "validation", "test")
    train, validation, test = ({level(row) for seed in (0, 1) for row in draw(split, 20, seed)} for split in splits)
    assert min(len(train), len(validation), len(test)) > 20
    assert not train & validation
    assert not train & test
    assert not validation & test


@pytest.mark.parametrize("name", FAMILIES)
class TestDatasets:
    def test_seed(self, name):
        draw = FAMILIES[name].draw
        assert draw("train", 4, 0).to_list() == draw("train", 4, 0).to_list()
        assert draw("train", 4, 0).to_list() != draw("train", 4, 1).to_list()

    def test_unknown_split(self, name):
        with pytest.raises(ValueError, match="'dev'.*'train', 'validation', 'test'"):
            FAMILIES[name].draw("dev", 1)


def public_methods(environment_class):
    members = inspect.getmembers(environment_class, inspect.isfunction)
    return {name for name, _ in members if not name.startswith("_")} - {"reset", "get_reward"}


@pytest.mark.parametrize(
    ("make_env", "tools"), [(FrozenLakeEnv, {"move"}), (SokobanEnv, {"move"}), (TextArenaEnv, set())]
)
def test_tools(make_env, tools):
    assert public_methods(make_env) == tools
    for tool in tools:
        schema = get_json_schema(getattr(make_env(), tool))
        assert schema["function"]["parameters"]["required"] == ["direction"]


class TestFrozenLake:
    @settings(max_examples=50, deadline=None)
    @given(
        lake_seed=st.integers(0, 10**6),
        seed=st.integers(0, 100),
        is_slippery=st.booleans(),
        moves=st.lists(st.sampled_from(DIRECTIONS), max_size=20),
    )
    def test_follows_gymnasium(self, lake_seed, seed, is_slippery, moves):
        lake = gymnasium.envs.toy_text.frozen_lake.generate_random_map(4, 0.8, seed=lake_seed)
        raw = gymnasium.envs.toy_text.frozen_lake.FrozenLakeEnv(desc=lake, is_slippery=is_slippery)
        env = FrozenLakeEnv(is_slippery=is_slippery)
        state, _ = raw.reset(seed=seed)
        env.reset(lake=lake, seed=seed)
        for direction in moves:
            before = state
            state, reward, terminated, _, _ = raw.step(DIRECTIONS.index(direction))
            read = env.move(direction)
            assert env.done == terminated
            assert env.get_reward() == reward
            if terminated:
                assert read == GAME_OVER
                break
            place = f"You are at row {state // 4 + 1}, column {state % 4 + 1}."
            assert read == NOTHING_HAPPENS if state == before else read.startswith(place)

    def test_shows_the_four_sides_and_no_more(self):
        env = FrozenLakeEnv()
        assert env.reset(lake=LAKE) == "\n\nYou are at row 1, column 1. Left: edge. Down: hole. Right: ice. Up: edge."
        assert env.move("right") == "You are at row 1, column 2. Left: ice. Down: ice. Right: hole. Up: edge."
        assert env.move("down") == "You are at row 2, column 2. Left: hole. Down: ice. Right: ice. Up: ice."
        assert env.move("right") == "You are at row 2, column 3. Left: ice. Down: goal. Right: edge. Up: hole."

    def test_what_moves_nothing_says_nothing(self):
        env = FrozenLakeEnv()
        env.reset(lake=LAKE)
        assert env.move("up") == NOTHING_HAPPENS == env.masked_feedback
        assert env.move("north") == NOTHING_HAPPENS
        env.move("down")
        assert env.done
        assert env.move("right") == NOTHING_HAPPENS
        assert env.get_reward() == 0.0

    @pytest.mark.parametrize("spelling", ["right", "Right", " RIGHT ", "right\n"])
    def test_case_and_space_do_not_matter(self, spelling):
        env = FrozenLakeEnv()
        env.reset(lake=LAKE)
        assert env.move(spelling).startswith("You are at row 1, column 2.")

    @pytest.mark.parametrize("direction", ["rightwards", "", "r", None, 2])
    def test_what_is_no_direction_does_nothing(self, direction):
        env = FrozenLakeEnv()
        env.reset(lake=LAKE)
        assert env.move(direction) == NOTHING_HAPPENS

    def test_moves_run_out(self):
        env = FrozenLakeEnv(max_moves=3)
        env.reset(lake=LAKE)
        assert env.move("up") == NOTHING_HAPPENS
        env.move("right")
        assert not env.done
        assert env.move("left") == GAME_OVER
        assert env.done
        assert env.get_reward() == 0.0

    def test_no_fixed_plan_is_good(self):
        lakes = [row["lake"] for row in frozen_lake_dataset("test", 300)]
        plans = set(permutations("DDDDRRRR"))
        assert len(plans) == 70
        assert max(mean(arrives(lake, plan) for lake in lakes) for plan in plans) <= 0.2

    def test_every_lake_has_a_way(self):
        for row in frozen_lake_dataset("train", 100, size=4):
            lake, seen = row["lake"], {(0, 0)}
            queue = deque(seen)
            while queue:
                down, right = queue.popleft()
                for place in ((down + 1, right), (down - 1, right), (down, right + 1), (down, right - 1)):
                    if place not in seen and set(place) <= set(range(4)) and lake[place[0]][place[1]] != "H":
                        seen.add(place)
                        queue.append(place)
            assert (3, 3) in seen


class CliffEnv(GymnasiumEnv):
    """The example of the base class."""

    actions = ("up", "right", "down", "left")

    def reset(self, seed: int, **row) -> str:
        return self._start(self._gymnasium.make("CliffWalking-v1", max_episode_steps=50), seed)

    def move(self, direction: str) -> str:
        return self._act(direction)

    def _describe(self, observation: int) -> str:
        return f"You are at row {observation // 12}, column {observation % 12}."

    def get_reward(self) -> float:
        return float(self._observation == 47)


def test_another_gymnasium_game_takes_few_lines():
    env = CliffEnv()
    assert env.reset(seed=0) == "\n\nYou are at row 3, column 0."
    assert env.move("left") == NOTHING_HAPPENS
    assert env.move("up") == "You are at row 2, column 0."
    assert [env.move("right") for _ in range(11)][-1] == "You are at row 2, column 11."
    assert (env.move("down"), env.get_reward()) == (GAME_OVER, 1.0)
    env.reset(seed=0)
    assert (env.done, env.get_reward()) == (False, 0.0)


BOARD = "Current Board:\n\n"


class TestSokoban:
    def test_solver(self):
        assert solve(BOARD + "# # # # #\n# P X O #\n# # # # #\n") == ["right"]
        assert solve(BOARD + "# # # # #\n# O X P #\n# # # # #\n") == ["left"]
        assert solve(BOARD + "# # # # #\n# P √ _ #\n# # # # #\n") == []
        assert solve(BOARD + "# # # # # #\n# P _ X O #\n# # # # # #\n") == ["right", "right"]
        assert solve(BOARD + "# # # # #\n# X _ P #\n# O _ _ #\n# # # # #\n") is None  # in a corner
        # The goal is under the player
        assert solve(BOARD + "# # # # #\n# _ X P #\n# _ _ _ #\n# # # # #\n") == ["down", "left", "left", "up", "right"]

    @pytest.mark.thorough
    def test_solutions_are_shortest(self):
        """No sequence of fewer moves solves a level, tried out with textarena."""
        for row in sokoban_dataset("train", 2, num_boxes=1):
            env = SokobanEnv()
            length = len(solve(env.reset(**row)))
            frontier, seen = [[]], set()
            for _ in range(length - 1):
                following = []
                for moves in frontier:
                    for direction in DIRECTIONS:
                        env.reset(**row)
                        *_, board = [env.move(move) for move in [*moves, direction]]
                        assert env.get_reward() == 0.0
                        board = board.partition("\n")[2]
                        if board and board not in seen:
                            seen.add(board)
                            following.append([*moves, direction])
                frontier = following

    def test_prompt_explains_every_mark(self):
        env = SokobanEnv()
        for row in sokoban_dataset("train", 5):
            board = env.reset(**row)
            assert row["prompt"] == [{"role": "user", "content": PROMPT}]
            assert board.startswith("\n\nCurrent Board:")
            for line in board.split("\n")[4:10]:
                assert all(f"`{mark}`" in PROMPT for mark in line.split())

    def test_a_move_into_a_wall_says_nothing_and_two_lose(self):
        env = SokobanEnv()
        [row] = sokoban_dataset("train", 1)
        env.reset(**row)
        assert env.move("sideways") == NOTHING_HAPPENS == env.masked_feedback
        assert not env.done
        assert env.move("sideways") == GAME_OVER
        assert env.done
        assert env.move("up") == NOTHING_HAPPENS
        assert env.get_reward() == 0.0

    def test_case_and_space_do_not_matter(self):
        env = SokobanEnv()
        [row] = sokoban_dataset("train", 1)
        there, _ = self.free_step(env, row)
        boards = []
        for spelling in (there, there.upper(), f" {there.capitalize()} "):
            env.reset(**row)
            boards.append(env.move(spelling))
        assert len(set(boards)) == 1
        assert boards[0] != NOTHING_HAPPENS

    def test_thirty_moves(self):
        env = SokobanEnv()
        [row] = sokoban_dataset("train", 1)
        there, back = self.free_step(env, row)
        env.reset(**row)
        for i in range(30):
            assert not env.done
            read = env.move(back if i % 2 else there)
        assert (read, env.done, env.get_reward()) == (GAME_OVER, True, 0.0)

    def free_step(self, env, row):
        """A step and its opposite that push no box."""
        for there, back in (("up", "down"), ("down", "up"), ("left", "right"), ("right", "left")):
            start = env.reset(**row)
            env.move(there)
            if env.move(back).partition("\n")[2].strip() == start.strip():
                return there, back
        raise AssertionError("The player is shut in")


class TestTextGames:
    def play(self, env, moves):
        read = [env.reset(seed=3)]
        for move in moves:
            read.append(env.user.reply([say(move)]))
        return read

    def test_says_what_textarena_says(self):
        env = TextArenaEnv()
        raw = textarena.make("Mastermind-v0-raw")
        state = random.getstate()
        raw.reset(num_players=1, seed=3)
        secret = raw.state.game_state["secret_code"]
        random.setstate(state)
        [(_, instructions, _)] = raw.get_observation()[1]
        assert env.reset(seed=3) == f"\n\n{instructions.strip()}"
        for digits in CODES[:5]:
            assert list(digits) != secret
            raw.step(code(digits))
            answer = raw.get_observation()[1][-1][1]
            assert env.user.reply([say(f"My guess is {code(digits)}.")]) == answer
        assert env.user.reply([say(code(secret))]) == GAME_OVER
        assert env.get_reward() == 1.0

    def test_what_moves_nothing_says_nothing(self):
        env = TextArenaEnv()
        illegal = ["I do not know.", "[1 2]", "[1 1 2 2]", "[9 9 9 9]", "[one]"]
        for move in illegal:
            assert self.play(env, [move])[-1] == NOTHING_HAPPENS == env.masked_feedback
            assert not env.done
        _, first, again = self.play(env, ["[1 2 3 4]", "[1 2 3 4]"])
        assert first.startswith("Submitted [1 2 3 4]. Feedback:")
        assert again == NOTHING_HAPPENS
        assert self.play(env, illegal[:3])[1:] == [NOTHING_HAPPENS, GAME_OVER, NOTHING_HAPPENS]
        assert env.get_reward() == 0.0

    @pytest.mark.parametrize(
        ("game_id", "other", "move"),
        [
            ("Mastermind-v0", "[1 2 3 4]", "[2 1 4 3]"),
            ("GuessTheNumber-v0", "[6]", "[5]"),
            ("Minesweeper-v0-small", "[0 0]", "[2 3]"),
            ("2048-v0", "[up]", "[left]"),
            ("Blackjack-v0", "[hit]", "[stand]"),
            ("FrozenLake-v0", "[left]", "[down]"),
            # textarena takes nothing but the move in these
            ("LightsOut-v0", "[1 1]", "[2 2]"),
            ("PegJump-v0", "[12 5]", "[14 5]"),
            ("Secretary-v0", "[accept]", "[continue]"),
        ],
    )
    def test_the_last_brackets_of_a_message_are_the_move(self, game_id, other, move):
        env = TextArenaEnv(game_id)
        plain = self.play(env, [move])
        state = env.user.level()
        assert self.play(env, [f"I thought of {other}, but now I try {move}, of course."]) == plain
        assert env.user.level() == state
        self.play(env, [other])
        assert env.user.level() != state

    def test_a_game_of_several_moves_in_a_message_gets_them_all(self):
        env = TextArenaEnv("TowerOfHanoi-v0")
        self.play(env, ["[A C]", "[A B]"])
        state = env.user.level()
        self.play(env, ["First [A C], then [A B]."])
        assert env.user.level() == state

    def test_a_near_miss_earns_nothing(self):
        env = TextArenaEnv("GuessTheNumber-v0", max_number=1000, max_turns=1)
        env.reset(seed=3)
        target = json.loads(env.user.level())["game_number"]
        assert env.user.reply([say(f"[{target + 1}]")]) == GAME_OVER
        assert env.get_reward() == 0.0

    def test_turns_are_as_many_as_the_instructions_say(self):
        env = TextArenaEnv(max_turns=4)
        instructions, *read = self.play(env, map(code, CODES[:4]))
        assert "You have 4 turns" in instructions
        assert GAME_OVER not in read[:3]
        assert read[3] == GAME_OVER

    def test_any_game_for_one_player(self, play):
        """Ten questions tell a thousand numbers apart, by bisection."""

        def bisect(messages, tools):
            low, high = 1, 1000
            for message, answer in zip(messages[1::2], messages[2::2], strict=True):
                guess = int(message["content"].strip("[]"))
                low, high = (guess + 1, high) if "higher" in answer["content"] else (low, guess - 1)
            return say(f"[{(low + high) // 2}]")

        options = {"max_number": 1000}
        rows = text_game_dataset("test", 100, game_id="GuessTheNumber-v0", **options)
        make_env = partial(TextArenaEnv, "GuessTheNumber-v0", **options)
        assert mean(rewards(play(make_env, rows, bisect))) == 1.0
        halves = [say(f"[{number}]") for number in range(50, 1000, 100)]
        assert mean(rewards(play(make_env, rows, lambda messages, tools: halves[age(messages)]))) <= 0.1

    @settings(max_examples=50, deadline=None)
    @given(
        game_id=st.sampled_from(["GuessTheNumber-v0", "Mastermind-v0", "Minesweeper-v0-small", "Blackjack-v0"]),
        moves=st.lists(
            st.sampled_from(["[5]", "[7]", "[1 2 3 4]", "[2 1]", "[0 4]", "[hit]", "[stand]", "what?", ""])
            | st.text(max_size=10),
            max_size=25,
        ),
    )
    def test_no_move_breaks_a_game(self, game_id, moves):
        env = TextArenaEnv(game_id)
        for read in self.play(env, moves):
            assert read.strip()
            assert "invalid move" not in read.lower()

    @pytest.mark.parametrize(
        ("game_id", "moves"),
        [
            ("Mastermind-v0", ["[1 2 3 4]", "[2 1 3 4]", "[6 5 4 3]"]),
            ("Blackjack-v0", ["[hit]", "[stand]", "[stand]"]),  # draws cards as it goes
            ("2048-v0", ["[left]", "[down]", "[right]"]),  # draws tiles as it goes
        ],
    )
    def test_games_keep_to_their_own_random_numbers(self, game_id, moves):
        first, second = TextArenaEnv(game_id), TextArenaEnv(game_id)
        alone = self.play(first, moves)
        random.seed(5)
        expected = [random.random() for _ in range(4)]
        random.seed(5)
        drawn, heard = [random.random()], [[first.reset(seed=3)], [second.reset(seed=3)]]
        for move in moves:
            heard[0].append(first.user.reply([say(move)]))
            drawn.append(random.random())
            heard[1].append(second.user.reply([say(move)]))
        assert heard == [alone, alone]
        assert drawn == expected

    def test_unknown_game(self):
        with pytest.raises(ValueError, match="Masterminds-v0"):
            TextArenaEnv("Masterminds-v0")

    def test_games_without_levels_have_no_dataset(self):
        with pytest.raises(ValueError, match="gave no level of the split 'validation'"):
            text_game_dataset("validation", 1, game_id="Cryptarithm-v0")
        with pytest.raises(ValueError, match="_Vehicle.*make a dataset of your own"):
            text_game_dataset("train", 1, game_id="RushHour-v0")


@pytest.mark.parametrize(
    ("library", "make_env"), [("gymnasium", FrozenLakeEnv), ("textarena", TextArenaEnv), ("textarena", SokobanEnv)]
)
def test_a_missing_library_is_named_with_its_extra(monkeypatch, library, make_env):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf'`{library}`: pip install "trl-infopo\[games\]"'):
        make_env()


def test_importing_loads_no_game():
    program = (
        "import sys, trl_infopo.environments.explore\nprint({'gymnasium', 'textarena', 'nltk'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
