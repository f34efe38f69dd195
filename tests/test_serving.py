# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
import math
import time
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import openai
import pytest
import torch
from datasets import Dataset
from harnesses import TOOLS, client_of, play, run_agent
from test_turns import TEMPLATES, make_template_tokenizer
from tiny_agents import make_model, make_tokenizer, tool_call
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo.serving import HarnessRollouts, RewrittenHistoryError, harness_reward
from trl_infopo.serving.template import ChatTemplate
from trl_infopo.turns import segment_turns


PROMPTS = [[{"role": "user", "content": f"book {i} please"}] for i in range(4)]
OPTIONS = {
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "num_generations": 2,
    "max_completion_length": 900,
    "generation_kwargs": {"max_new_tokens": 12},
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
ASK = tool_call("ask", slot="city")


def make_trainer(
    output_dir, rollouts, trainer_class=InfoPOTrainer, config_class=InfoPOConfig, agent=None, dataset=None, **options
):
    """A trainer on the processor, of a model of 30 000 weights."""
    if agent is None:
        tokenizer = make_tokenizer()
        agent = make_model(tokenizer), tokenizer
    model, tokenizer = agent
    if dataset is None:
        dataset = Dataset.from_list([{"prompt": prompt, "number": i} for i, prompt in enumerate(PROMPTS)])
    trainer = trainer_class(
        model=model,
        reward_funcs=harness_reward,
        args=config_class(output_dir=str(output_dir), **{**OPTIONS, **options}),
        train_dataset=dataset,
        processing_class=tokenizer,
        rollout_func=rollouts,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    return make_trainer(tmp_path_factory.mktemp("serving"), HarnessRollouts(play))


@contextmanager
def scripted(trainer, *actions, calls=None):
    """Let the policy of a trainer say what is written down, action by action; note the contexts of each call."""
    tokenizer = trainer._tokenizer
    start, assistant = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)[:2]

    def sample(prompt_ids, images, multimodal_fields, num_generations, **kwargs):
        if calls is not None:
            calls.append(prompt_ids)
        sampled = []
        for context in prompt_ids:
            turn = sum(pair == (start, assistant) for pair in zip(context, context[1:], strict=False)) - 1
            action = actions[min(turn, len(actions) - 1)]
            sampled.append([*tokenizer.encode(action, add_special_tokens=False), tokenizer.eos_token_id])
        return sampled, [[-0.5] * len(ids) for ids in sampled]

    trainer._generate_single_turn = sample
    try:
        yield
    finally:
        del trainer._generate_single_turn


def where(mask: list[int], values: list) -> list:
    return [value for is_there, value in zip(mask, values, strict=True) if is_there]


def run(trainer, play, *actions, num_rows=2, calls=None, **options):
    """Rollouts of a scripted policy, outside of a training."""
    rollouts = HarnessRollouts(play, **{"max_retries": 0, "batch_window": None, **options})
    trainer.rollout_rows = None
    try:
        with scripted(trainer, *(actions or ["hello"]), calls=calls):
            return rollouts(PROMPTS[:num_rows], trainer)
    finally:
        rollouts.close()


def test_a_harness_trains(tmp_path):
    seen, contexts = [], []

    class Watched(HarnessRollouts):
        def __call__(self, prompts, trainer):
            seen.append(super().__call__(prompts, trainer))
            return seen[-1]

    trainer = make_trainer(tmp_path, Watched(play))
    sample = trainer._generate_single_turn

    def watch(prompt_ids, *args, **kwargs):
        contexts.extend(prompt_ids)
        return sample(prompt_ids, *args, **kwargs)

    trainer._generate_single_turn = watch
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == 2
    assert not all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    for log in trainer.state.log_history[:2]:
        assert math.isfinite(log["infopo/information_gain/mean"])
        assert log["infopo/information_gain/std"] > 0
        assert log["infopo/nonfinite_gains"] == 0
    tokenizer = trainer._tokenizer
    num_turns = 0
    for output in seen:
        for i in range(4):
            ids = output["prompt_ids"][i] + output["completion_ids"][i]
            first = len(output["prompt_ids"][i])
            turns = segment_turns(output["env_mask"][i])
            for turn in turns:
                # What the policy was given is what the row holds before the action, token for token
                assert ids[: first + turn.action.start] in contexts
            feedback = [m["content"] for m in output["conversation"][i] if m["role"] != "assistant"][1:]
            content_mask = output["feedback_content_mask"][i]
            content = [
                t for t, is_content in zip(output["completion_ids"][i], content_mask, strict=True) if is_content
            ]
            assert tokenizer.decode(content) == "".join(feedback)
            assert not any(a and b for a, b in zip(content_mask, output["env_mask"][i], strict=True))
            num_turns += len(turns)
    assert num_turns > 12


def test_a_row_is_the_rendered_conversation(trainer):
    actions = [f"let me see\n{ASK}\n{ASK}", "which day?", tool_call("look_up", word="a"), "done"]
    output = run(trainer, play, *actions)
    tokenizer = trainer._tokenizer
    ids = output["prompt_ids"][0] + output["completion_ids"][0]
    text = tokenizer.apply_chat_template(
        output["conversation"][0],
        tools=TOOLS,
        tokenize=False,
        chat_template=ChatTemplate(tokenizer, None, {}, trainer.eos_token_ids)._tokenizer.chat_template,
    )
    # The template writes that the policy did not think, which this one left out
    assert tokenizer.decode(ids) + "\n" == text.replace("<think>\n\n</think>\n\n", "")
    assert output["harness_reward"] == [pytest.approx(1.3)] * 2
    contents = ["paris it is", "paris it is", "please go on", "a:\n- one\n- two"]
    assert [m["content"] for m in output["conversation"][0][1:] if m["role"] != "assistant"] == contents
    assert [len(turn.action) > 0 for turn in segment_turns(output["env_mask"][0])] == [True] * 4
    assert {p for p, is_action in zip(output["logprobs"][0], output["env_mask"][0], strict=True) if is_action} == {
        -0.5
    }


@pytest.mark.parametrize("template", ["qwen3", "nemotron_3_nano", *TEMPLATES])
def test_feedback_knows_its_content(template):
    tokenizer = make_template_tokenizer(template, TEMPLATES.get(template, ["<|im_end|>"])[0])
    own_template = tokenizer.chat_template
    chat = ChatTemplate(tokenizer, None, {}, [tokenizer.eos_token_id])
    messages = [{"role": "user", "content": "0 or x, please"}]
    if chat.takes_tools:
        messages = [{"role": "tool", "name": "ask", "content": text} for text in ("x", "paris it is 0")] + messages
    ids, content_mask = chat.feedback(messages)
    assert tokenizer.decode(where(content_mask, ids)) == "".join(message["content"] for message in messages)
    assert 0 in content_mask
    assert tokenizer.chat_template == own_template


def test_zero_coef_is_grpo(tmp_path):
    weights = []
    for trainer_class, config_class, options in (
        (GRPOTrainer, GRPOConfig, {}),
        (InfoPOTrainer, InfoPOConfig, {"info_gain_coef": 0.0}),
    ):
        rollouts = HarnessRollouts(play, batch_window=None)
        trainer = make_trainer(tmp_path, rollouts, trainer_class, config_class, **options)
        trainer.train()
        rollouts.close()
        weights.append(list(trainer.model.parameters()))
    assert all(map(torch.equal, *weights))


def test_requests_are_sampled_together(trainer):
    calls = []
    run(trainer, play, ASK, "which day?", "done", num_rows=4, calls=calls)
    assert [len(contexts) for contexts in calls] == [4, 4, 4]


def test_a_slow_episode_does_not_hold_the_others(trainer):
    ends = []

    async def sometimes_slow(row, session):
        if row["prompt"] == PROMPTS[0]:
            await asyncio.sleep(1.5)
        reward = await play(row, session)
        ends.append(time.monotonic())
        return reward

    run(trainer, sometimes_slow, ASK, "done", batch_window=0.05)
    assert ends[1] - ends[0] > 0.5


def test_play_gets_the_row(tmp_path):
    numbers = []

    def note(row, session):  # no async function
        numbers.append(row["number"])
        session.metrics["length"] = 3.0
        client = openai.OpenAI(base_url=session.base_url, api_key="any")
        client.chat.completions.create(model=session.model, messages=row["prompt"], max_tokens=2)
        return 1.0

    trainer = make_trainer(tmp_path, HarnessRollouts(note), max_steps=1)
    trainer.train()
    assert trainer.state.log_history[0]["infopo/harness/length"] == 3.0
    assert len(numbers) == 4
    assert len(set(numbers)) == 2


class Agent:
    async def __call__(self, row, session):
        return await play(row, session)


@pytest.mark.parametrize(
    "agent",
    [
        play,
        partial(play),
        Agent(),
        lambda row, session: play(row, session),
        lambda row, session: partial(play, row)(session),
    ],
)
def test_whatever_leads_to_an_async_play_is_awaited(trainer, agent):
    assert run(trainer, agent, ASK, "done")["harness_reward"] == [pytest.approx(1.1)] * 2


async def first_turn(client, session, row):
    answer = await client.chat.completions.create(model=session.model, messages=row["prompt"], tools=TOOLS)
    return [*row["prompt"], answer.choices[0].message.model_dump(exclude_none=True)]


GO_ON = {"role": "user", "content": "go on"}
REWRITES = {
    "stripped": (lambda m: [m[0], {**m[1], "content": "so"}, GO_ON], TOOLS, r"message 1 \(assistant\) not as it was"),
    "prompt": (lambda m: [{**m[0], "content": "other"}, m[1], GO_ON], TOOLS, r"message 0 \(user\) not as it was"),
    "fork": (lambda m: [m[0], GO_ON], TOOLS, r"message 1 \(user\) not as it was"),
    "cut": (lambda m: [m[0]] * 2, TOOLS, r"message 1 \(user\) not as it was"),
    "back": (lambda m: m, TOOLS, "goes back to its first 2 of 2 messages"),
    "made up": (lambda m: [*m, GO_ON, m[1]], TOOLS, "brings a message of the role 'assistant'"),
    "tools": (lambda m: [*m, GO_ON], TOOLS[:1], "has other tools than the first"),
}


@pytest.mark.parametrize("rewrite", REWRITES)
def test_a_rewritten_history_stops_the_run(trainer, rewrite):
    change, tools, reason = REWRITES[rewrite]
    refused = []

    async def rewriting(row, session):
        async with client_of(session) as client:
            messages = change(await first_turn(client, session, row))
            try:
                await client.chat.completions.create(model=session.model, messages=messages, tools=tools)
            except openai.BadRequestError as error:  # which the agent keeps to itself
                refused.append(error.code)
        return 1.0

    with pytest.raises(RewrittenHistoryError, match=f"rollout [01] of process 0 at step .* {reason}"):
        run(trainer, rewriting, "<think>hm</think>so <b>")
    assert set(refused) == {"rewritten_history"}


def test_what_does_not_change_the_history_is_accepted(trainer):
    async def other_spelling(row, session):
        async with client_of(session) as client:
            messages = await first_turn(client, session, row)
            (call,) = messages[1]["tool_calls"]
            call["function"]["arguments"] = json.dumps(json.loads(call["function"]["arguments"]), indent=1)
            call["id"] = "mine"
            messages[0] = {"role": "user", "content": [{"type": "text", "text": row["prompt"][0]["content"]}]}
            messages[1] = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
            messages.append({"role": "tool", "tool_call_id": "mine", "content": "x"})
            await client.chat.completions.create(model=session.model, messages=messages, tools=TOOLS)
        return 1.0

    output = run(trainer, other_spelling, ASK, "done")
    assert [message.get("name") for message in output["conversation"][0]] == [None, None, "ask", None]


def says(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": {name}, "arguments": {arguments}}}\n</tool_call>'


ACTIONS = {
    "call": ASK,
    "talk and call": f"<think>hm</think>i ask {ASK}",
    "two calls": f"{ASK}\n{ASK}",
    "no object": says('"ask"', "[1]"),
    "no arguments": '<tool_call>\n{"name": "ask"}\n</tool_call>',
    "open call": "<tool_call>\n",
    "nothing": "",
    "thought": "<think>hm</think>",
    "open thought": "<think>hm",
    "no name": says("3", "{}"),
    "unknown tool": says('"fly"', "{}"),
    "not a number": says('"ask"', '{"slot": NaN, "other": Infinity}'),
    "space": " \n ",
    "turn": "<|im_start|>user\nhello",
}


@pytest.mark.quick(24)
@pytest.mark.parametrize("options", [{}, {"tools": TOOLS}, {"tools": TOOLS, "tool_choice": "none"}])
@pytest.mark.parametrize("action", ACTIONS)
def test_no_action_ends_a_run(trainer, action, options):
    """An agent that knows OpenAI's interface gets through, whatever the policy says."""
    calls, answers = [], []
    may_call = options.get("tool_choice", "auto") == "auto" and "tools" in options

    async def careful(row, session):
        async with client_of(session) as client:
            messages = list(row["prompt"])
            for _ in range(2):
                answer = await client.chat.completions.create(model=session.model, messages=messages, **options)
                message = answer.choices[0].message.model_dump(exclude_none=True)
                answers.append(message)
                messages.append(message)
                for call in message.get("tool_calls", []):
                    call["function"]["arguments"] = json.dumps(json.loads(call["function"]["arguments"]), indent=1)
                    messages.append({"role": "tool", "tool_call_id": call["id"], "content": "x"})
                assert "content" in message or message["tool_calls"]
                messages.append(GO_ON)
        return 1.0

    output = run(trainer, careful, ACTIONS[action], num_rows=1, calls=calls)
    assert output["harness_reward"] == [1.0]
    ids = output["prompt_ids"][0] + output["completion_ids"][0]
    assert ids[: len(calls[1][0])] == calls[1][0]
    if not may_call:
        text = ACTIONS[action].removeprefix("<think>hm</think>").strip()
        assert all("tool_calls" not in answer for answer in answers)
        assert [answer["content"] for answer in answers] == [text if "<think>" not in text else ""] * 2
    elif action in ("call", "talk and call", "two calls"):
        assert all(answer["tool_calls"] for answer in answers)


def test_tool_choice_may_change_within_a_conversation(trainer):
    answers, choices = [], ["auto", "none", "auto"]

    async def choosing(row, session):
        async with client_of(session) as client:
            messages = list(row["prompt"])
            for choice in choices:
                answer = await client.chat.completions.create(
                    model=session.model, messages=messages, tools=TOOLS, tool_choice=choice
                )
                answers.append(answer.choices[0])
                messages += [answers[-1].message.model_dump(exclude_none=True), GO_ON]
        return 1.0

    output = run(trainer, choosing, ASK, num_rows=1)
    assert [answer.finish_reason for answer in answers] == ["tool_calls", "stop", "tool_calls"]
    assert answers[1].message.content == ASK
    assert [bool(message.get("tool_calls")) for message in output["conversation"][0][1::2]] == [True, False, True]


def test_tools_are_in_the_prompt_whatever_the_choice(trainer):
    contexts = []

    async def choosing(row, session):
        choice = {} if row["prompt"] == PROMPTS[0] else {"tool_choice": "none"}
        async with client_of(session) as client:
            await client.chat.completions.create(model=session.model, messages=PROMPTS[0], tools=TOOLS, **choice)
        return 1.0

    run(trainer, choosing, ASK, calls=contexts)
    ((with_auto, with_none),) = contexts
    assert with_auto == with_none


def test_reasoning_that_does_not_come_back_is_still_there(trainer):
    async def thoughtless(row, session):
        async with client_of(session) as client:
            messages = await first_turn(client, session, row)
            assert messages[1].pop("reasoning_content") == "hm"
            messages.append(GO_ON)
            await client.chat.completions.create(model=session.model, messages=messages, tools=TOOLS)
        return 1.0

    output = run(trainer, thoughtless, "<think>\nhm\n</think>\n\nso", "done")
    assert "hm\n</think>\n\nso<|im_end|>\n<|im_start|>user" in trainer._tokenizer.decode(output["completion_ids"][0])


def test_the_same_request_again_gets_the_same_answer(trainer):
    async def impatient(row, session):
        async with client_of(session) as client:
            create = client.chat.completions.create
            requests = [create(model=session.model, messages=row["prompt"]) for _ in range(2)]
            answers = [*await asyncio.gather(*requests), await create(model=session.model, messages=row["prompt"])]
            assert len({answer.id for answer in answers}) == 1
        return 1.0

    output = run(trainer, impatient)
    assert [len(segment_turns(mask)) for mask in output["env_mask"]] == [1, 1]


def test_a_stream_says_the_same(trainer):
    said = []

    async def streaming(row, session):
        async with client_of(session) as client:
            async with client.chat.completions.stream(
                model=session.model, messages=row["prompt"], tools=TOOLS, stream_options={"include_usage": True}
            ) as stream:
                streamed = await stream.get_final_completion()
            plain = await client.chat.completions.create(model=session.model, messages=row["prompt"], tools=TOOLS)
        said.append(
            [(c.choices[0].message.model_dump(), c.choices[0].finish_reason, c.usage) for c in (streamed, plain)]
        )
        return 1.0

    run(trainer, streaming, f"i ask {ASK}")
    for (streamed, *rest), (plain, *same) in said:
        (call,) = plain["tool_calls"]
        assert (streamed["content"], rest) == (plain["content"], same)
        assert [c["function"]["arguments"] for c in streamed["tool_calls"]] == [call["function"]["arguments"]]
        assert rest[0] == "tool_calls"


def test_an_action_that_was_cut_off_ends_outside_of_it(trainer):
    async def short(row, session):
        async with client_of(session) as client:
            messages = list(row["prompt"])
            answer = await client.chat.completions.create(model=session.model, messages=messages, max_tokens=2)
            assert answer.choices[0].finish_reason == "length"
            assert answer.usage.completion_tokens == 2
            messages += [answer.choices[0].message.model_dump(exclude_none=True), GO_ON]
            await client.chat.completions.create(model=session.model, messages=messages)
        return 1.0

    output = run(trainer, short, "a b c d e", "done")
    tokenizer = trainer._tokenizer
    assert output["env_mask"][0][:4] == [1, 1, 0, 0]
    assert output["completion_ids"][0][2] == tokenizer.eos_token_id
    assert tokenizer.decode(output["completion_ids"][0]).count("<|im_end|>") == 3


@pytest.mark.parametrize(
    ("options", "param", "text"),
    [
        ({"n": 2}, "n", "`n` is 2, which the policy cannot give"),
        ({"stop": ["x"]}, "stop", "`stop` is"),
        ({"tool_choice": "required", "tools": TOOLS}, "tool_choice", "`tool_choice` is 'required'"),
        ({"response_format": {"type": "json_object"}}, "response_format", "`response_format` is"),
        ({"extra_body": {"guided_json": {"type": "object"}}}, "guided_json", "`guided_json` is"),
        ({"extra_body": {"structured_outputs": {"regex": "a"}}}, "structured_outputs", "`structured_outputs` is"),
        ({"extra_body": {"stop_token_ids": [1]}}, "stop_token_ids", "`stop_token_ids` is [1]"),
        ({"extra_body": {"best_of": 4}}, "best_of", "`best_of` is 4"),
        ({"extra_body": {"enable_thinking": False}}, "enable_thinking", "`enable_thinking` is False"),
        (
            {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
            "chat_template_kwargs",
            "`chat_template_kwargs` is {'enable_thinking': False}, which the policy cannot give",
        ),
        ({"reasoning_effort": "high"}, "reasoning_effort", "`reasoning_effort` is 'high'"),
        ({"web_search_options": {}}, "web_search_options", "`web_search_options` is {}"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", "`parallel_tool_calls` is False"),
        ({"max_tokens": 0}, "max_tokens", "`max_tokens` is 0"),
        ({"tools": [{"type": "web_search"}]}, "tools", "`tools` is no list of functions"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "image_url"),
        ({"messages": [{"role": "oracle", "content": ""}]}, "messages", "oracle"),
        ({"messages": []}, "messages", "no list of messages"),
        ({"messages": [{"role": "tool", "tool_call_id": [], "content": ""}]}, "messages", "unhashable"),
        ({"messages": [{"role": "user"}], "stream_options": [1]}, "stream_options", "no JSON object"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_openai_s_terms(trainer, options, param, text):
    errors = []

    async def asking(row, session):
        async with client_of(session) as client:
            request = {"model": session.model, "messages": row["prompt"], **options}
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**request)
            errors.append(caught.value)
            await client.chat.completions.create(model=session.model, messages=row["prompt"])
        return 1.0

    output = run(trainer, asking)
    assert errors[0].param == param
    assert text in str(errors[0])
    assert output["harness_reward"] == [1.0, 1.0]


# Agent frameworks send defaults, and what is about the service around the model
HARMLESS = [
    {"n": 1, "stop": None, "logprobs": False, "response_format": {"type": "text"}, "logit_bias": {}},
    {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": True, "max_completion_tokens": 50},
    {"temperature": 0.7, "top_p": 1, "seed": 1, "frequency_penalty": 0, "presence_penalty": 0, "stream": False},
    {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "prompt_cache_key": "k"},
    {"reasoning_effort": None, "verbosity": "medium", "modalities": ["text"], "safety_identifier": "s"},
    {"extra_body": {"top_k": 20, "guided_json": None, "stop_token_ids": [], "best_of": 1, "documents": []}},
    {"extra_body": {"chat_template_kwargs": {}, "skip_special_tokens": True, "new_option": None}},
]


@pytest.mark.parametrize("options", HARMLESS)
def test_what_asks_for_nothing_else_is_answered(trainer, options):
    async def asking(row, session):
        async with client_of(session) as client:
            await client.chat.completions.create(model=session.model, messages=row["prompt"], **options)
        return 1.0

    assert run(trainer, asking, num_rows=1)["harness_reward"] == [1.0]


def test_the_trainer_s_own_template_options_are_accepted(tmp_path):
    async def asking(row, session):
        own = {"enable_thinking": False}
        async with client_of(session) as client:
            create = partial(client.chat.completions.create, model=session.model, messages=row["prompt"])
            with pytest.raises(openai.BadRequestError, match="chat_template_kwargs"):
                await create(extra_body={"chat_template_kwargs": {**own, "extra": 1}})
            await create(extra_body={"chat_template_kwargs": own})
        return 1.0

    trainer = make_trainer(tmp_path, HarnessRollouts(play), chat_template_kwargs={"enable_thinking": False})
    assert run(trainer, asking, num_rows=1)["harness_reward"] == [1.0]


def test_a_judge_is_not_the_policy(trainer):
    async def judging(row, session):
        async with client_of(session) as client:
            await client.chat.completions.create(model="judge", messages=row["prompt"])

    with pytest.raises(RuntimeError, match="rollout 0 of .* failed in 1 attempt: NotFoundError.*'judge' is not here"):
        run(trainer, judging, num_rows=1)


def test_bodies_and_addresses_that_are_none_are_refused(trainer):
    statuses = []

    def raw(row, session):
        for path, body in (
            ("/chat/completions", b"\xff{"),
            ("/chat/completions", b"[1]"),
            ("/completions", b"{}"),
            ("s/chat/completions", b"{}"),
            ("/chat/completions", b"{}"),
        ):
            base_url = session.base_url if len(statuses) < 4 else session.base_url.replace(session.key, "other")
            try:
                urlopen(Request(base_url + path, data=body))
            except OSError as error:
                statuses.append((error.code, json.loads(error.read())["error"]["code"]))
        models = json.loads(urlopen(session.base_url + "/models").read())
        assert [model["id"] for model in models["data"]] == [session.model]
        raise KeyError("enough")

    with pytest.raises(RuntimeError, match="rollout 0 .*KeyError: 'enough'"):
        run(trainer, raw, num_rows=1)
    assert statuses == [
        (400, "invalid_body"),
        (400, "invalid_body"),
        (404, "not_found"),
        (404, "not_found"),
        (404, "episode_not_found"),
    ]


def test_an_episode_that_fails_is_played_anew(trainer, caplog):
    attempts = []

    async def flaky(row, session):
        reward = await play(row, session)
        attempts.append(row["prompt"][0]["content"])
        if len(attempts) == 1:
            raise ConnectionError("the sandbox is gone")
        return reward

    output = run(trainer, flaky, ASK, "done", max_retries=1)
    assert len(attempts) == 3
    assert output["harness_reward"] == [pytest.approx(1.1)] * 2
    assert "plays anew: ConnectionError: the sandbox is gone" in caplog.text


async def silent(row, session):
    return 1.0


async def sleepy(row, session):
    await asyncio.sleep(60)


def sleepy_thread(row, session):
    time.sleep(60)


async def leaving(row, session):
    await play(row, session)
    raise SystemExit(3)


async def cancelled(row, session):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def hanging_up(row, session):
    url = urlsplit(session.base_url)
    body = json.dumps({"messages": row["prompt"]}).encode()
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST {url.path}/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
    while not session.messages:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    return 1.0


async def out_of_words(row, session):
    await play(row, session)
    return "good"


async def out_of_bounds(row, session):
    await play(row, session)
    return math.nan


async def two_rewards(row, session):
    await play(row, session)
    return torch.ones(2)


def measuring(metrics):
    async def measure(row, session):
        session.metrics = metrics
        return await play(row, session)

    return measure


@pytest.mark.parametrize(
    ("play", "text"),
    [
        (silent, "`play` returned 1.0 and had no answer of the policy"),
        (sleepy, "TimeoutError: it took longer than 1.5 s"),
        (sleepy_thread, "TimeoutError: it took longer than 1.5 s"),
        (leaving, "SystemExit: 3"),
        (cancelled, "it was cancelled"),
        (hanging_up, "it hung up before it had the policy's last answer"),
        (out_of_words, "`play` returned 'good' as the reward"),
        (out_of_bounds, "`play` returned nan as the reward"),
        (two_rewards, "`play` returned tensor([1., 1.]) as the reward"),
        (measuring({"length": 3, "mood": "good"}), "has 'good' for 'mood'. Set finite numbers"),
        (measuring({"mood": None}), "has None for 'mood'. Set finite numbers"),
        (measuring({"mood": math.nan}), "has nan for 'mood'. Set finite numbers"),
        (measuring({3: 1.0}), "is {3: 1.0}, set it to a dict of numbers by name"),
        (measuring(None), "is None, set it to a dict of numbers by name"),
    ],
)
def test_an_agent_that_fails_stops_the_run_with_its_name(trainer, play, text):
    start = time.monotonic()
    with pytest.raises((RuntimeError, ValueError), match="rollout 0 of process 0 at step 0") as caught:
        run(trainer, play, num_rows=1, timeout=1.5 if "1.5 s" in text else 15.0)
    assert text in str(caught.value)
    assert time.monotonic() - start < 20


@pytest.mark.thorough
def test_an_async_agent_that_blocks_is_a_clear_error(trainer, monkeypatch):
    monkeypatch.setattr("trl_infopo.serving.rollouts.BLOCKED", 0.5)
    rollouts = HarnessRollouts(lambda row, session: None)

    async def blocking(row, session):
        time.sleep(3)  # as a client that is not asynchronous does

    rollouts.play = blocking
    trainer.rollout_rows = None
    start = time.monotonic()
    with pytest.raises(
        RuntimeError, match="An async `play` has blocked the event loop of all agents for 0.5 s. Let it"
    ):
        rollouts(PROMPTS[:2], trainer)
    assert time.monotonic() - start < 2.9
    rollouts.close()


def test_an_agent_that_is_given_up_does_not_wait_for_its_answer(trainer):
    attempts, answers = [], []

    def late(row, session):
        attempts.append(session)
        attempt = len(attempts)
        client = openai.OpenAI(base_url=session.base_url, api_key="any", max_retries=0)
        try:
            client.chat.completions.create(model=session.model, messages=row["prompt"])
        except openai.APIStatusError as error:
            answers.append((attempt, error.status_code))
        raise ValueError("too late")

    async def keeps_waiting(row, session):
        if row["prompt"] == PROMPTS[0]:
            return await asyncio.to_thread(late, row, session)
        await asyncio.sleep(3)  # as long as it thinks, the requests of the others wait
        return await play(row, session)

    with pytest.raises(RuntimeError, match="took longer than 1"):
        run(trainer, keeps_waiting, num_rows=2, timeout=1.0, max_retries=1)
    for _ in range(50):
        if answers:
            break
        time.sleep(0.1)
    assert answers[0] == (1, 410)


def test_an_agent_that_overruns_is_not_scored(trainer, caplog):
    async def endless(row, session):
        async with client_of(session) as client:
            await run_agent(client, session.model, row["prompt"], max_turns=1000)
        return 1.0

    output = run(trainer, endless, ASK)
    assert output["harness_reward"] == [None, None]
    assert "rollout 0 of process 0 at step 0 is not scored" in caplog.text
    assert all(0 < len(ids) <= trainer.max_completion_length for ids in output["completion_ids"])


def test_a_policy_that_fails_ends_the_agents(trainer):
    ended = []

    async def waiting(row, session):
        try:
            return await play(row, session)
        finally:
            ended.append(session.name)

    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    rollouts = HarnessRollouts(waiting)
    trainer.rollout_rows = None
    trainer._generate_single_turn = fail
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            rollouts(PROMPTS[:2], trainer)
    finally:
        del trainer._generate_single_turn
    for _ in range(50):
        time.sleep(0.1)
        if len(ended) == 2:
            break
    rollouts.close()
    assert len(ended) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"play": 3}, "`play` is 3"),
        ({"timeout": 0}, "`timeout` is 0"),
        ({"max_retries": -1}, "`max_retries` is -1"),
        ({"batch_window": "soon"}, "`batch_window` is 'soon'"),
        ({"model": ""}, "`model` is ''"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises((ValueError, TypeError), match=text):
        HarnessRollouts(**{"play": play, **options})
