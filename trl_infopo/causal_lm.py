# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A causal language model taken apart, through whatever wraps it."""

import inspect
from contextlib import contextmanager, nullcontext

import torch
from accelerate.utils import extract_model_from_parallel, is_compiled_module
from torch import nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel


MASKABLE = ("sdpa", "eager", "flex_attention")  # attention implementations that take a mask of our own


class CausalLM:
    """
    A causal language model taken apart: hidden states at chosen positions, and the LM head on chosen states.

    Both go through `model` itself, so that its wrappers (PEFT, DDP, DeepSpeed, FSDP) do their part, such as gathering
    sharded parameters, and the head scales and caps the logits as the model does.

    Args:
        model (`torch.nn.Module`):
            The model, possibly wrapped.
    """

    def __init__(self, model: nn.Module):
        # Compiled, a forward pass may not run hooks that are added later
        self.model = model._orig_mod if is_compiled_module(model) else model
        unwrapped = extract_model_from_parallel(model, keep_torch_compile=False)
        self.adapter = None if isinstance(unwrapped, PreTrainedModel) else unwrapped.active_peft_config
        self.causal_lm = unwrapped if self.adapter is None else unwrapped.get_base_model()
        decoder = self.causal_lm.get_decoder()
        self.backbone = decoder if decoder is not self.causal_lm else self.causal_lm.model
        # Transformers 5.24 renamed the argument that takes a cache
        has_new_name = "cache" in inspect.signature(type(self.backbone).forward).parameters
        self.cache_name = "cache" if has_new_name else "past_key_values"
        self.config = self.causal_lm.config.get_text_config()
        # The load-balancing loss of mixture-of-experts models cannot read a 4-D mask
        self.kwargs = {"output_router_logits": False} if hasattr(self.config, "output_router_logits") else {}
        self.output_type = None

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype in which a forward pass multiplies: the parameters', or that of mixed precision."""
        device_type = self.causal_lm.device.type
        if torch.is_autocast_enabled(device_type):
            return torch.get_autocast_dtype(device_type)
        return self.causal_lm.dtype

    @property
    def max_positions(self) -> int | None:
        """How many positions it has embeddings for; `None` where they are not learned."""
        if getattr(self.config, "rope_parameters", None) is not None:
            return None
        return getattr(self.config, "max_position_embeddings", None)

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on an accelerator."""
        return self.causal_lm.device.type != "cpu"

    def pad(self, rows: list[list[int]], value: int = 0) -> torch.Tensor:
        """Rows right-padded to a tensor of shape (rows, columns), at least (1, 1)."""
        rows = [torch.tensor(row, dtype=torch.long) for row in rows] or [torch.tensor([value])]
        return pad_sequence(rows, batch_first=True, padding_value=value).to(self.causal_lm.device)

    def hidden_states(self, rows: list[list[int]], at: list[tuple[int, int]], **inputs) -> torch.Tensor:
        """Last hidden states at (row, column) after one forward pass over right-padded rows, of shape (N, H)."""
        input_ids = self.pad(rows)
        at = torch.tensor(at, dtype=torch.long, device=input_ids.device).view(-1, 2)
        states = []

        def keep(module, args, output):
            # A prompt-learning adapter prepends virtual tokens
            states.append(output.last_hidden_state[:, -input_ids.size(1) :][at[:, 0], at[:, 1]])
            self.output_type = type(output)
            output.last_hidden_state = output.last_hidden_state[:, -1:]  # leaves next to nothing to the head
            return output

        if self.config._attn_implementation == "flex_attention" and self.on_gpu:
            # For less than 128 queries, torch 2.13 chooses a kernel that grouped-query attention can fail to compile
            inputs["kernel_options"] = {"FORCE_USE_FLEX_ATTENTION": True}
        hook = self.backbone.register_forward_hook(keep)
        try:
            self.model(input_ids=input_ids, **{"use_cache": False, **self.kwargs, **inputs})
        finally:
            hook.remove()
        if not states:
            raise RuntimeError(
                f"The forward of this {type(self.causal_lm).__name__} did not run its own decoder. If it is a deep "
                "copy of a model that a TRL trainer had patched, make a fresh model and copy the state dict into it."
            )
        return states[0]

    def logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The model's own logits for last hidden states of shape (N, H), of shape (N, V)."""
        input_ids = torch.zeros(1, len(hidden_states), dtype=torch.long, device=hidden_states.device)
        output = self.output_type(last_hidden_state=hidden_states[None])
        # TRL's `cast_lm_head_to_fp32` is a forward of the head's own, whose float32 mixed precision would undo
        is_exact = "forward" in vars(self.causal_lm.get_output_embeddings())
        precision = torch.autocast(hidden_states.device.type, enabled=False) if is_exact else nullcontext()
        with precision, _patched(self.backbone, "forward", lambda *args, **kwargs: output):
            return self.model(input_ids=input_ids, use_cache=False, **self.kwargs).logits[0]

    def attention_mask(
        self, trunk_length: int, segment: torch.Tensor, position: torch.Tensor, start: torch.Tensor, first: int = 0
    ) -> torch.Tensor | BlockMask | dict[str, torch.Tensor | BlockMask]:
        """
        Lets a token of a branch see the trunk before the branch's start, and the branch up to itself. The mask has the
        form that the model takes: a block mask for flex attention, boolean for SDPA on a GPU, else additive. If there
        are several kinds of layers, there is one for each.

        Args:
            trunk_length (`int`):
                Number of cached columns of the trunks, padding included.
            segment (`torch.Tensor` of shape `(R, M)`):
                Which branch of its row a token belongs to, -1 on padding.
            position (`torch.Tensor` of shape `(R, M)`):
                Its position in the counterfactual trajectory.
            start (`torch.Tensor` of shape `(R, M)`):
                The position at which its branch leaves the trunk, 0 on padding.
            first (`int`, *optional*, defaults to `0`):
                First column of the queries: those before it are in the cache.
        """
        trunk = torch.arange(trunk_length, device=segment.device).expand(len(segment), -1)
        key_position = torch.cat([trunk, position], dim=1)
        key_segment = torch.cat([torch.full_like(trunk, -2), segment], dim=1)
        segment, position, start = segment[:, first:], position[:, first:], start[:, first:]

        # Functions of indices, as flex attention takes them. It compiles them, so they only look up and compare.
        def visible(row: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            in_trunk = key < start[row, query]
            own = key_segment[row, key] == segment[row, query]  # padding sees padding, so that no row is empty
            return in_trunk | (own & (key_position[row, key] <= position[row, query]))

        def in_window(row: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            return visible(row, head, query, key) & (key_position[row, key] > horizon[row, query])

        def in_chunk(row: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            return visible(row, head, query, key) & (key_chunk[row, key] == chunk[row, query])

        functions = {"full_attention": visible}
        if (window := getattr(self.config, "sliding_window", None)) is not None:
            horizon = position - window
            functions["sliding_attention"] = in_window
        if (size := getattr(self.config, "attention_chunk_size", None)) is not None:
            chunk, key_chunk = position // size, key_position // size
            functions["chunked_attention"] = in_chunk

        def prepare(kind: str) -> torch.Tensor | BlockMask:
            shape = (len(segment), None, segment.size(1), key_segment.size(1))
            if self.config._attn_implementation == "flex_attention":
                return create_block_mask(functions[kind], *shape, device=segment.device)
            row, query, key = (torch.arange(n, device=segment.device) for n in shape if n is not None)
            mask = functions[kind](row[:, None, None], None, query[:, None], key)[:, None]
            # On a CPU, SDPA would make a boolean mask additive in every layer
            if self.config._attn_implementation == "eager" or not self.on_gpu:
                dtype = self.causal_lm.dtype
                mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(
                    ~mask, torch.finfo(dtype).min
                )
            return mask

        if (layer_types := getattr(self.config, "layer_types", None)) is not None:
            return {kind: prepare(kind) for kind in set(layer_types)}
        return prepare(next(reversed(functions)))  # the narrowest that the configuration knows


@contextmanager
def eval_mode(model: nn.Module):
    """No dropout, and no gradient checkpointing, which would drop the cache."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def maskable_attention(policy: CausalLM):
    """Replace attention that does not take a mask of our own, such as FlashAttention, by one that does."""
    config = policy.causal_lm.config
    before = config._attn_implementation
    if before not in MASKABLE:
        policy.causal_lm.set_attn_implementation("sdpa" if policy.causal_lm._supports_sdpa else "eager")
    try:
        yield
    finally:
        if before not in MASKABLE:
            config._attn_implementation = before  # the model itself would look for its kernel again


@contextmanager
def _patched(module: nn.Module, name: str, value):
    """Set an attribute for a while."""
    before = vars(module).get(name)
    setattr(module, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(module, name)
        else:
            setattr(module, name, before)
