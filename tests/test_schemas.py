# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Tools that come with a JSON schema: what the agent is shown, what reaches the environment, and what is refused."""

import asyncio
import json
import time

import pytest
from datasets import Dataset
from misbehaving_server import MisbehavingServer, says
from scripted_agents import make_scripted_trainer
from test_misbehaviour import calls, logged, play
from tiny_agents import make_model, make_tokenizer
from trl.chat_template_utils import supports_tool_calling

from trl_infopo import InfoPOConfig, InfoPOTrainer, evaluate
from trl_infopo._schemas import _simplify, read_schemas
from trl_infopo.policies import ChatPolicy
from trl_infopo.users import UserSimulatorError


def schema(name="search", properties=None, **parameters) -> dict:
    properties = {"query": {"type": "string", "description": "Words."}} if properties is None else properties
    function = {"name": name, "description": f"It can {name}."}
    return {
        "type": "function",
        "function": {**function, "parameters": {"type": "object", "properties": properties, **parameters}},
    }


class Desk:
    """An environment such as those of MCP: a list of schemas, and one method for all calls."""

    tool_schemas = [schema(), schema("wait", {})]

    def reset(self, **row):
        self.called = []

    def call_tool(self, name, arguments):
        self.called.append((name, arguments))
        if name == "wait":
            time.sleep(60)
        if name not in ("search", "wait"):
            raise ValueError(f"We have no {name}.")
        return f"found {arguments['query']}"

    def get_reward(self):
        return float(len(self.called))


class AsyncDesk(Desk):
    async def call_tool(self, name, arguments):
        if name == "wait":
            await asyncio.sleep(60)
        return super().call_tool(name, arguments)


class DeskWithMethod(Desk):
    def note(self, text: str) -> str:
        """
        Note something down.

        Args:
            text: What.
        """
        return f"noted {text}"


DESKS = pytest.mark.parametrize("desk", [Desk, AsyncDesk])
SEARCH, UNKNOWN, WAIT = calls('"search"', '{"query": "tea"}'), calls('"fly"', '{"to": "rome"}'), calls('"wait"')


# ---- in training


@DESKS
def test_calls_reach_the_environment_and_results_the_agent(tmp_path, desk):
    trainer, completions = play(tmp_path, desk, [SEARCH, UNKNOWN, "done"])
    for (_, completion), environment in zip(completions, trainer.environments, strict=True):
        assert [message["content"] for message in completion if message["role"] == "tool"] == [
            "found tea",
            "{'error': 'We have no fly.'}",
        ]
        assert environment.called == [("search", {"query": "tea"}), ("fly", {"to": "rome"})]
    assert logged(trainer, "infopo/tools/failures") == [len(completions)]
    assert logged(trainer, "tools/call_frequency") == [2.0]


@DESKS
def test_a_call_that_takes_too_long_is_told_to_the_agent(tmp_path, desk):
    trainer, completions = play(tmp_path, desk, [WAIT, "done"], feedback_timeout=0.2)
    assert {completion[1]["content"] for _, completion in completions} == {"{'error': 'No result within 0.2 s.'}"}
    assert logged(trainer, "infopo/tools/timeouts") == [len(completions)]


@pytest.mark.quick(1)
@pytest.mark.parametrize("arguments", ['"tea"', "[1]", "null"])
def test_arguments_that_are_no_object_fail_as_those_of_methods(tmp_path, arguments):
    _, completions = play(tmp_path, DeskWithMethod, [calls('"search"', arguments), calls('"note"', arguments), "done"])
    for _, completion in completions:
        contents = [message["content"] for message in completion if message["role"] == "tool"]
        assert len(contents) == 2
        assert all(content.startswith("{'error'") for content in contents)


def test_a_user_who_fails_inside_a_call_ends_the_run(tmp_path):
    class Broken(Desk):
        def call_tool(self, name, arguments):
            raise UserSimulatorError("no line")

    with pytest.raises(UserSimulatorError, match="The user of rollout 0 of process 0 at step 0 failed: no line"):
        play(tmp_path, Broken, [SEARCH])


