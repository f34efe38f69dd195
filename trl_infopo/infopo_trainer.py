# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The trainer: it scores the turns of TRL's rollouts, and fuses the gains with the outcome advantages."""

import json
import logging
import textwrap
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.logging import get_logger
from torch import nn
from trl import GRPOTrainer
from trl.trainer.utils import get_config_model_id

from ._checks import check_options, placeholder_of
from ._environment import check_placeholder
from ._options import check_names
from ._show import as_json_text
from .conversation_trainer import ConversationTrainer
from .fusion import (
    Agreement,
    FusedAdvantages,
    RewardRange,
    fuse_advantages,
    gain_reward_correlation,
    group_gates,
    headroom,
)
from .infopo_config import InfoPOConfig
from .information_gain import score_information_gain, select_engine, tree_limitation
from .metrics import infopo_metrics
from .risks import RiskCallback
from .rollout import StopReason
from .traces import ScoredRollouts, TraceWriter
from .turns import Turn, content_text, feedback_blocks, find_exchanges, mask_content_ids, mask_messages, segment_turns


logger = get_logger(__name__)

GATE_STATE = "gate_state.json"  # in checkpoints
MANY_BATCHES = 10  # without any gain, after which a run says so


class InfoPOTrainer(ConversationTrainer):
    """
    Trainer for Information-Driven Policy Optimization (InfoPO).

    InfoPO (https://huggingface.co/papers/2603.00656) credits each turn of a multi-turn rollout by how much its
    feedback changed what the agent did next, compared with a counterfactual in which the feedback is masked, and fuses
    that information gain with the outcome through a gate that opens where the rewards of a group tie.

    It takes the arguments of [`~trl.GRPOTrainer`], all but the first three by keyword, and an [`InfoPOConfig`]. It
    overrides:

    - `_calculate_rewards`, to see the rewards and the messages;
    - `_generate_and_score_completions`, to score the turns of the rollouts and to replace the advantages, one per
      rollout, by one per token. Generation, rewards, loss and everything else are inherited unchanged.

    Environments may have a `user` whom the agent talks to: see [`ConversationTrainer`], its base.

    A [`~trl_infopo.risks.RiskCallback`] warns when the logs show a known risk; `remove_callback` removes it.

    Data without turns (no `tools`, `environment_factory` or `rollout_func`) trains as with GRPO, and so does
    `info_gain_coef=0.0`.

    Args:
        model (`str` or [`~transformers.PreTrainedModel`] or [`~peft.PeftModel`]):
            See [`~trl.GRPOTrainer`].
        reward_funcs (`RewardFunc | list[RewardFunc]`, *optional*):
            See [`~trl.GRPOTrainer`].
        args ([`InfoPOConfig`], *optional*):
            Configuration. If `None`, the defaults.
        **kwargs:
            The other arguments of [`~trl.GRPOTrainer`].

    Example:

    ```python
    from trl_infopo import InfoPOConfig, InfoPOTrainer

    trainer = InfoPOTrainer(
        model="Qwen/Qwen3-0.6B",
        args=InfoPOConfig(max_turns=8),
        train_dataset=dataset,
        environment_factory=MyEnvironment,
    )
    trainer.train()
    ```
    """

    _tag_names = ["trl", "infopo"]
    _name = "InfoPO"
    _paper = {
        "title": "InfoPO: Information-Driven Policy Optimization for User-Centric Agents",
        "id": "2603.00656",
        # docstyle-ignore
        "citation": textwrap.dedent("""\
            @article{kong2026infopo,
                title        = {{InfoPO: Information-Driven Policy Optimization for User-Centric Agents}},
                author       = {Fanqi Kong and Jiayi Zhang and Mingyi Deng and Chenglin Wu and Yuyu Luo and Bang Liu},
                year         = 2026,
                eprint       = {arXiv:2603.00656},
            }"""),
    }

    def __init__(self, model, reward_funcs=None, args=None, **kwargs):
        if args is None:
            model_name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = InfoPOConfig(f"{model_name.split('/')[-1]}-InfoPO")
        if not isinstance(args, InfoPOConfig):
            raise TypeError(f"`args` is a {type(args).__name__}, pass an InfoPOConfig: it takes the same parameters.")
        check_names("InfoPOTrainer has no argument", kwargs, GRPOTrainer.__init__)
        # Data without turns trains as with GRPO, whatever the options
        self.multi_turn = any(kwargs.get(name) for name in ("tools", "environment_factory", "rollout_func"))
        if self.multi_turn:
            check_options(args, **kwargs)
        super().__init__(model, reward_funcs, args, **kwargs)
        self.add_callback(RiskCallback)

        self._is_active = self.multi_turn and (args.info_gain_coef != 0 or args.log_information_gain)
        self.info_gain_engine = args.info_gain_engine  # "auto" until the first scoring
        self._batches_without_gain = 0
        self._reward_range = RewardRange()
        self._agreement = Agreement()
        if self.rollout_func is not None and args.info_gain_settled:
            raise ValueError(
                "`info_gain_settled` is True, but how the rollouts of a `rollout_func` end is not known here. Set it "
                "to False."
            )
        self._traces = None
        if args.log_traces:
            self._traces = TraceWriter(args.max_traces_per_step, self._tokenizer, self.reward_func_names)
            self.add_callback(self._traces)
        if self._is_active and self.rollout_func is not None and self.tools:
            raise ValueError(
                "`rollout_func` is given together with tools, which makes TRL ignore its `env_mask`. Call the tools "
                "in `rollout_func`, or leave it out."
            )
        if self._is_active and self.info_gain_engine == "tree" and (limitation := tree_limitation(self.model)):
            raise ValueError(f"`info_gain_engine` is 'tree', but {limitation}. Set it to 'replay', or to 'auto'.")

    def _save_rng_state(self, output_dir):
        super()._save_rng_state(output_dir)
        if self.args.should_save:
            state = {"reward_range": self._reward_range, "agreement": self._agreement}
            Path(output_dir, GATE_STATE).write_text(json.dumps(state), encoding="utf-8")

    def _load_rng_state(self, checkpoint):
        super()._load_rng_state(checkpoint)
        path = Path(checkpoint, GATE_STATE)
        if path.is_file():  # not in those of other trainers
            state = json.loads(path.read_text(encoding="utf-8"))
            self._reward_range, self._agreement = RewardRange(*state["reward_range"]), Agreement(*state["agreement"])

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        # Before reward functions can touch the messages
        blocks = exchanges = messages = None
        if self.tools and (self._is_active or self._traces):
            blocks = [feedback_blocks(completion) for completion in completions]
            exchanges = [find_exchanges(completion) for completion in completions]
        if self._traces:
            messages = [tuple(map(as_json_text, pair)) for pair in zip(prompts, completions, strict=True)]
        rewards_per_func = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self._is_active or self._traces:
            self._rollouts = (inputs, messages, blocks, exchanges, completion_ids_list, rewards_per_func)
        return rewards_per_func

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if not self._is_active and not self._traces:
            return output
        inputs, messages, blocks, exchanges, completion_ids, rewards_per_func = self._rollouts
        del self._rollouts
        trains = self.model.training and self._is_active and self.args.info_gain_coef != 0
        scores = trains or (self._is_active and self.args.log_information_gain)
        if scores and "pixel_values" in output:
            raise ValueError(
                f"`info_gain_coef` is {self.args.info_gain_coef} and the rollouts hold images, which InfoPO cannot "
                "score. Set `info_gain_coef=0.0` and `log_information_gain=False`, or train on text."
            )
        if not scores:
            if self._is_active:
                self._log_columns(len(rewards_per_func))
            if self._traces:
                turns = self._segment(output, completion_ids)
                rollouts = (messages, blocks, completion_ids, turns, rewards_per_func, output["advantages"])
                self._traces.rollouts = self._scored_rollouts(*rollouts)
            return output

        turns = self._segment(output, completion_ids)
        if "tool_mask" not in output and "feedback_content_mask" in inputs[0]:
            raise ValueError(
                "`rollout_func` returned `feedback_content_mask` without `env_mask`, so that what came from outside "
                "would be trained on. Return `env_mask` as well: 1 on sampled tokens, 0 on external ones."
            )
        masked_observations = self._mask_observations(inputs, blocks, completion_ids, turns)
        if self.args.info_gain_settled:
            for i, facts in enumerate(self._episode_facts):
                if facts["stop_reason"] in (StopReason.MAX_TURNS, StopReason.MAX_TOKENS):
                    masked_observations[i] = [None] * len(turns[i])
        rewards = self._outcomes(rewards_per_func, turns)
        share_left_out = 0.0
        if trains and self.args.info_gain_min_weight > 0:
            share_left_out = self._leave_out(rewards, masked_observations)
        num_questions = _count_questions(completion_ids, turns, exchanges, masked_observations)
        start = time.perf_counter()
        with self._progress.at(f"step {self.state.global_step + 1}: scoring the turns of {len(turns)} rollouts"):
            token_logps = {} if self._traces else None
            information_gain = self._score(output, completion_ids, turns, masked_observations, token_logps)
        seconds = time.perf_counter() - start
        outcome_advantages = output["advantages"]
        fused, any_scored = self._fuse(outcome_advantages, rewards, turns, num_questions, information_gain)

        self._log_infopo({"scoring_seconds": seconds})
        self._warn_of_missing_gains(any_scored or share_left_out == 1)
        if self._traces:
            rollouts = (messages, blocks, completion_ids, turns, rewards_per_func, outcome_advantages)
            scores = (masked_observations, information_gain, fused, token_logps)
            self._traces.rollouts = self._scored_rollouts(*rollouts, *scores)
        if trains and any_scored:
            first = self.accelerator.process_index * len(turns)
            local_advantages = fused.turn_advantages[first : first + len(turns)]
            output["advantages"] = torch.zeros_like(output["completion_ids"], dtype=local_advantages.dtype)
            for i, rollout in enumerate(turns):
                for turn, advantage in zip(rollout, local_advantages[i], strict=False):
                    output["advantages"][i, turn.action.start : turn.action.stop] = advantage
        return output

    def _segment(self, output: dict[str, Any], completion_ids: list[list[int]]) -> list[list[Turn]]:
        """Turns of this process's rollouts. One that is masked from the loss has none."""
        loss_mask = output["completion_mask"] * output.get("tool_mask", 1)
        return [segment_turns(mask[: len(ids)].tolist()) for mask, ids in zip(loss_mask, completion_ids, strict=True)]

    def _mask_observations(
        self,
        inputs: list[dict],
        blocks: list[list[list[dict]]] | None,
        completion_ids: list[list[int]],
        turns: list[list[Turn]],
    ) -> list[list[list[int] | None]]:
        """For each turn, the token ids of its masked observation; None where no action follows."""
        masked_observations = []
        for i, rollout in enumerate(turns):
            placeholder = self._placeholder(i)
            answered = rollout[:-1]
            masked = []
            if self.tools:
                if rollout and len(blocks[i]) - len(answered) not in (0, 1):  # no action follows on the last block
                    raise RuntimeError(
                        f"A rollout has {len(answered)} observations between actions, but {len(blocks[i])} blocks of "
                        "messages between the assistant's. Was `_tool_call_loop` overridden?"
                    )
                # Rendered as the real ones were, so that they differ from them in content only
                blocks_masked = (mask_messages(block, placeholder) for block in blocks[i][: len(answered)])
                masked += map(self._render_feedback, blocks_masked)
            else:
                masked = self._mask_external_ids(inputs[i], completion_ids[i], answered, placeholder)
            masked_observations.append(masked + [None] * (len(rollout) - len(answered)))
        return masked_observations

    def _placeholder(self, i: int) -> str:
        """The text that masks feedback in this process's rollout `i`."""
        if not self.environments:
            return self.args.masked_feedback
        placeholder = placeholder_of(self.environments[i], self.args.masked_feedback)
        check_placeholder(f"{type(self.environments[i]).__name__}.masked_feedback", placeholder)
        return placeholder

    def _mask_external_ids(
        self, row: dict, completion_ids: list[int], turns: list[Turn], placeholder: str
    ) -> list[list[int]]:
        """External tokens of a `rollout_func`, masked where `feedback_content_mask` is 1, or all of them."""
        content_mask = row.get("feedback_content_mask")
        if content_mask is not None and len(content_mask) != len(completion_ids):
            raise ValueError(
                f"`feedback_content_mask` has {len(content_mask)} values for a completion of {len(completion_ids)} "
                "tokens. Your `rollout_func` must return one per completion token, as in `env_mask`."
            )
        placeholder_ids = self._tokenizer.encode(placeholder, add_special_tokens=False)
        masked = []
        for turn in turns:
            span = slice(turn.observation.start, turn.observation.stop)
            masked.append(
                mask_content_ids(
                    completion_ids[span], placeholder_ids, None if content_mask is None else content_mask[span]
                )
            )
        return masked

    def _score(
        self,
        output: dict[str, Any],
        completion_ids: list[list[int]],
        turns: list[list[Turn]],
        masked_observations: list[list[list[int] | None]],
        token_logps: dict[tuple[int, int], torch.Tensor] | None,
    ) -> torch.Tensor:
        """Gains of this process's rollouts, of shape (B, K), with K the largest number of turns on any process."""
        max_turns, num_scored, is_left_padded = self._max_over_processes(
            [
                max(1, *map(len, turns)),
                sum(masked is not None for rollout in masked_observations for masked in rollout),
                int(not output["prompt_mask"].all()),
            ]
        )
        information_gain = torch.full((len(turns), max_turns), torch.nan)
        if num_scored == 0:
            return information_gain
        max_over_processes = self._max_over_processes if self.accelerator.num_processes > 1 else None
        with self.accelerator.autocast():
            if self.info_gain_engine == "auto":
                self.info_gain_engine, reason = select_engine(self.model, max_over_processes)
                text = f"Information gain is scored with the {self.info_gain_engine} engine: {reason}."
                if self.info_gain_engine == "replay":
                    logger.warning(text)
                else:
                    logger.info(text)
                    if not logger.isEnabledFor(logging.INFO):  # as usual
                        self._progress.say(text)
            # TRL's log-probabilities are the factual side, unless they depend on random numbers, or on left padding
            # that the model does not simply ignore
            factual_logps = output.get("old_per_token_logps")
            if factual_logps is not None and (
                _is_random(self.model) or (is_left_padded and tree_limitation(self.model) is not None)
            ):
                factual_logps = None
            if self.model.training:
                batch_size = self.args.per_device_train_batch_size
            else:
                batch_size = self.args.per_device_eval_batch_size
            gains = score_information_gain(
                self.model,
                [ids[mask.bool()].tolist() for ids, mask in zip(output["prompt_ids"], output["prompt_mask"])],
                completion_ids,
                turns,
                masked_observations,
                engine=self.info_gain_engine,
                estimator=self.args.info_gain_estimator,
                temperature=self.temperature,
                batch_size=self.args.info_gain_batch_size or batch_size,
                factual_logps=factual_logps,
                max_over_processes=max_over_processes,
                horizon=self.args.info_gain_horizon,
                token_logps=token_logps,
            )
        information_gain[:, : gains.size(1)] = gains
        return information_gain

    def _fuse(
        self,
        outcome_advantages: torch.Tensor,
        rewards: torch.Tensor,
        turns: list[list[Turn]],
        num_questions: torch.Tensor,
        information_gain: torch.Tensor,
    ) -> tuple[FusedAdvantages, bool]:
        """Fused advantages of the rollouts of all processes, logged, and whether any of their turns has a gain."""
        action_lengths = torch.zeros_like(information_gain)
        for i, rollout in enumerate(turns):
            action_lengths[i, : len(rollout)] = torch.tensor([len(turn.action) for turn in rollout])
        columns = [outcome_advantages.cpu()[:, None], num_questions, information_gain, action_lengths]
        gathered = self.accelerator.gather(torch.cat(columns, dim=1).to(self.accelerator.device))
        outcome_advantages, num_questions = gathered[:, 0], gathered[:, 1:4]
        information_gain, action_lengths = gathered[:, 4:].chunk(2, dim=1)
        is_infinite = information_gain.isinf()
        information_gain = information_gain.masked_fill(is_infinite, torch.nan)
        num_infinite = is_infinite.sum().item()
        num_generations = self.num_generations if self.model.training else self.num_generations_eval

        if self.model.training:
            self._agreement = self._agreement.update(
                gain_reward_correlation(information_gain, rewards, num_generations)
            )
        gate_factor, temperature = self._adapt_gate(rewards, num_generations)
        fused = fuse_advantages(
            rewards,
            outcome_advantages,
            information_gain,
            action_lengths,
            num_generations,
            coef=self.args.info_gain_coef,
            temperature=temperature,
            gate=self.args.gate,
            normalization=self.args.info_gain_normalization,
            granularity=self.args.info_gain_granularity,
            rescale=self.args.info_gain_rescale,
            only=self.args.info_gain_only,
            gate_factor=gate_factor,
        )
        metrics = infopo_metrics(
            fused,
            rewards,
            outcome_advantages,
            information_gain,
            action_lengths,
            *num_questions.unbind(1),
            num_generations,
            only=self.args.info_gain_only,
        )
        if self.args.gate_agreement:
            metrics["gate/agreement"] = self._agreement.weight
        self._log_infopo(metrics | {"nonfinite_gains": num_infinite})
        if num_infinite:
            warnings.warn(
                "Turns have a gain that is not finite and count as not scored (`infopo/nonfinite_gains`). The model "
                "gives tokens a probability of 0, or its logits overflow: see whether it masks a part of its "
                "vocabulary, and whether its dtype is wide enough.",
                stacklevel=1,
            )
        self._log_columns(len(rewards), information_gain, action_lengths, fused)
        return fused, not information_gain.isnan().all().item()

    def _outcomes(self, rewards_per_func: torch.Tensor, turns: list[list[Turn]]) -> torch.Tensor:
        """Rewards of all processes' rollouts, of shape (B,); NaN without a reward, or where masked from the loss."""
        rewards = (rewards_per_func * self.reward_weights.to(rewards_per_func.device)).nansum(dim=1)
        num_turns = torch.tensor([len(rollout) for rollout in turns], device=self.accelerator.device)
        counts = ~rewards_per_func.isnan().all(dim=1) & (self.accelerator.gather(num_turns) > 0)
        rewards[~counts] = torch.nan
        if self.model.training:
            self._reward_range = self._reward_range.update(rewards)
        return rewards

    def _leave_out(self, rewards: torch.Tensor, masked_observations: list[list[list[int] | None]]) -> float:
        """Exclude groups in which information has too little weight from scoring. Returns their share."""
        gate_factor, temperature = self._adapt_gate(rewards, self.num_generations)
        _, gates = group_gates(rewards, self.num_generations, temperature, self.args.gate, gate_factor)
        is_left_out = self.args.info_gain_coef * gates < self.args.info_gain_min_weight
        first = self.accelerator.process_index * len(masked_observations)
        own = is_left_out[first : first + len(masked_observations)].tolist()
        for i, left_out in enumerate(own):
            if left_out:
                masked_observations[i] = [None] * len(masked_observations[i])
        share = is_left_out.float().mean().item()
        self._log_infopo({"skipped_groups": share})
        return share

    def _adapt_gate(self, rewards: torch.Tensor, num_generations: int) -> tuple[torch.Tensor, float]:
        """Factor of each rollout's gate, of shape (B,), and the temperature, from what the run has seen so far."""
        args, factor = self.args, torch.ones_like(rewards)
        if args.gate_headroom:
            factor = headroom(rewards.view(-1, num_generations), self._reward_range)
            factor = factor.repeat_interleave(num_generations)
        if args.gate_agreement:
            factor = factor * self._agreement.weight
        is_relative = args.gate_relative and self._reward_range.width > 0
        return factor, args.gate_temperature * (self._reward_range.width if is_relative else 1)

    def _feedback_texts(
        self,
        blocks: list[list[list[dict]]] | None,
        completion_ids: list[list[int]],
        turns: list[list[Turn]],
        masked_observations: list[list[list[int] | None]] | None,
    ) -> list[list[tuple[str, str | None]]]:
        """For the traces: the feedback on each action, and what the counterfactual has in its place."""

        def block_text(messages: list[dict]) -> str:
            return "\n".join(content_text(message["content"]) for message in messages)

        texts = []
        for i, rollout in enumerate(turns):
            if self.tools:
                mask = partial(mask_messages, placeholder=self._placeholder(i))
                pairs = [(block_text(block), block_text(mask(block))) for block in blocks[i]]
            else:
                decode = partial(self._tokenizer.decode, skip_special_tokens=True)
                observations = [completion_ids[i][t.observation.start : t.observation.stop] for t in rollout[:-1]]
                masked = masked_observations[i] if masked_observations else [None] * len(rollout)
                pairs = [(decode(o), decode(m or [])) for o, m in zip(observations, masked, strict=False)]
            texts.append(pairs if masked_observations else [(text, None) for text, _ in pairs])
        return texts

    def _scored_rollouts(
        self,
        messages: list[tuple[str, str]],
        blocks: list[list[list[dict]]] | None,
        completion_ids: list[list[int]],
        turns: list[list[Turn]],
        rewards_per_func: torch.Tensor,
        outcome_advantages: torch.Tensor,
        masked_observations: list[list[list[int] | None]] | None = None,
        information_gain: torch.Tensor | None = None,
        fused: FusedAdvantages | None = None,
        token_logps: dict[tuple[int, int], torch.Tensor] | None = None,
    ) -> ScoredRollouts:
        """What the traces need of this process's rollouts; without gains where nothing was scored."""
        first = self.accelerator.process_index * len(turns)
        rewards = rewards_per_func[first : first + len(turns)].cpu()
        reward = (rewards * self.reward_weights.cpu()).nansum(dim=1)
        reward[rewards.isnan().all(dim=1)] = torch.nan
        return ScoredRollouts(
            split="train" if self.model.training else "eval",
            first=first,
            num_generations=self.num_generations if self.model.training else self.num_generations_eval,
            messages=messages,
            completion_ids=completion_ids,
            turns=turns,
            feedback=self._feedback_texts(blocks, completion_ids, turns, masked_observations),
            rewards=dict(zip(self.reward_func_names, rewards.T.tolist(), strict=True)),
            reward=reward.tolist(),
            outcome_advantages=outcome_advantages.tolist(),
            episodes=self._episode_facts or [{} for _ in turns],
            information_gain=information_gain,
            fused=fused,
            token_logps=token_logps or {},
        )

    def _warn_of_missing_gains(self, any_scored: bool) -> None:
        self._batches_without_gain = 0 if any_scored else self._batches_without_gain + 1
        if self._batches_without_gain == MANY_BATCHES:
            warnings.warn(
                f"No turn of the last {MANY_BATCHES} generation batches has a gain, so that InfoPO trains as GRPO "
                "does. A turn has one where feedback comes back and an action follows on it: see `infopo/turns/mean`, "
                "`infopo/stop/*` and `infopo/nonfinite_gains`, and whether `max_turns` and `max_completion_length` "
                "leave room for an answer.",
                stacklevel=1,
            )

    def _log_columns(
        self,
        num_rollouts: int,
        information_gain: torch.Tensor | None = None,
        action_lengths: torch.Tensor | None = None,
        fused: FusedAdvantages | None = None,
    ) -> None:
        """Add gains, gates and fused advantages to the completions table; None where nothing was scored."""
        columns = dict.fromkeys(("information_gain", "gate", "turn_advantages"), [None] * num_rollouts)
        if fused is not None:
            num_turns = (action_lengths > 0).sum(dim=1).tolist()
            columns["information_gain"] = _per_turn(information_gain, num_turns)
            columns["gate"] = fused.gate.tolist()
            columns["turn_advantages"] = _per_turn(fused.turn_advantages, num_turns)
        for name, values in columns.items():
            self._logs["extra"][name].extend(values)


