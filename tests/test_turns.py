# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import copy
import re
from pathlib import Path

import pytest
import trl
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from trl_infopo.turns import (
    Turn,
    feedback_blocks,
    find_exchanges,
    mask_content_ids,
    mask_messages,
    render_feedback,
    segment_turns,
)


ACTION_MASKS = st.lists(st.sampled_from([0, 1]), max_size=40)


@given(ACTION_MASKS)
def test_turns_partition_the_completion_from_the_first_sampled_token_on(action_mask):
    positions = [i for turn in segment_turns(action_mask) for run in (turn.action, turn.observation) for i in run]
    first = action_mask.index(1) if 1 in action_mask else len(action_mask)
    assert positions == list(range(first, len(action_mask)))


@given(ACTION_MASKS)
def test_actions_are_sampled_and_observations_are_external(action_mask):
    turns = segment_turns(action_mask)
    assert all(action_mask[i] == 1 for turn in turns for i in turn.action)
    assert all(action_mask[i] == 0 for turn in turns for i in turn.observation)


@given(ACTION_MASKS)
def test_every_turn_acts_and_every_turn_but_the_last_observes(action_mask):
    turns = segment_turns(action_mask)
    assert all(turn.action for turn in turns)
    assert all(turn.observation for turn in turns[:-1])


@given(ACTION_MASKS)
def test_a_leading_run_of_external_tokens_belongs_to_the_prompt(action_mask):
    def shift(run: range) -> range:
        return range(run.start + 3, run.stop + 3)

    expected = [Turn(shift(turn.action), shift(turn.observation)) for turn in segment_turns(action_mask)]
    assert segment_turns([0, 0, 0, *action_mask]) == expected


def test_exchanges_are_equal_that_asked_and_got_the_same():
    def ask(slot, answer, note=""):
        call = {"type": "function", "function": {"name": "ask", "arguments": {"slot": slot}}}
        return [
            {"role": "assistant", "content": note, "tool_calls": [call]},
            {"role": "tool", "name": "ask", "content": answer},
        ]

    def say(text, reply):
        return [{"role": "assistant", "content": text}, {"role": "user", "content": reply}]

    completion = [
        *ask("city", "paris"),
        *ask("city", "paris", note="again"),
        *ask("city", "oslo"),
        *ask("day", "paris"),
        *say("Where?", "Paris."),
        *say("Where?", "Paris."),
        *say("When?", "Paris."),
        {"role": "assistant", "content": "Goodbye."},
    ]
    same, again, *others = find_exchanges(completion)
    assert same == again
    assert others[2] == others[3]
    assert len(others) == 5
    assert len({same, *others}) == 5


def test_a_trailing_observation_belongs_to_the_last_turn():
    assert segment_turns([1, 0, 1, 1, 0, 0]) == [Turn(range(0, 1), range(1, 2)), Turn(range(2, 4), range(4, 6))]


def test_a_turn_without_observation_has_an_empty_range_after_its_action():
    [turn] = segment_turns([1, 1])
    assert (turn.observation.start, turn.observation.stop) == (2, 2)


@pytest.mark.parametrize("action_mask", [[], [0], [0, 0, 0]])
def test_without_sampled_tokens_there_are_no_turns(action_mask):
    assert segment_turns(action_mask) == []


@pytest.mark.parametrize("value", [-1, 2, 0.5])
def test_an_action_mask_holds_zeros_and_ones_only(value):
    with pytest.raises(ValueError, match=rf"{value}.*`env_mask`"):
        segment_turns([1, value, 0])


def test_parallel_tool_calls_are_one_block():
    first, second, third = ({"role": "tool", "name": "search", "content": text} for text in "abc")
    call = {"role": "assistant", "tool_calls": [{}], "content": ""}
    assert feedback_blocks([call, first, second, call, third, call]) == [[first, second], [third]]


def test_a_reply_is_a_block_and_a_last_action_has_none():
    tool = {"role": "tool", "content": "a"}
    action, reply = {"role": "assistant", "content": "?"}, {"role": "user", "content": "!"}
    assert feedback_blocks([action, reply, action, tool, tool, action, reply]) == [[reply], [tool, tool], [reply]]
    assert feedback_blocks([action]) == []
    assert feedback_blocks([]) == []


def test_masking_replaces_string_content_and_keeps_the_other_keys():
    message = {"role": "tool", "name": "search", "tool_call_id": "7", "content": "three hotels"}
    assert mask_messages([message], "Nothing.") == [{**message, "content": "Nothing."}]