def test_the_prompt_shows_the_schemas_and_the_methods(tmp_path):
    trainer = make_scripted_trainer(tmp_path, DeskWithMethod)
    prompts = []
    trainer.started = lambda *args: prompts.append(1)
    tokenize = trainer._tokenize_prompts
    trainer._tokenize_prompts = lambda p: prompts.append(trainer._tokenizer.decode(tokenize(p)[0][0])) or tokenize(p)
    trainer.script = lambda rollout, action: "done"
    trainer.train()
    shown = [line for line in prompts[0].splitlines() if line.startswith('{"type": "function"')]
    assert [json.loads(line)["function"]["name"] for line in shown] == ["note", "search", "wait"]
    assert json.loads(shown[1]) == schema()
    assert "call_tool" not in prompts[0]


def test_environments_with_and_without_schemas_play_in_one_run(tmp_path, monkeypatch):
    class Plain:
        def reset(self, **row):
            pass

        def search(self, query: str) -> str:
            """
            Search.

            Args:
                query: Words.
            """
            return f"plainly {query}"

        def get_reward(self) -> float:
            return 0.0

    rows = [{"prompt": [{"role": "user", "content": name}], "environment": name} for name in ("desk", "plain")]
    monkeypatch.setattr(
        "scripted_agents.Dataset.from_list", lambda _: Dataset.from_dict({k: [r[k] for r in rows] for k in rows[0]})
    )
    _, completions = play(tmp_path, {"desk": Desk, "plain": Plain}, [SEARCH, "done"])
    found = {prompt[0]["content"]: completion[1]["content"] for prompt, completion in completions}
    assert found == {"desk": "found tea", "plain": "plainly tea"}


def test_an_environment_may_have_a_user_and_be_done(tmp_path):
    class Talking(Desk):
        done: bool = False

        def reset(self, **row):
            super().reset()
            self.done = False

        def call_tool(self, name, arguments):
            self.done = True
            return super().call_tool(name, arguments)

    trainer, _ = play(tmp_path, Talking, [SEARCH, "never said"])
    assert logged(trainer, "infopo/stop/environment_done") == [1.0]


def test_schemas_may_be_set_when_the_environment_is_made(tmp_path):
    class Made(Desk):
        def __init__(self):
            self.tool_schemas = [schema()]

    class Property(Desk):
        @property
        def tool_schemas(self):
            return (schema(),)

    for environment in (Made, Property):
        _, completions = play(tmp_path, environment, [SEARCH, "done"])
        assert completions[0][1][1]["content"] == "found tea"


# ---- in `evaluate`


@DESKS
def test_evaluate_plays_them_as_training_does(desk):
    seen = []

    def policy(messages, tools):
        seen.append([tool.__name__ for tool in tools])
        names = ["search", "fly"][len(messages) // 2 :]
        if not names:
            return {"role": "assistant", "content": "done"}
        function = {"name": names[0], "arguments": {"query": "tea"}}
        return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}

    row = {"prompt": [{"role": "user", "content": "tea?"}]}
    (record,) = evaluate(policy, {"nobody": desk}, [row], show_progress=False).records
    assert [message["content"] for message in record["messages"] if message["role"] == "tool"] == [
        "found tea",
        "{'error': 'We have no fly.'}",
    ]
    assert record["reward"] == 2
    assert seen[0] == ["search", "wait"]


def test_a_model_sees_the_same_prompt_in_evaluate_as_in_training(tmp_path):
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    trainer = make_scripted_trainer(tmp_path, Desk)
    trainer._batch_environments = [None]
    prompt = [{"role": "user", "content": "tea?"}]
    ((expected,), *_) = trainer._tokenize_prompts([prompt])
    seen = []
    generate = model.generate
    model.generate = lambda input_ids, **kwargs: seen.append(input_ids) or generate(input_ids, **kwargs)
    evaluate(
        (model, tokenizer),
        {"nobody": Desk},
        [{"prompt": prompt}],
        max_turns=1,
        max_completion_length=4,
        show_progress=False,
    )
    assert seen[0][0].tolist() == expected


# ---- how schemas are described

PERSON = {
    "type": "object",
    "title": "Person",
    "properties": {
        "name": {"type": "string", "title": "Name", "description": "The given name."},
        "age": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None, "title": "Age"},
    },
    "required": ["name"],
}
NESTED = schema(
    "book",
    {
        "guests": {"type": "array", "items": {"$ref": "#/$defs/Person"}, "description": "All who come.", "title": "G"},
        "host": {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}], "description": "Who pays."},
        "room": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "class": {"allOf": [{"$ref": "#/$defs/Class"}], "default": "eco"},
        "title": {"type": "string", "description": "A field that is named as a keyword."},
    },
    **{"$defs": {"Person": PERSON, "Class": {"type": "string", "enum": ["eco", "first"]}}, "required": ["guests"]},
)
FIELDS = "Fields: `name` (string, required): The given name; `age` (integer or null)."


