# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""What a training would stumble over, found by playing an environment before it."""

import asyncio
import functools
import inspect
import random
import re
import warnings
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.text import Text
from transformers.utils import get_json_schema

from ._checks import CheckedFactory, placeholder_of
from ._environment import check_placeholder, find_tools, find_user, is_done
from ._options import LONGEST_WAIT, check_number
from ._schemas import SchemaTool
from ._show import safe_repr, show
from .calls import error_text
from .evaluation import COMPACT, check_rows, running_event_loop, start_episode, to_number
from .infopo_config import InfoPOConfig
from .policies import ModelPolicy, SeededEpisode, load_policy
from .rollout import StopReason, begin, converse, gather_rewards
from .turns import MALFORMED_CALL, content_text, feedback_blocks, mask_messages, segment_turns
from .users import UserSimulatorError


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ERROR, WARNING = "error", "warning"

# What a player says to a user of whom nothing is known
QUESTIONS = (
    "What do you need?",
    "Where, and when?",
    "Which one do you mean?",
    "How many, and for whom?",
    "Is there anything else that I should know?",
    "Tell me more about {word}.",
    "What about {word}?",
)
GOODBYE = "That is all."

# Special tokens of the chat templates of published models
SPECIAL = re.compile(r"<\|[\w-]+\|>|</?(?:s|think|tool_call|tool_response|start_of_turn|end_of_turn)>|\[/?INST\]")
CHARACTERS_PER_TOKEN = 4  # roughly, where there is no tokenizer
SHOWN_GAINS = 10
PAYS = 0.05  # nats per token
USUAL = 0.8  # share of what came from a tool from which a text counts as its acknowledgement


@dataclass(frozen=True)
class Finding:
    """
    Something that is wrong with an environment, or may be.

    Attributes:
        name (`str`):
            What it is about.
        level (`str`):
            `"error"` for what breaks or misleads a training, `"warning"` for what may be as it should.
        seen (`str`):
            What was seen: in which episode, and the text.
        way_out (`str`):
            What to do.
    """

    name: str
    level: str
    seen: str
    way_out: str


@dataclass(frozen=True)
class FeedbackGain:
    """
    What a policy gained from a text that came back.

    Attributes:
        source (`str`):
            The tools that it came from, or `"user"`.
        text (`str`):
            The text.
        gain (`float`):
            Mean gain of the turns on which it came back, in nats per token.
        num_turns (`int`):
            Number of these turns.
        num_rows (`int`):
            Number of rows of the dataset in which it came back.
    """

    source: str
    text: str
    gain: float
    num_turns: int
    num_rows: int


@dataclass
class Checkup:
    """
    What [`check_environment`] found.

    Attributes:
        environment (`str`):
            Name of the environment.
        findings (`list[Finding]`):
            What is wrong, errors first.
        num_episodes (`int`):
            Number of episodes that were played to their end.
        stop_reasons (`dict[str, int]`):
            How they ended.
        gains (`list[FeedbackGain]`):
            With a policy, what its feedback earns, the largest gain first.
    """

    environment: str
    findings: list[Finding] = field(default_factory=list)
    num_episodes: int = 0
    stop_reasons: dict[str, int] = field(default_factory=dict)
    gains: list[FeedbackGain] = field(default_factory=list)

    @property
    def is_healthy(self) -> bool:
        """Whether there is no error. There may be warnings."""
        return not any(finding.level == ERROR for finding in self.findings)

    def add(self, name: str, level: str, seen: str, way_out: str) -> None:
        """Add a finding, if there is none of that name: the first example is enough."""
        if all(finding.name != name for finding in self.findings):
            self.findings.append(Finding(name, level, seen, way_out))
            self.findings.sort(key=lambda finding: finding.level != ERROR)

    def report(self) -> Group:
        """
        The findings for the screen.

        Returns:
            [`~rich.console.Group`]: The findings, and the gains if there are any.
        """
        from rich.table import Table

        ends = ", ".join(f"{reason} {count}" for reason, count in self.stop_reasons.items())
        parts = [Text(f"{self.environment}: {self.num_episodes} episodes played{ends and f' ({ends})'}")]
        for finding in self.findings:
            colour = "red" if finding.level == ERROR else "yellow"
            parts.append(Text.assemble("\n", (finding.level, f"bold {colour}"), f": {finding.name}"))
            parts += [Text(f"  seen: {finding.seen}"), Text(f"  way out: {finding.way_out}")]
        if not self.findings:
            parts.append(Text("\nnothing found that a training would stumble over", style="green"))
        if self.gains:
            title = "\nwhat feedback earns, in nats per token"
            table = Table("gain ", "turns ", "from ", "feedback", title=title, title_justify="left", **COMPACT)
            for gain in self.gains[:SHOWN_GAINS]:
                table.add_row(
                    f"{gain.gain:.3f} ", f"{gain.num_turns} ", escape(f"{gain.source} "), escape(_shorten(gain.text))
                )
            parts.append(table)
        return Group(*parts)


