# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

# /// script
# dependencies = ["trl-infopo[users,peft]"]
#
# [tool.uv.sources]
# trl-infopo = { path = "..", editable = true }
# ///
"""
Train an agent to find out what a user wants before it proposes something.

The request says only what kind of thing is wanted: a trip, a table, a gift. Some wishes are hidden and weigh more than
others, and the agent asks for them in plain text. The coefficient and the temperature of the
gate are the paper's for user-centric games.

```bash
python examples/clarify.py --model_name_or_path Qwen/Qwen3-0.6B --output_dir clarify-agent
```

All options of `InfoPOConfig` and of TRL's `ModelConfig` (PEFT, quantization) can be given; `--help` lists them, and
`--config my.yaml` reads them from a file. An adapter (`--use_peft`) needs ten times the learning rate of full
training, `--learning_rate 1e-5`.
"""

from dataclasses import dataclass, field
from functools import partial

from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo.environments import ClarifyEnv, clarify_dataset
from trl_infopo.scripts.arguments import check_fields, parse_arguments
from trl_infopo.users import PERSONAS, ChatUser, ScriptedUser


@dataclass
class ScriptArguments:
    """Arguments of the example, besides those of the trainer and the model."""

    num_tasks: int = field(default=2000, metadata={"help": "Number of training tasks."})
    num_eval_tasks: int = field(default=64, metadata={"help": "Number of tasks of the validation split."})
    persona: str = field(
        default="plain",
        metadata={"help": "Persona of the scripted user.", "choices": list(PERSONAS)},
    )
    user_model: str | None = field(
        default=None,
        metadata={
            "help": "Language model that plays the user instead of the script. Its key is taken from the environment "
            "variable OPENAI_API_KEY; a local server takes any text."
        },
    )
    user_base_url: str | None = field(
        default=None,
        metadata={
            "help": "OpenAI-compatible endpoint of `user_model`. If not set, the environment variable "
            "OPENAI_BASE_URL, or else OpenAI's."
        },
    )

    def __post_init__(self):
        check_fields(self, positive=["num_tasks", "num_eval_tasks"])


def main(argv: list[str] | None = None) -> None:
    parser = TrlParser((ScriptArguments, InfoPOConfig, ModelConfig))
    parser.set_defaults(
        output_dir="clarify-agent",
        info_gain_coef=0.5,
        gate_temperature=0.5,
        max_turns=12,
        num_generations=8,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        max_completion_length=2048,
        chat_template_kwargs={"enable_thinking": False},
        log_completions=True,
        logging_steps=1,
    )
    args, training_args, model_args = parse_arguments(parser, argv, required=["model_name_or_path"])
    training_args.model_init_kwargs = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
        **(training_args.model_init_kwargs or {}),
    }

    if args.user_model is None:
        make_user = partial(ScriptedUser, persona=args.persona)
    else:
        make_user = partial(ChatUser, model=args.user_model, base_url=args.user_base_url)

    trainer = InfoPOTrainer(
        model=model_args.model_name_or_path,
        args=training_args,
        train_dataset=clarify_dataset("train", args.num_tasks, training_args.seed),
        eval_dataset=clarify_dataset("validation", args.num_eval_tasks, training_args.seed),
        environment_factory=partial(ClarifyEnv, make_user=make_user),
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