def test_schemas_are_written_as_those_of_methods():
    person = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "The given name."},
            "age": {"type": "integer", "nullable": True, "default": None},
        },
        "required": ["name"],
    }
    before = json.dumps(NESTED)
    assert read_schemas("Env", [NESTED])["book"] == schema(
        "book",
        {
            "guests": {"type": "array", "items": person, "description": f"All who come. {FIELDS}"},
            "host": {**person, "nullable": True, "description": f"Who pays. {FIELDS}"},
            "room": {"type": ["integer", "string"]},
            "class": {"type": "string", "enum": ["eco", "first"], "default": "eco"},
            "title": {"type": "string", "description": "A field that is named as a keyword."},
        },
        required=["guests"],
    )
    assert json.dumps(NESTED) == before


def test_schemas_of_pydantic_say_what_those_of_methods_say():
    from pydantic import BaseModel, Field
    from transformers.utils import get_json_schema

    def search(words: str, limit: int | None, exact: bool, tags: list[str], where: str | int) -> str:
        """
        It can search.

        Args:
            words: Words.
            limit: How many.
            exact: Whether.
            tags: Tags.
            where: Where.
        """

    class Search(BaseModel):
        words: str = Field(description="Words.")
        limit: int | None = Field(description="How many.")
        exact: bool = Field(description="Whether.")
        tags: list[str] = Field(description="Tags.")
        where: str | int = Field(description="Where.")

    function = {"name": "search", "description": "It can search.", "parameters": Search.model_json_schema()}
    ours = read_schemas("Env", [{"type": "function", "function": function}])["search"]["function"]
    theirs = get_json_schema(search)["function"]
    assert ours["description"] == theirs["description"]
    assert ours["parameters"]["properties"] == theirs["parameters"]["properties"]
    assert sorted(ours["parameters"]["required"]) == sorted(theirs["parameters"]["required"])


def test_null_among_the_types_is_nullable():
    schema = {"type": "object", "properties": {"city": {"type": ["string", "null"]}}}
    assert _simplify(schema, schema, "", ())["properties"]["city"] == {"type": "string", "nullable": True}


def test_what_all_of_asks_for_is_kept():
    schema = {
        "allOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}],
        "properties": {"b": {"type": "string"}},
        "required": ["b"],
    }
    simple = _simplify(schema, schema, "", ())
    assert list(simple["properties"]) == ["a", "b"]
    assert simple["required"] == ["a", "b"]


def test_a_schema_that_holds_itself_ends_in_words():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    read = read_schemas("Env", [schema(properties={"node": {"$ref": "#/$defs/Node"}}, **{"$defs": {"Node": node}})])
    inner = read["search"]["function"]["parameters"]["properties"]["node"]["properties"]["next"]
    assert inner == {"type": "object", "description": "As `Node` above."}


@pytest.mark.parametrize("template", ["qwen3", "qwen2_5", "glm4moe", "llama3_1", "gptoss", "gemma4", "qwen3_5_think"])
def test_templates_show_what_is_nested(template):
    """Some show of nested fields the names only, and of references nothing."""
    tokenizer = make_tokenizer(template)
    assert supports_tool_calling(tokenizer)
    (read,) = read_schemas("Env", [NESTED]).values()
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tools=[read], tokenize=False)
    assert text.count("The given name") >= 2
    assert "first" in text


def test_what_a_schema_leaves_out_is_there():
    read = read_schemas("Env", [{"type": "function", "function": {"name": "wait"}}])
    assert read["wait"]["function"] == {
        "name": "wait",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    }


# ---- bad input


def with_schemas(value, base=Desk):
    return type("Wrong", (base,), {"tool_schemas": value})


class Late:
    tool_schemas: list[dict]

    def reset(self, **row):
        self.tool_schemas = [schema()]

    def call_tool(self, name, arguments):
        return "found"

    def get_reward(self) -> float:
        return 0.0


class LateProperty(Late):
    @property
    def tool_schemas(self):
        return self.schemas


class Clash(Desk):
    def search(self, query: str) -> str:
        """
        Search.

        Args:
            query: Words.
        """
        return query