def check_environment(
    environment_factory: Callable[[], Any],
    dataset: "Dataset | list[dict] | None" = None,
    *,
    policy: "str | tuple[PreTrainedModel, PreTrainedTokenizerBase] | None" = None,
    num_episodes: int = 16,
    max_turns: int = 32,
    max_completion_length: int = 2048,
    masked_feedback: str = InfoPOConfig.masked_feedback,
    feedback_timeout: float = 60.0,
    seed: int = 0,
) -> Checkup:
    """
    Play an environment before any training, and find what a training would stumble over.

    Without a policy, a player that knows nothing plays: it calls tools with arguments that fit their schemas, taken
    from their descriptions, from the conversation and from the row; it asks users general questions, and repeats
    itself at times. Every episode is played in a new environment, and again in one that has played the others.

    Args:
        environment_factory (`Callable[[], Any]`):
            The class of the environment, or a function that makes one, as for [`InfoPOTrainer`].
        dataset ([`~datasets.Dataset`] or `list[dict]`, *optional*):
            The tasks: rows with a conversational `prompt` and what the environment's `reset` takes. If not given, one
            row with a greeting.
        policy (`str` or `tuple[PreTrainedModel, PreTrainedTokenizerBase]`, *optional*):
            Path or hub id of a model, or a model and its tokenizer. It plays as many episodes, sampled as in training,
            and the gains of its feedback are scored.
        num_episodes (`int`, *optional*, defaults to `16`):
            Number of episodes.
        max_turns (`int`, *optional*, defaults to `32`):
            Largest number of actions in an episode.
        max_completion_length (`int`, *optional*, defaults to `2048`):
            Number of tokens that a completion may have in the training. Without a policy, a token counts as four
            characters.
        masked_feedback (`str`, *optional*, defaults to `"No information found."`):
            The placeholder of the training, where the environment has none of its own.
        feedback_timeout (`float`, *optional*, defaults to `60.0`):
            Seconds that a tool or a reply may take.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the player.

    Returns:
        [`Checkup`]: The findings.

    Raises:
        `ValueError`: If an argument is of another type or out of range, or the policy has no weights.

    Example:

    ```python
    from trl_infopo import check_environment
    from trl_infopo.environments import BookingEnv, booking_dataset

    checkup = check_environment(BookingEnv, booking_dataset("train", 100))
    assert checkup.is_healthy, checkup.findings
    ```
    """
    for name, value in (
        ("num_episodes", num_episodes),
        ("max_turns", max_turns),
        ("max_completion_length", max_completion_length),
    ):
        check_number(name, value, integer=True, at_least=1)
    check_number("feedback_timeout", feedback_timeout, above=0, at_most=LONGEST_WAIT)
    check_number("seed", seed, integer=True, at_least=0)
    check_placeholder("masked_feedback", masked_feedback)
    rows = check_rows([{"prompt": [{"role": "user", "content": "Hello."}]}] if dataset is None else dataset)
    rows = random.Random(seed).sample(rows, min(num_episodes, len(rows)))
    if policy is not None:
        policy = load_policy(policy)
        if not isinstance(policy, ModelPolicy):
            raise ValueError(
                f"`policy` is a {type(policy).__name__}, whose gains cannot be scored. Pass the path or hub id of a "
                "model, or a model and its tokenizer."
            )

    checkup = Checkup(getattr(environment_factory, "__name__", type(environment_factory).__name__))
    factory = _check_factory(checkup, environment_factory, rows)
    if factory is None:
        return checkup
    checkup.environment = factory.kind.__name__
    if not _check_offer(checkup, factory):
        return checkup
    with running_event_loop() as event_loop:
        table = _Table(factory, rows, event_loop, max_turns, feedback_timeout, seed)
        plays = _play_all(checkup, table, num_episodes)
        _check_ends(checkup, plays, max_turns)
        _check_results(checkup, plays)
        _check_special_tokens(checkup, plays, rows, policy)
        _check_budget(checkup, plays, max_completion_length, policy)
        _check_placeholder(checkup, plays, masked_feedback)
        if policy is not None:
            checkup.gains = _score_policy(checkup, table, policy, num_episodes, max_completion_length, masked_feedback)
    for play in plays:
        reason = str(play.episode.stop_reason)
        checkup.stop_reasons[reason] = checkup.stop_reasons.get(reason, 0) + 1
    checkup.num_episodes = len(plays)
    return checkup


