# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import asyncio
import copy
import random
import threading
import time
from functools import partial

import pytest
import torch
from smollm2 import BOOKING, IN_WHICH_CITY, save_smollm2
from tiny_agents import make_model, make_tokenizer
from transformers import AutoModelForCausalLM

from trl_infopo.users import (
    END_MARKER,
    PERSONA_PROMPT,
    ChatUser,
    Fact,
    LocalChatModel,
    ModelUser,
    Scenario,
    UserSimulatorError,
)


pytestmark = pytest.mark.filterwarnings("ignore:A reply of .* was cut off:UserWarning")  # babble has no end

QUESTIONS = [f"{'Please. ' * k}Where to, {name}?" for k, name in enumerate(["Ada", "Bo", "Cy", "Di", "Ed", "Flo"])]
SCENARIO = Scenario("I need a trip.", facts=(), profile="You are Ada.")


def messages(question):
    return [{"role": "user", "content": SCENARIO.request}, {"role": "assistant", "content": question}]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    """Random weights: a different babble for every prompt."""
    config = make_model(tokenizer).config
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.fixture
def batches(model):
    """Batch size and length of every prompt that the model reads."""
    shapes = []

    def note(module, arguments, options):
        if options["input_ids"].shape[1] > 1:
            shapes.append(tuple(options["input_ids"].shape))

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    yield shapes
    hook.remove()


def ask_together(chat_model, questions=QUESTIONS):
    users = [ModelUser(SCENARIO, model=chat_model) for _ in questions]

    async def together():
        return await asyncio.gather(*(user.reply(messages(question)) for user, question in zip(users, questions)))

    return asyncio.run(together()), users


def ask(user, question=QUESTIONS[0]):
    return asyncio.run(user.reply(messages(question)))


def says(model, tokenizer, *tokens):
    """The same model with a head that says these tokens, one after the other, and then stops."""
    ids = [*tokenizer.convert_tokens_to_ids(tokens), tokenizer.eos_token_id]
    speaker = copy.deepcopy(model)
    start = []

    def force(module, arguments, options, output):
        if options["input_ids"].shape[1] > 1:
            start.clear()
        output.logits[:, -1, ids[min(len(start), len(ids) - 1)]] = 1e9
        start.append(None)
        return output

    speaker.register_forward_hook(force, with_kwargs=True)
    return speaker