def test_masking_replaces_structured_content_by_one_block_of_text():
    content = [{"type": "image", "image": "map.png"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    masked = mask_messages([{"role": "user", "content": content}], "Nothing.")
    assert masked == [{"role": "user", "content": [{"type": "text", "text": "Nothing."}]}]


def test_masking_leaves_the_messages_themselves_alone():
    messages = [{"role": "tool", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]
    before = copy.deepcopy(messages)
    assert len(mask_messages(messages, "Nothing.")) == 2
    assert messages == before


@given(st.lists(st.integers(0, 99)), st.lists(st.integers(0, 99)))
def test_without_a_content_mask_the_whole_observation_becomes_the_placeholder(observation_ids, placeholder_ids):
    masked_ids = mask_content_ids(observation_ids, placeholder_ids)
    assert masked_ids == placeholder_ids
    assert masked_ids is not placeholder_ids


def test_one_span_of_content_becomes_the_placeholder_and_the_scaffolding_stays():
    assert mask_content_ids([1, 2, 50, 51, 52, 3], [8, 9], [0, 0, 1, 1, 1, 0]) == [1, 2, 8, 9, 3]


def test_each_span_of_content_becomes_one_placeholder():
    assert mask_content_ids([50, 1, 51, 52, 2, 53], [8, 9], [1, 0, 1, 1, 0, 1]) == [8, 9, 1, 8, 9, 2, 8, 9]


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from([0, 1]))), st.lists(st.integers(100, 199), min_size=1))
def test_the_scaffolding_stays_token_for_token(observation, placeholder_ids):
    ids, content_mask = [token_id for token_id, _ in observation], [content for _, content in observation]
    masked_ids = mask_content_ids(ids, placeholder_ids, content_mask)
    assert [i for i in masked_ids if i < 100] == [i for i, content in observation if not content]
    spans = sum(content and not before for before, content in zip([0, *content_mask], content_mask))
    assert [i for i in masked_ids if i >= 100] == placeholder_ids * spans


def test_a_content_mask_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        mask_content_ids([1, 2, 3], [8], [0, 1])


# Tokens that end generation in the models of TRL's chat templates, and what is rendered around a reply after them
CHATML = ("<|im_end|>", "\n<|im_start|>user\nREPLY<|im_end|>\n<|im_start|>assistant\n")
LLAMA = (
    "<|eot_id|>",
    "<|start_header_id|>user<|end_header_id|>\n\nREPLY<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
)
TEMPLATES = {
    "qwen2_5": CHATML,
    "qwen3_training": CHATML,
    "qwen3_instruct_2507": CHATML,
    "lfm2": CHATML,
    "llama3": LLAMA,
    "llama3_2": LLAMA,
    "gemma3": ("<end_of_turn>", "\n<start_of_turn>user\nREPLY<end_of_turn>\n<start_of_turn>model\n"),
    "phi3": ("<|end|>", "\n<|user|>\nREPLY<|end|>\n<|assistant|>\n"),
    "glm4moe": ("<|user|>", "\nREPLY<|assistant|>"),
    "deepseekv3": ("<｜end▁of▁sentence｜>", "<｜User｜>REPLY<｜Assistant｜><think>\n"),
}


def make_template_tokenizer(template: str, end: str) -> PreTrainedTokenizerFast:
    """Bytes, the special tokens that the template names, and the template."""
    chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{template}.jinja").read_text()
    special = sorted({*re.findall(r"<[|｜][^|｜>\s]+[|｜]>|<(?:start|end)_of_turn>", chat_template), end})
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, bos_token="")
    tokenizer.chat_template = chat_template
    return tokenizer


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_reply_is_rendered_without_anything_else(template):
    end, expected = TEMPLATES[template]
    tokenizer = make_template_tokenizer(template, end)
    ends = tokenizer.convert_tokens_to_ids([end])
    ids = render_feedback(tokenizer, [{"role": "user", "content": "REPLY"}], ends)
    assert tokenizer.decode(ids) == expected


@pytest.mark.parametrize("template", TEMPLATES)
def test_all_replies_but_the_first_are_rendered_once(template, monkeypatch):
    end, _ = TEMPLATES[template]
    tokenizer, prefixes = make_template_tokenizer(template, end), {}
    ends, calls = tokenizer.convert_tokens_to_ids([end]), []
    render = type(tokenizer).apply_chat_template
    monkeypatch.setattr(
        type(tokenizer), "apply_chat_template", lambda *args, **kwargs: calls.append(args) or render(*args, **kwargs)
    )
    for i, text in enumerate(["REPLY", "", "dummy", f"{end}REPLY"]):
        ids = render_feedback(tokenizer, [{"role": "user", "content": text}], ends, prefixes=prefixes)
        assert len(calls) == 3 + i
        expected = render_feedback(make_template_tokenizer(template, end), [{"role": "user", "content": text}], ends)
        assert ids == expected
        calls = calls[: 3 + i]
    assert list(prefixes) == ["user"]


@pytest.mark.parametrize(("template", "end"), [("qwen3", "<|im_end|>"), ("gptoss", "<|return|>"), ("llama3", "<|x|>")])
def test_a_template_that_changes_actions_is_refused(template, end):
    tokenizer = make_template_tokenizer(template, end)
    with pytest.raises(ValueError, match="does not keep an assistant message as it was sampled"):
        render_feedback(tokenizer, [{"role": "user", "content": "REPLY"}], tokenizer.convert_tokens_to_ids([end]))


def test_a_tokenizer_needs_to_know_no_word_of_ours():
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "REPLY": 1}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<|im_end|>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", unk_token="<unk>")
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen2_5.jinja").read_text()
    for role in ("user", "tool"):
        feedback = [{"role": role, "name": "ask", "content": "REPLY"}]
        ids = render_feedback(tokenizer, feedback, [tokenizer.eos_token_id])
        assert tokenizer.decode(ids).startswith("<|im_start|>")
        assert tokenizer.decode(ids).count("REPLY") == 1


def test_a_tokenizer_without_tokens_for_text_is_named():
    tokenizer = make_template_tokenizer("qwen3", "<|im_end|>")
    tokenizer.chat_template = "{% for message in messages %}<|im_start|><|im_end|>{% endfor %}"
    with pytest.raises(ValueError, match="whether the tokenizer has tokens for any text"):
        render_feedback(tokenizer, [{"role": "user", "content": "REPLY"}], [tokenizer.eos_token_id])