class WithoutArguments(Desk):
    def call_tool(self, name):
        return name


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (with_schemas({"search": schema()}), r"`Wrong.tool_schemas` is \{'search'.*, set it to a list of"),
        (with_schemas(None), r"`Wrong.tool_schemas` is None, set it to a list of"),
        (
            with_schemas([schema()["function"]]),
            r"`Wrong.tool_schemas\[0\]` is .* write it in the OpenAI function form",
        ),
        (with_schemas([schema(), "search"]), r"`Wrong.tool_schemas\[1\]` is 'search', write it in the OpenAI"),
        (with_schemas([schema(" ")]), r"`Wrong.tool_schemas\[0\]` has the name ' ', set it to the text"),
        (with_schemas([schema(None)]), r"`Wrong.tool_schemas\[0\]` has the name None"),
        (with_schemas([schema(), schema()]), "`Wrong.tool_schemas` has two tools named 'search'. Rename one"),
        (
            with_schemas([schema(type="array")]),
            "'search' of `Wrong.tool_schemas` has the parameters .* schema of an obj",
        ),
        (with_schemas([schema(properties=[])]), "'search' of `Wrong.tool_schemas` has the parameters"),
        (
            with_schemas([schema(properties={"a": {"type": {1}}})]),
            r"`Wrong.tool_schemas\[0\]` cannot be written as JSON",
        ),
        (
            with_schemas([schema(properties={"a": {"$ref": "#/$defs/A"}})]),
            r"'search' of `Wrong.tool_schemas` has the `\$ref` '#/\$defs/A', which its `parameters` do not hold",
        ),
        (with_schemas([schema(properties={"a": {"$ref": "a.json#/b"}})]), r"has the `\$ref` 'a.json#/b'"),
        (with_schemas([schema(properties={"a": {"properties": 3}})]), "has parameters that are no JSON schema"),
        (Late, "`Late.tool_schemas` cannot be read once the environment is made: AttributeError.*before `reset`"),
        (LateProperty, "`LateProperty.tool_schemas` cannot be read once the environment is made.*before `reset`"),
        (Clash, "`Clash.tool_schemas` has a tool 'search', which is a method of the class as well. Rename"),
        (
            WithoutArguments,
            r"`WithoutArguments.call_tool` cannot be called with \(name, arguments\).*Write it as `call",
        ),
    ],
)
def test_wrong_schemas_are_errors_at_construction(tmp_path, environment, message):
    with pytest.raises(ValueError, match=message):
        make_scripted_trainer(tmp_path, environment)


def search(query: str) -> str:
    """
    Search.

    Args:
        query: Words.
    """
    return query


def test_a_schema_with_the_name_of_a_function_is_an_error_at_construction(tmp_path):
    tokenizer = make_tokenizer()
    with pytest.raises(ValueError, match="`Desk.tool_schemas` has a tool 'search', as `tools` has. Rename one"):
        InfoPOTrainer(
            model=make_model(tokenizer),
            args=InfoPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none"),
            processing_class=tokenizer,
            train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": "hi"}]}]),
            environment_factory=Desk,
            tools=[search],
        )


def test_environments_with_different_schemas_are_an_error(tmp_path):
    made = []

    class Different(Desk):
        def __init__(self):
            made.append(self)
            self.tool_schemas = [schema(f"search_{len(made)}")]

    with pytest.raises(ValueError, match="Two environments of `Different` have different `tool_schemas`"):
        play(tmp_path, Different, ["done"])


def test_schemas_that_nobody_can_call_are_said(tmp_path):
    class Forgetful:
        tool_schemas = [schema()]

        def reset(self, **row):
            pass

        def get_reward(self) -> float:
            return 0.0

    with pytest.warns(UserWarning, match="`Forgetful` has `tool_schemas` and no `call_tool`"):
        make_scripted_trainer(tmp_path, Forgetful)


def test_an_endpoint_is_sent_the_schemas():
    pytest.importorskip("openai")
    with MisbehavingServer(says("done")) as server:
        policy = ChatPolicy("m", server.url, "key")
        row = {"prompt": [{"role": "user", "content": "tea?"}]}
        evaluate(policy, {"nobody": DeskWithMethod}, [row], show_progress=False)
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["note", "search", "wait"]
    assert server.requests[0]["tools"][1] == schema()