@dataclass
class _Result:
    """What a tool gave for a call; as long as it is at it, the value is `...`."""

    tool: str
    arguments: dict[str, Any]
    value: Any = ...
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"`{self.tool}({', '.join(f'{name}={show(value)}' for name, value in self.arguments.items())})`"


@dataclass
class _Play:
    """An episode that was played to its end."""

    row: int
    episode: SeededEpisode
    results: list[_Result]
    reward: float | None
    was_done: bool  # before the first action

    def transcript(self) -> list[str]:
        """All that an agent and a training see of it."""
        messages = self.episode.prompt + self.episode.completion + self.episode.feedback
        return [*map(safe_repr, messages), f"stop reason {self.episode.stop_reason}", f"reward {self.reward}"]

    def seen_feedback(self) -> Iterator[tuple[str, str]]:
        """Source and text of what came back and an action followed on."""
        for block in feedback_blocks(self.episode.completion):
            for message in block:
                yield message.get("name", "user"), content_text(message["content"])


@dataclass
class _Table:
    """Where episodes are played: what they have in common."""

    factory: CheckedFactory
    rows: list[dict]
    event_loop: asyncio.AbstractEventLoop
    max_turns: int
    feedback_timeout: float
    seed: int

    def name(self, i: int) -> str:
        return f"episode {i} (row {i % len(self.rows)})"

    def start(self, environment: Any, i: int) -> tuple[SeededEpisode, list[_Result]]:
        """Reset an environment for an episode, with tools that remember what they returned."""
        row = self.rows[i % len(self.rows)]
        episode = start_episode(environment, row, None, self.name(i), f"{self.seed} {i}")
        results = []
        episode.tools = {name: _recording(tool, results) for name, tool in episode.tools.items()}
        return episode, results

    def finish(self, episodes: list[SeededEpisode], act: Callable[[list[SeededEpisode]], None]) -> list[float | None]:
        """Play episodes to their end, and give their rewards; None where the environment has none."""
        begin(episodes, self.event_loop, feedback_timeout=self.feedback_timeout)
        act(episodes)
        converse(episodes, act, self.event_loop, max_turns=self.max_turns, feedback_timeout=self.feedback_timeout)
        if not all(hasattr(episode.environment, "get_reward") for episode in episodes):
            return [None] * len(episodes)
        rewards = gather_rewards(episodes, self.event_loop)
        return [to_number(reward, episode) for reward, episode in zip(rewards, episodes, strict=True)]

    def play(self, environment: Any, i: int) -> _Play:
        """Let the player play an episode. What an environment draws from global random numbers is drawn alike."""
        state = random.getstate()
        random.seed(f"{self.seed} {i}")
        try:
            episode, results = self.start(environment, i)
            was_done = is_done(environment)
            row = self.rows[i % len(self.rows)]
            (reward,) = self.finish([episode], functools.partial(_act, row=row))
        finally:
            random.setstate(state)
        return _Play(i % len(self.rows), episode, results, reward, was_done)


