# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The trainer: it scores the turns of TRL's rollouts, and fuses the gains with the outcome advantages."""

import logging
import textwrap
import time
import warnings
from typing import Any

import torch
from accelerate.logging import get_logger
from torch import nn
from trl import GRPOTrainer
from trl.trainer.utils import get_config_model_id

from ._checks import check_options, placeholder_of
from ._environment import check_placeholder
from ._options import check_names
from ._show import as_json_text, show
from .conversation_trainer import ConversationTrainer
from .fusion import FusedAdvantages, fuse_advantages, group_gates
from .gating import AdaptiveGate
from .infopo_config import InfoPOConfig
from .information_gain import ignores_left_padding, score_information_gain, select_engine, tree_limitation
from .metrics import infopo_metrics
from .risks import RiskCallback
from .sampled import SampledRollouts
from .traces import ScoredRollouts, TraceWriter
from .turns import Turn, segment_turns


logger = get_logger(__name__)

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
      rollout, by one per token;
    - `_save_rng_state` and `_load_rng_state`, to keep what the gate has learned in checkpoints.

    Generation, rewards, loss and everything else are inherited unchanged.

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
        self._gate = AdaptiveGate(args)
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
            self._gate.save(output_dir)

    def _load_rng_state(self, checkpoint):
        super()._load_rng_state(checkpoint)
        self._gate.load(checkpoint)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        if not self._is_active and not self._traces:
            return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        # Before reward functions can touch the messages
        sampled = SampledRollouts(inputs, completion_ids_list)
        if self.tools:
            sampled.read_messages(completions)
        if self._traces:
            sampled.messages = [tuple(map(as_json_text, pair)) for pair in zip(prompts, completions, strict=True)]
        sampled.rewards_per_func = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._sampled = sampled
        return sampled.rewards_per_func

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if not self._is_active and not self._traces:
            return output
        sampled = self._sampled
        del self._sampled
        trains = self.model.training and self._is_active and self.args.info_gain_coef != 0
        scores = trains or (self._is_active and self.args.log_information_gain)
        if scores and "pixel_values" in output:
            raise ValueError(
                f"`info_gain_coef` is {show(self.args.info_gain_coef)} and the rollouts hold images, which InfoPO "
                "cannot score. Set `info_gain_coef=0.0` and `log_information_gain=False`, or train on text."
            )
        if not scores and self._is_active:
            self._log_columns(len(sampled.rewards_per_func))
        if not scores and not self._traces:
            return output

        # A rollout that is masked from the loss has no turns
        loss_mask = output["completion_mask"] * output.get("tool_mask", 1)
        masks = zip(loss_mask, sampled.completion_ids, strict=True)
        sampled.turns = [segment_turns(mask[: len(ids)].tolist()) for mask, ids in masks]
        sampled.placeholders = self._placeholders(len(sampled.turns))
        if not scores:
            self._traces.rollouts = self._scored_rollouts(sampled, output["advantages"])
            return output

        if "tool_mask" not in output and "feedback_content_mask" in sampled.rows[0]:
            raise ValueError(
                "`rollout_func` returned `feedback_content_mask` without `env_mask`, so that what came from outside "
                "would be trained on. Return `env_mask` as well: 1 on sampled tokens, 0 on external ones."
            )
        turns = sampled.turns
        masked_observations = self._mask_observations(sampled)
        rewards = self._outcomes(sampled.rewards_per_func, turns)
        share_left_out = 0.0
        if trains and self.args.info_gain_min_weight > 0:
            share_left_out = self._leave_out(rewards, masked_observations)
        num_questions = sampled.count_questions(masked_observations)
        start = time.perf_counter()
        with self._progress.at(f"step {self.state.global_step + 1}: scoring the turns of {len(turns)} rollouts"):
            token_logps = {} if self._traces else None
            information_gain = self._score(output, sampled.completion_ids, turns, masked_observations, token_logps)
        seconds = time.perf_counter() - start
        outcome_advantages = output["advantages"]
        fused, any_scored = self._fuse(outcome_advantages, rewards, turns, num_questions, information_gain)

        self._log_infopo({"scoring_seconds": seconds})
        self._warn_of_missing_gains(any_scored or share_left_out == 1)
        if self._traces:
            self._traces.rollouts = self._scored_rollouts(
                sampled, outcome_advantages, masked_observations, information_gain, fused, token_logps
            )
        if trains and (any_scored or self.args.info_gain_only):
            first = self.accelerator.process_index * len(turns)
            local_advantages = fused.turn_advantages[first : first + len(turns)]
            output["advantages"] = torch.zeros_like(output["completion_ids"], dtype=local_advantages.dtype)
            for i, rollout in enumerate(turns):
                for turn, advantage in zip(rollout, local_advantages[i], strict=False):
                    output["advantages"][i, turn.action.start : turn.action.stop] = advantage
        return output

    def _mask_observations(self, sampled: SampledRollouts) -> list[list[list[int] | None]]:
        """For each turn, the token ids of its masked observation; None where it is not scored."""
        return sampled.mask_observations(self._render_feedback, self._tokenizer)

    def _placeholders(self, num_rollouts: int) -> list[str]:
        """The text that masks feedback in each of this process's rollouts."""
        if not self.environments:
            return [self.args.masked_feedback] * num_rollouts
        placeholders = []
        for environment in self.environments:
            placeholders.append(placeholder_of(environment, self.args.masked_feedback))
            check_placeholder(f"{type(environment).__name__}.masked_feedback", placeholders[-1])
        return placeholders

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
                    if not logger.isEnabledFor(logging.INFO):  # the default
                        self._progress.say(text)
            # TRL's log-probabilities are the factual side, unless they depend on random numbers or on left padding
            factual_logps = output.get("old_per_token_logps")
            if factual_logps is not None and (
                self.args.neftune_noise_alpha is not None
                or _is_random(self.model)
                or (is_left_padded and not ignores_left_padding(self.model))
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
            self._gate.see_gains(information_gain, rewards, num_generations)
        fused = fuse_advantages(
            rewards,
            outcome_advantages,
            information_gain,
            action_lengths,
            num_generations,
            coef=self.args.info_gain_coef,
            normalization=self.args.info_gain_normalization,
            granularity=self.args.info_gain_granularity,
            rescale=self.args.info_gain_rescale,
            only=self.args.info_gain_only,
            **self._gate.options,
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
        if self.args.gate == "agreement":
            metrics["gate/agreement"] = self._gate.agreement.weight
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
        return rewards

    def _leave_out(self, rewards: torch.Tensor, masked_observations: list[list[list[int] | None]]) -> float:
        """Exclude from scoring the groups in which information has too little weight. Returns their share."""
        _, gates = group_gates(rewards, self.num_generations, **self._gate.options)
        is_left_out = self.args.info_gain_coef * gates < self.args.info_gain_min_weight
        first = self.accelerator.process_index * len(masked_observations)
        own = is_left_out[first : first + len(masked_observations)].tolist()
        for i, left_out in enumerate(own):
            if left_out:
                masked_observations[i] = [None] * len(masked_observations[i])
        share = is_left_out.float().mean().item()
        self._log_infopo({"skipped_groups": share})
        return share

    def _scored_rollouts(
        self,
        sampled: SampledRollouts,
        outcome_advantages: torch.Tensor,
        masked_observations: list[list[list[int] | None]] | None = None,
        information_gain: torch.Tensor | None = None,
        fused: FusedAdvantages | None = None,
        token_logps: dict[tuple[int, int], torch.Tensor] | None = None,
    ) -> ScoredRollouts:
        """What the traces need of this process's rollouts; without gains where nothing was scored."""
        num_rollouts = len(sampled.turns)
        first = self.accelerator.process_index * num_rollouts
        rewards = sampled.rewards_per_func[first : first + num_rollouts].cpu()
        reward = (rewards * self.reward_weights.cpu()).nansum(dim=1)
        reward[rewards.isnan().all(dim=1)] = torch.nan
        return ScoredRollouts(
            split="train" if self.model.training else "eval",
            first=first,
            num_generations=self.num_generations if self.model.training else self.num_generations_eval,
            messages=sampled.messages,
            completion_ids=sampled.completion_ids,
            turns=sampled.turns,
            feedback=sampled.feedback_texts(masked_observations, self._tokenizer),
            rewards=dict(zip(self.reward_func_names, rewards.T.tolist(), strict=True)),
            reward=reward.tolist(),
            outcome_advantages=outcome_advantages.tolist(),
            episodes=self._episode_facts or [{} for _ in sampled.turns],
            information_gain=information_gain,
            fused=fused,
            token_logps=token_logps or {},
        )

    def _warn_of_missing_gains(self, any_scored: bool) -> None:
        self._batches_without_gain = 0 if any_scored else self._batches_without_gain + 1
        if self._batches_without_gain == MANY_BATCHES:
            warnings.warn(
                f"No turn of the last {MANY_BATCHES} generation batches has a gain, so that InfoPO trains as GRPO "
                "does. A turn has one where feedback comes back and an action follows it: see `infopo/turns/mean`, "
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


def _per_turn(values: torch.Tensor, num_turns: list[int]) -> list[list[float | None]]:
    """Rows of a (B, K) tensor cut to their number of turns, with None for NaN."""
    return [
        [None if value != value else value for value in row[:n]]
        for row, n in zip(values.tolist(), num_turns, strict=True)
    ]


def _is_random(model: nn.Module) -> bool:
    """Whether a forward pass in training mode draws random numbers: dropout, or noise in a router."""
    config = model.config.get_text_config().to_dict()
    noise = [value for name, value in config.items() if ("drop" in name or "jitter" in name) and value]
    return bool(noise) or any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())