def _count_questions(
    completion_ids: list[list[int]],
    turns: list[list[Turn]],
    exchanges: list[list[str]] | None,
    masked_observations: list[list[list[int] | None]],
) -> torch.Tensor:
    """For each rollout, counts of turns with an observation, and of those that repeat or equal their masked form."""
    counts = []
    for i, rollout in enumerate(turns):
        answered = [turn for turn in rollout if turn.observation]
        ids = [[completion_ids[i][span.start : span.stop] for span in (t.action, t.observation)] for t in answered]
        asked = exchanges[i] if exchanges is not None else list(map(repr, ids))
        num_repeated = len(asked) - len(set(asked)) if rollout else 0
        masked = masked_observations[i][: len(answered)]
        alike = sum(observation == masked_ids for (_, observation), masked_ids in zip(ids, masked, strict=True))
        counts.append([len(answered), num_repeated, alike])
    return torch.tensor(counts, dtype=torch.float)


def _per_turn(values: torch.Tensor, num_turns: list[int]) -> list[list[float | None]]:
    """Rows of a (B, K) tensor cut to their number of turns, with None for NaN."""
    return [
        [None if value != value else value for value in row[:n]]
        for row, n in zip(values.tolist(), num_turns, strict=True)
    ]


def _is_random(model: nn.Module) -> bool:
    """Whether a forward in training mode draws random numbers: dropout, or noise in a router."""
    config = model.config.get_text_config().to_dict()
    noise = [value for name, value in config.items() if ("drop" in name or "jitter" in name) and value]
    return bool(noise) or any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())