def _recording(tool: Callable, results: list[_Result]) -> Callable:
    """A tool that adds what it returns, or raises, to a list."""

    async def await_result(result: _Result, pending: Awaitable) -> Any:
        try:
            result.value = await pending
        except Exception as error:
            result.error = error
            raise
        return result.value

    @functools.wraps(tool)
    def run(**arguments):
        result = _Result(tool.__name__, arguments)
        results.append(result)
        try:
            value = tool(**arguments)
        except Exception as error:
            result.error = error
            raise
        if inspect.isawaitable(value):
            return await_result(result, value)
        result.value = value
        return value

    return SchemaTool(tool, _Recorder(run)) if isinstance(tool, SchemaTool) else run


@dataclass
class _Recorder:
    """Stands for the environment of a tool that comes with a schema."""

    run: Callable

    def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        return self.run(**arguments)


def _schema(tool: Callable) -> dict[str, Any]:
    return tool if isinstance(tool, SchemaTool) else get_json_schema(tool)


# ---- the player


def _act(episodes: list[SeededEpisode], row: dict) -> None:
    """A policy that knows nothing but the schemas of the tools, the conversation and the row."""
    for episode in episodes:
        rng = episode.next_action_rng()
        own = [message for message in episode.completion if message["role"] == "assistant"]
        if own and rng.random() < 0.2:
            episode.act(deepcopy(own[-1]))
            continue
        words = _words(episode, row)
        has_user = find_user(episode.environment) is not None
        if episode.tools and rng.random() < (0.6 if has_user else 0.9):
            name = rng.choice(list(episode.tools))
            function = {"name": name, "arguments": _draw_arguments(episode.tools[name], words, rng)}
            episode.act(
                {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
            )
        elif has_user:
            episode.act({"role": "assistant", "content": rng.choice(QUESTIONS).format(word=rng.choice(words))})
        else:
            episode.act({"role": "assistant", "content": GOODBYE})


def _words(episode: SeededEpisode, row: dict) -> list[str]:
    """Words that may mean something: of the conversation, and the texts of the row."""
    said = [content_text(message["content"]) for message in episode.prompt + episode.completion + episode.feedback]
    told = [text for key, value in row.items() if key != "prompt" for text in _texts(value)]
    return sorted({*re.findall(r"\w{3,}", " ".join(said)), *told}) or ["it"]


def _texts(value: Any) -> Iterator[str]:
    """The short texts and the names in a nested value."""
    if isinstance(value, str) and 0 < len(value) <= 40:
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(key)
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _draw_arguments(tool: Callable, words: list[str], rng: random.Random) -> dict[str, Any]:
    schema = _schema(tool)["function"]
    parameters = schema["parameters"]
    named = re.findall(r"`([^`]+)`", schema["description"])
    return {
        name: _draw(kind, [named, words], rng)
        for name, kind in parameters["properties"].items()
        if name in parameters.get("required", ()) or rng.random() < 0.5
    }


def _draw(schema: dict, pools: list[list[str]], rng: random.Random) -> Any:
    """A value that fits a schema, text from its description, from the tool's, or from the conversation."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if kind == "array":
        return [_draw(schema.get("items", {}), pools, rng) for _ in range(rng.randint(1, 2))]
    if kind == "object":
        return {}
    if kind in ("integer", "number"):
        return rng.randint(0, 9)
    if kind == "boolean":
        return rng.random() < 0.5
    described = re.findall(r"`([^`]+)`", schema.get("description", ""))
    if described and rng.random() < 0.7:
        return rng.choice(described)
    return rng.choice(rng.choice([pool for pool in pools if pool]))


# ---- what is looked at


def _check_factory(checkup: Checkup, environment_factory: Callable, rows: list[dict]) -> CheckedFactory | None:
    """The factory, or `None` where nothing can be played."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            factory = CheckedFactory(environment_factory)
            others = [factory.factory(), factory.factory()]
        except Exception as error:
            checkup.add(
                "no environment", ERROR, f"making one failed: {_say(error)}", "Let the factory make an environment."
            )
            return None
    for warning in caught:
        if "body does not declare" in str(warning.message):
            checkup.add("undeclared `done`", WARNING, str(warning.message), "Declare it, or give it another name.")
    if others[0] is others[1]:
        checkup.add(
            "one environment for all",
            ERROR,
            "the factory returned the same object twice",
            "Make a new environment with each call: the rollouts of a batch are played at the same time.",
        )
        return None
    try:
        for columns in {tuple(row): None for row in rows}:
            factory.check_columns("dataset", columns)
    except ValueError as error:
        seen, _, way_out = str(error).rpartition(". ")
        checkup.add("columns", ERROR, seen, way_out)
        return None
    return factory


def _check_offer(checkup: Checkup, factory: CheckedFactory) -> bool:
    """Whether anything can come back, and the tools can be described."""
    tools = find_tools(factory.first)
    if not tools and not factory.converses:
        checkup.add(
            "no tools, no user",
            ERROR,
            f"`{factory.kind.__name__}` has no public method besides `reset` and `get_reward`, and no `user`",
            "Give it methods with docstrings as tools, or a `user` that is declared in the class body "
            "(`user: UserSimulator`).",
        )
        return False
    for name, tool in tools.items():
        try:
            _schema(tool)
        except Exception as error:
            checkup.add(
                "tool without a schema",
                ERROR,
                f"`{name}`: {_say(error)}",
                "Give every argument a type and a line in the docstring's `Args:`, or begin the name of a method that "
                "is no tool with an underscore.",
            )
            return False
    return True


def _play_all(checkup: Checkup, table: _Table, num_episodes: int) -> list[_Play]:
    """Play episodes in new environments, and again in one that has played the others."""
    make, plays = table.factory.factory, []
    class_state = _class_state(table.factory.kind)
    used = make()
    for i in range(num_episodes):
        try:
            play = table.play(make(), i)
        except Exception as error:
            _add_failure(checkup, table.name(i), error)
            continue
        plays.append(play)
        try:
            again = table.play(used, i)
        except Exception as error:
            checkup.add(
                "state left by `reset`",
                ERROR,
                f"{table.name(i)} went well in a new environment and failed in one that had played before: "
                f"{_say(error)}",
                "Set everything that an episode changes in `reset`.",
            )
            used = make()
            continue
        if again.transcript() != play.transcript():
            _add_difference(checkup, table, i, play, again)
    changed = [name for name, value in _class_state(table.factory.kind).items() if class_state.get(name) != value]
    if changed:
        checkup.add(
            "state in the class",
            ERROR,
            f"`{table.factory.kind.__name__}.{changed[0]}` of the class changed while episodes were played",
            "Set it on `self` in `reset`: what is in the class is shared by all rollouts of a batch.",
        )
    if plays and all(play.reward is None for play in plays):
        checkup.add(
            "no reward",
            WARNING,
            "the environment has no `get_reward`",
            "Give it one, or pass `reward_funcs` to the trainer.",
        )
    return plays


def _class_state(kind: type) -> dict[str, str]:
    """The data of a class, as text."""
    attributes = {name: value for cls in reversed(kind.__mro__[:-1]) for name, value in vars(cls).items()}
    return {
        name: safe_repr(value)
        for name, value in attributes.items()
        if not name.startswith("__") and isinstance(value, bool | int | float | str | list | dict | set | tuple | None)
    }


def _add_failure(checkup: Checkup, name: str, error: Exception) -> None:
    """A finding for what kept an episode from its end."""
    text = _say(error)
    if isinstance(error, UserSimulatorError):
        checkup.add("user fails", ERROR, text, "Return text, or None to end the conversation. Never raise.")
    elif "get_reward` returned" in text:
        checkup.add("reward", ERROR, text, "Return a finite number, whatever happened in the episode.")
    else:
        checkup.add("episode fails", ERROR, f"{name}: {text}", "Let `reset`, the user and the reward cope with it.")


def _add_difference(checkup: Checkup, table: _Table, i: int, play: _Play, again: _Play) -> None:
    """Two plays of an episode differ: because the environment had played before, or because no two are alike."""
    once_more = table.play(table.factory.factory(), i)
    pairs = zip(play.transcript(), again.transcript(), strict=False)
    first, second = next(((a, b) for a, b in pairs if a != b), ("the end", "more"))
    seen = f"{table.name(i)}: {_shorten(first)} in a new environment, {_shorten(second)} in one that had played before"
    if once_more.transcript() == play.transcript():
        checkup.add("state left by `reset`", ERROR, seen, "Set everything that an episode changes in `reset`.")
    else:
        checkup.add(
            "not reproducible",
            WARNING,
            f"{seen}; two new environments differ as well",
            "If chance or a model is part of it, let a column of the dataset seed it where it can; else see what the "
            "environments share: class attributes, globals, files.",
        )


def _check_ends(checkup: Checkup, plays: list[_Play], max_turns: int) -> None:
    if plays and all(play.episode.stop_reason == StopReason.MAX_TURNS for play in plays):
        checkup.add(
            "episodes do not end",
            ERROR,
            f"all {len(plays)} episodes were still going on after {max_turns} actions",
            "Set `self.done = True` when the task is over, or let `reply` return None. The class body must declare "
            "`done: bool = False`.",
        )
    over = next((play for play in plays if play.was_done), None)
    if over is not None:
        checkup.add(
            "done from the start",
            ERROR,
            f"{over.episode.name}: `done` was True after `reset`, so that the first action is the last",
            "Set `self.done = False` in `reset`.",
        )


def _check_results(checkup: Checkup, plays: list[_Play]) -> None:
    by_tool = defaultdict(list)
    for play in plays:
        for result in play.results:
            by_tool[result.tool].append((play, result))
    for tool, calls in by_tool.items():
        for play, result in calls:
            if result.value is ... and result.error is None:
                checkup.add(
                    f"`{tool}` takes too long",
                    ERROR,
                    f"{play.episode.name}: {result} took longer than `feedback_timeout`",
                    "Make it faster, or raise `feedback_timeout` here and in the training.",
                )
            elif result.error is None and not isinstance(result.value, str | list | bool | int | float):
                checkup.add(
                    f"`{tool}` returns no text",
                    ERROR,
                    f"{play.episode.name}: {result} returned {show(result.value)}, a "
                    f"{type(result.value).__name__}, which the agent reads as {_shorten(safe_repr(result.value))!r}",
                    "Return text.",
                )
        failures = [(play, result) for play, result in calls if result.error is not None]
        if failures:
            play, result = failures[0]
            checkup.add(
                f"`{tool}` raises",
                ERROR if len(failures) == len(calls) > 2 else WARNING,
                f"{play.episode.name}: {result} raised {type(result.error).__name__}: {_say(result.error)} "
                f"({len(failures)} of {len(calls)} calls)",
                "The agent is told so, in a text that is not the placeholder and may be farmed for its gain. Return "
                "the placeholder for a call that brings nothing.",
            )


def _check_special_tokens(checkup: Checkup, plays: list[_Play], rows: list[dict], policy: ModelPolicy | None) -> None:
    own = [] if policy is None else [token for token in policy.tokenizer.all_special_tokens if token.strip()]
    pattern = re.compile("|".join([SPECIAL.pattern, *map(re.escape, own)]))
    for play in plays:
        texts = [("the prompt", content_text(message["content"])) for message in play.episode.prompt]
        feedback = [*feedback_blocks(play.episode.completion), play.episode.feedback]
        messages = [message for block in feedback for message in block]
        texts += [(f"what came from {m.get('name', 'user')}", content_text(m["content"])) for m in messages]
        for where, text in texts:
            if found := pattern.search(text):
                around = text[max(0, found.start() - 30) : found.end() + 30]
                checkup.add(
                    "special token",
                    ERROR,
                    f"{play.episode.name}: {found[0]!r} in {where}: {around!r}",
                    "Remove it from the text: to the model it is a turn or a call that nobody made.",
                )


def _check_budget(
    checkup: Checkup, plays: list[_Play], max_completion_length: int, policy: ModelPolicy | None
) -> None:
    def count(text: str) -> int:
        if policy is None:
            return len(text) // CHARACTERS_PER_TOKEN
        return len(policy.tokenizer.encode(text, add_special_tokens=False))

    about = "about " if policy is None else ""
    for play in plays:
        counts = [(count(text), source, text) for source, text in play.seen_feedback()]
        total = sum(number for number, _, _ in counts)
        if total <= max_completion_length:
            continue
        largest, source, text = max(counts)
        checkup.add(
            "token budget",
            ERROR,
            f"{play.episode.name}: {about}{total} tokens of feedback in {len(counts)} messages, of "
            f"`max_completion_length` {max_completion_length}; the longest, of {about}{largest}, came from "
            f"{source}: {_shorten(text)!r}",
            "Say less (cut long results, show one page), raise `max_completion_length`, or lower `max_turns`.",
        )


def _check_placeholder(checkup: Checkup, plays: list[_Play], default: str) -> None:
    """Whether feedback that says nothing is the placeholder."""
    said, said_first = defaultdict(list), defaultdict(list)  # texts and rows, by their source
    for play in plays:
        placeholder = placeholder_of(play.episode.environment, default)
        first = {}
        for source, text in play.seen_feedback():
            said[source].append((text, play.row))
            first.setdefault(source, (text, play.row))
        for source, text in first.items():
            said_first[source].append(text)
        exchanges = _exchanges(play.episode.completion)
        for (action, block), following in zip(exchanges, exchanges[1:], strict=False):
            text = content_text(block[0]["content"])
            if (action, block) == following and _may_say_nothing(text, placeholder):
                checkup.add(
                    "repetition is not the placeholder",
                    WARNING,
                    f"{play.episode.name}: {_describe(action)} twice in a row brought {_shorten(text)!r} twice",
                    f"The second time says nothing new, and may earn a gain: answer it with {placeholder!r}.",
                )
    if not said:
        return
    everything = [pair for pairs in said.values() for pair in pairs]
    rows_of = {text: {row for other, row in everything if other == text} for text, _ in everything}
    if placeholder not in rows_of:
        common = max(rows_of, key=lambda text: len(rows_of[text]))
        checkup.add(
            "placeholder never said",
            WARNING,
            f"the placeholder {placeholder!r} never came back in {len(everything)} pieces of feedback. The text of "
            f"most tasks was {_shorten(common)!r}",
            "Set `masked_feedback` in the class to what tools and users say who have nothing to say. A placeholder "
            "that the policy has never read lowers the likelihood of whatever follows.",
        )
    for source, pairs in said.items():
        for text in dict.fromkeys(text for text, _ in pairs):
            share = sum(other == text for other, _ in pairs) / len(pairs)
            share_first = sum(other == text for other, _ in said_first[source]) / len(said_first[source])
            num_rows = len({row for other, row in pairs if other == text})
            if num_rows >= 3 and min(share, share_first) > USUAL and _may_say_nothing(text, placeholder):
                checkup.add(
                    f"acknowledgement of {source}",
                    WARNING,
                    f"{_shorten(text)!r} is {share:.0%} of what came from {source}, in {num_rows} different tasks",
                    f"If it says nothing, say {placeholder!r} instead, or make it `masked_feedback`: its gain is then "
                    "exactly 0, and calling for its own sake is not paid.",
                )


def _may_say_nothing(text: str, placeholder: str) -> bool:
    """Whether a text is neither the placeholder nor an error, of which there is a finding of its own."""
    return text not in (placeholder, MALFORMED_CALL) and not text.startswith("{'error'")


def _score_policy(
    checkup: Checkup,
    table: _Table,
    policy: ModelPolicy,
    num_episodes: int,
    max_completion_length: int,
    default: str,
) -> list[FeedbackGain]:
    """Let a policy play, and score what its feedback earns."""
    from .information_gain import score_information_gain

    actor = policy.make_actor(
        has_tools=bool(table.factory.tools),
        converses=table.factory.converses,
        temperature=1.0,
        max_completion_length=max_completion_length,
        chat_template_kwargs={},
        event_loop=table.event_loop,
    )
    try:
        episodes = [table.start(table.factory.factory(), i)[0] for i in range(num_episodes)]
        table.finish(episodes, actor)
    except Exception as error:
        _add_failure(checkup, "an episode of the policy", error)
        return []
    placeholders = [placeholder_of(episode.environment, default) for episode in episodes]
    blocks = [feedback_blocks(episode.completion) for episode in episodes]
    turns = [segment_turns(episode.action_mask) for episode in episodes]
    masked = [
        [actor.render(mask_messages(block, placeholder)) for block in answered]
        + [None] * (len(rollout) - len(answered))
        for answered, placeholder, rollout in zip(blocks, placeholders, turns, strict=True)
    ]
    if not any(blocks):
        checkup.add(
            "policy gets no feedback",
            WARNING,
            f"in {num_episodes} episodes no action of the policy followed on feedback",
            "It needs a warm start, or a prompt that tells it how to call the tools.",
        )
        return []
    information_gain = score_information_gain(
        policy.model,
        [episode.prompt_ids for episode in episodes],
        [episode.completion_ids for episode in episodes],
        turns,
        masked,
        batch_size=8,
    ).tolist()
    found = defaultdict(list)
    for i, answered in enumerate(blocks):
        for block, gain in zip(answered, information_gain[i], strict=False):
            source = ", ".join(dict.fromkeys(message.get("name", "user") for message in block))
            text = " ".join(content_text(message["content"]) for message in block)
            found[source, text].append((gain, i % len(table.rows)))
    gains = []
    for (source, text), turns_of_text in found.items():
        values = [gain for gain, _ in turns_of_text]
        num_rows = len({row for _, row in turns_of_text})
        gains.append(FeedbackGain(source, text, sum(values) / len(values), len(values), num_rows))
    gains.sort(key=lambda gain: -gain.gain)
    usual = max(3, min(num_episodes, len(table.rows)) / 2)  # what tells about a task differs between tasks
    paid = next((gain for gain in gains if gain.num_rows >= usual and gain.gain > PAYS), None)
    if paid is not None:
        checkup.add(
            "the same text pays everywhere",
            WARNING,
            f"{_shorten(paid.text)!r} from {paid.source} earns {paid.gain:.2f} nats per token, in {paid.num_rows} "
            "different tasks",
            "If it says nothing about the task, as an acknowledgement or an error does, make it the placeholder, or "
            "the policy will learn to ask for it.",
        )
    return gains


def _exchanges(completion: list[dict]) -> list[tuple[dict, list[dict]]]:
    actions = [message for message in completion if message["role"] == "assistant"]
    return list(zip(actions, feedback_blocks(completion), strict=False))


def _describe(action: dict) -> str:
    calls = [call["function"] for call in action.get("tool_calls") or []]
    return ", ".join(str(_Result(call["name"], call["arguments"])) for call in calls) or repr(action["content"])


def _say(error: BaseException) -> str:
    return " ".join(error_text(error).split()) or type(error).__name__


def _shorten(text: str, width: int = 100) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3]}..."
