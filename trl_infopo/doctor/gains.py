# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Scores what a policy gains from the feedback of an environment."""

from collections import defaultdict

from .._checks import placeholder_of
from ..policies import ModelPolicy
from ..turns import content_text, feedback_blocks, mask_messages, segment_turns
from .findings import WARNING, Checkup, FeedbackGain, shorten
from .playing import Table, add_failure


PAYS = 0.05  # nats per token


def score_policy(
    checkup: Checkup,
    table: Table,
    policy: ModelPolicy,
    num_episodes: int,
    max_completion_length: int,
    default: str,
) -> list[FeedbackGain]:
    """Let a policy play, and score the gains of its feedback."""
    from ..information_gain import score_information_gain

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
        table.converse(episodes, actor)
        table.reward(episodes)
    except Exception as error:
        add_failure(checkup, "an episode of the policy", error)
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
            f"{shorten(paid.text)!r} from {paid.source} earns {paid.gain:.2f} nats per token, in {paid.num_rows} "
            "different tasks",
            "If it says nothing about the task, as an acknowledgement or an error does, make it the placeholder, or "
            "the policy will learn to ask for it.",
        )
    return gains