class TestBatching:
    def test_replies_awaited_together_are_one_batch(self, model, tokenizer, batches):
        ask_together(LocalChatModel(model, tokenizer, max_tokens=4))
        assert [size for size, _ in batches] == [len(QUESTIONS)]

    def test_batch_size_is_the_limit(self, model, tokenizer, batches):
        replies, _ = ask_together(LocalChatModel(model, tokenizer, max_tokens=4, batch_size=4))
        assert [size for size, _ in batches] == [4, 2]
        assert None not in replies

    @pytest.mark.parametrize("repetition_penalty", [1.0, 1.3])
    def test_neither_batch_nor_order_changes_a_reply(self, model, tokenizer, repetition_penalty):
        model = copy.deepcopy(model)
        model.generation_config.repetition_penalty = repetition_penalty
        chat_model = LocalChatModel(model, tokenizer, max_tokens=24)
        alone = {question: ask(ModelUser(SCENARIO, model=chat_model), question) for question in QUESTIONS}
        assert len(set(alone.values())) > 3
        rng = random.Random(0)
        for size in (2, 3, 6):
            questions = rng.sample(QUESTIONS, size)
            replies, _ = ask_together(chat_model, questions)
            assert replies == [alone[question] for question in questions]

    def test_a_reply_is_what_generate_gives(self, model, tokenizer, batches):
        replies, users = ask_together(LocalChatModel(model, tokenizer, max_tokens=12))
        for question, reply, user in zip(QUESTIONS, replies, users):
            system = PERSONA_PROMPT.format(
                profile=SCENARIO.profile,
                facts="(only what is said above)",
                request=SCENARIO.request,
                rules="",
                end_marker=END_MARKER,
            ).strip()
            chat = [
                {"role": "system", "content": system},
                {"role": "user", "content": "Hello! How can I help you?"},
                {"role": "assistant", "content": SCENARIO.request},
                {"role": "user", "content": question},
            ]
            inputs = tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, enable_thinking=False, return_tensors="pt"
            )
            output = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0]
            written = output[inputs["input_ids"].shape[1] :]
            assert reply == tokenizer.decode(written, skip_special_tokens=True).strip()
            assert user.usage.tokens == len(output)

    def test_event_loops_of_several_threads_share_a_batch(self, model, tokenizer, batches):
        chat_model = LocalChatModel(model, tokenizer, max_tokens=4)
        start = threading.Barrier(4)
        replies = []

        def ask_in_a_thread():
            start.wait()
            replies.append(ask(ModelUser(SCENARIO, model=chat_model)))

        threads = [threading.Thread(target=ask_in_a_thread) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(replies) == 4
        assert len(set(replies)) == 1
        assert sum(size for size, _ in batches) == 4

    def test_event_loop_stays_alive(self, model, tokenizer):
        slow = copy.deepcopy(model)
        slow.register_forward_pre_hook(lambda module, arguments: time.sleep(0.05))
        user = ModelUser(SCENARIO, model=LocalChatModel(slow, tokenizer, max_tokens=4))

        async def count_while_waiting():
            reply = asyncio.create_task(user.reply(messages(QUESTIONS[0])))
            ticks = 0
            while not reply.done():
                await asyncio.sleep(0.01)
                ticks += 1
            return ticks

        assert asyncio.run(count_while_waiting()) >= 5

    def test_who_gives_up_holds_nobody_up(self, model, tokenizer, batches):
        chat_model = LocalChatModel(model, tokenizer, max_tokens=4)
        users = [ModelUser(SCENARIO, model=chat_model) for _ in range(2)]

        async def give_up_and_wait():
            gone, stays = (asyncio.create_task(user.reply(messages(QUESTIONS[0]))) for user in users)
            await asyncio.sleep(0)
            gone.cancel()
            return await stays

        assert asyncio.run(give_up_and_wait())


def test_random_generators_are_not_touched(model, tokenizer):
    model = copy.deepcopy(model)
    model.generation_config.update(do_sample=True, temperature=0.7, top_p=0.9)  # what chat models come with
    chat_model = LocalChatModel(model, tokenizer, max_tokens=4)
    states = torch.get_rng_state(), random.getstate()
    first = ask_together(chat_model)[0]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert ask_together(chat_model)[0] == first


def test_model_is_put_in_evaluation_mode(model, tokenizer):
    model = copy.deepcopy(model).train()
    LocalChatModel(model, tokenizer)
    assert not model.training


class TestReply:
    def test_stops_where_the_model_stops(self, model, tokenizer):
        user = ModelUser(SCENARIO, model=LocalChatModel(says(model, tokenizer, "book", "paris"), tokenizer))
        assert ask(user) == "bookparis"

    def test_end_marker_ends_the_talk(self, model):
        tokenizer = make_tokenizer()
        marker = tokenizer.encode(END_MARKER, add_special_tokens=False)
        speaker = says(model, tokenizer, *tokenizer.convert_ids_to_tokens(marker))
        user = ModelUser(SCENARIO, model=LocalChatModel(speaker, tokenizer))
        assert ask(user) is None
        assert user.usage.errors == 0

    def test_empty_answer_is_an_error(self, model, tokenizer):
        user = ModelUser(SCENARIO, model=LocalChatModel(says(model, tokenizer), tokenizer))
        with pytest.raises(UserSimulatorError, match="empty answer"):
            ask(user)
        assert user.usage.errors == 1

    def test_cut_reply_is_said_with_a_warning(self, model, tokenizer):
        speaker = says(model, tokenizer, "book", "paris")
        user = ModelUser(SCENARIO, model=LocalChatModel(speaker, tokenizer, max_tokens=1))
        with pytest.warns(UserWarning, match="max_tokens"):
            assert ask(user) == "book"

    def test_an_error_of_the_model_reaches_everybody_and_ends_nothing(self, model, tokenizer):
        broken = copy.deepcopy(model)

        def fail(module, arguments):
            raise MemoryError("no more")

        hook = broken.register_forward_pre_hook(fail)
        chat_model = LocalChatModel(broken, tokenizer, max_tokens=4)
        users = [ModelUser(SCENARIO, model=chat_model) for _ in range(3)]

        async def together():
            return await asyncio.gather(*(user.reply(messages("?")) for user in users), return_exceptions=True)

        errors = asyncio.run(together())
        assert [str(error) for error in errors] == ["no more"] * 3
        hook.remove()
        assert ask(users[0])


class TestArguments:
    def test_no_tokenizer(self, model):
        with pytest.raises(ValueError, match="`tokenizer`"):
            LocalChatModel(model)

    def test_no_chat_template(self, model):
        tokenizer = make_tokenizer()
        tokenizer.chat_template = None
        with pytest.raises(ValueError, match="chat template"):
            LocalChatModel(model, tokenizer)

    @pytest.mark.parametrize("name", ["max_tokens", "batch_size"])
    def test_bad_values_are_named(self, model, tokenizer, name):
        with pytest.raises(ValueError, match=f"`{name}` is 0"):
            LocalChatModel(model, tokenizer, **{name: 0})

    def test_loading_options_of_a_loaded_model(self, model, tokenizer):
        with pytest.raises(ValueError, match="device_map"):
            LocalChatModel(model, tokenizer, device_map="cpu")

    def test_persona_prompt_with_an_unknown_field(self, model, tokenizer):
        with pytest.raises(ValueError, match="`persona_prompt`"):
            ModelUser(SCENARIO, model=LocalChatModel(model, tokenizer), persona_prompt="{goal}")

    def test_folder(self, model, tokenizer, tmp_path):
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        loaded = ask_together(LocalChatModel(tmp_path, max_tokens=8, dtype="float32"))[0]
        assert loaded == ask_together(LocalChatModel(model, tokenizer, max_tokens=8))[0]

    def test_serves_as_make_user(self, model, tokenizer):
        factory = partial(ModelUser, model=LocalChatModel(model, tokenizer, max_tokens=4))
        assert ask(factory(SCENARIO, 3))


@pytest.mark.parametrize("name", ["max_tokens", "batch_size"])
@pytest.mark.parametrize("value", [0, 1.5, float("nan"), float("inf"), "8", None, True])
def test_numbers_are_whole_and_positive(name, value, model, tokenizer):
    with pytest.raises(ValueError, match=f"`{name}` is {value!r}, set it to (a whole number, )?at least 1"):
        LocalChatModel(model, tokenizer, **{name: value})


@pytest.mark.parametrize("value", [None, 3, ["m"]])
def test_models_are_models(value, tokenizer):
    with pytest.raises(ValueError, match=f"`model` is of type {type(value).__name__}"):
        LocalChatModel(value, tokenizer)
    with pytest.raises(ValueError, match="make one `LocalChatModel`"):
        ModelUser(SCENARIO, model=value)


def test_a_model_that_is_not_wrapped_is_named(model):
    for value in ("Qwen/Qwen3-4B", model):
        with pytest.raises(ValueError, match="`model` is of type .*make one `LocalChatModel`"):
            ModelUser(SCENARIO, model=value)


def test_halves_of_characters_can_be_asked(model, tokenizer):
    chat_model = LocalChatModel(model, tokenizer, max_tokens=4)
    replies = [
        ask(ModelUser(Scenario(f"I {half} need", facts=()), model=chat_model), f"Where {half} to?")
        for half in ("\ud83d", "\ufffd")
    ]
    assert replies[0] == replies[1]


@pytest.mark.parametrize("prompt", ["{goal}", "{", "{profile.goal}", "{profile[0}", "{0}", "{profile:d}", None, b"x"])
def test_persona_prompts_that_cannot_be_filled_in(prompt, model, tokenizer):
    with pytest.raises(ValueError, match="`persona_prompt`"):
        ModelUser(SCENARIO, model=LocalChatModel(model, tokenizer), persona_prompt=prompt)


@pytest.mark.parametrize("sentence", ["{goal}", "{", "{value.goal}", None])
def test_sentences_that_cannot_be_filled_in(sentence):
    scenario = Scenario("I need a trip.", facts=(Fact("city", "Paris", ("city",), sentence),))
    with pytest.raises(ValueError, match="`sentence` of the fact 'city'"):
        ChatUser(scenario, model="m", api_key="local")


def test_both_users_tell_the_model_the_same(model, tokenizer):
    local = ModelUser(BOOKING, model=LocalChatModel(model, tokenizer))
    remote = ChatUser(BOOKING, model="m", api_key="local")
    assert local._system_prompt == remote._system_prompt
    assert "city: I want to go to Paris." in local._system_prompt


@pytest.mark.slow
def test_smollm2_answers_as_the_user(tmp_path):
    chat_model = LocalChatModel(save_smollm2(tmp_path), max_tokens=32)
    questions = [IN_WHICH_CITY, [*IN_WHICH_CITY[:1], {"role": "assistant", "content": "On which day, if I may ask?"}]]

    def replies(chats):
        async def together():
            return await asyncio.gather(*(ModelUser(BOOKING, model=chat_model).reply(chat) for chat in chats))

        return asyncio.run(together())

    city, day = replies(questions)
    assert "Paris" in city
    assert [city] + [day] == replies(questions[:1]) + replies(questions[1:])
