# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Options hold what they may hold, or are an error that names the option, the value and the way out."""

import math
from dataclasses import fields
from typing import get_type_hints

import pytest
import torch
from case_names import case_name
from hypothesis import given
from hypothesis import strategies as st
from trl import GRPOConfig

from trl_infopo import InfoPOConfig
from trl_infopo._options import check_bool, check_choice, check_number, did_you_mean
from trl_infopo.fusion import fuse_advantages


OWN = [option.name for option in fields(InfoPOConfig) if option.name in InfoPOConfig.__annotations__]
FLOATS = [
    name for name, kind in get_type_hints(GRPOConfig).items() if "float" in str(kind) and "list" not in str(kind)
]
BAD = ["0.5", "false", "", [], {}, (), object(), 1j, math.nan, -math.inf, b"1", HALF := "\ud83d"]


def make_config(**options):
    return InfoPOConfig("output", use_cpu=True, bf16=False, report_to="none", **options)


@pytest.mark.parametrize("value", BAD, ids=case_name)
@pytest.mark.parametrize("name", [name for name in OWN if name != "masked_feedback"])
def test_a_value_of_the_wrong_kind_is_a_clear_error(name, value):
    with pytest.raises(ValueError, match=f"^`{name}` is .*(set it to|choose one of) .*\\.$"):
        make_config(**{name: value})


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("value", [-(10**5000), Unspeakable()], ids=["int", "Unspeakable"])
@pytest.mark.parametrize("name", OWN)
def test_a_value_that_cannot_be_shown_is_named_by_its_type(name, value):
    with pytest.raises(ValueError, match=f"^`{name}` is <{type(value).__name__}>, .*([Ss]et it to|choose one of) "):
        make_config(**{name: value})


@pytest.mark.parametrize("name", [name for name in OWN if "None" not in str(InfoPOConfig.__annotations__[name])])
def test_nothing_is_no_value(name):
    with pytest.raises(ValueError, match=f"^`{name}` is None, .*([Ss]et it to|choose one of)"):
        make_config(**{name: None})


@pytest.mark.parametrize("value", ["", " \n", 3, HALF, b"nothing", ["nothing"]])
def test_a_placeholder_is_text_that_can_be_encoded(value):
    with pytest.raises(ValueError, match="^`masked_feedback` is .* Set it to a text"):
        make_config(masked_feedback=value)


@pytest.mark.parametrize(
    "name", ["info_gain_batch_size", "max_turns", "user_concurrency", "info_gain_rescale", "info_gain_only"]
)
def test_half_a_number_is_no_whole_one_and_no_switch(name):
    with pytest.raises(ValueError, match=f"`{name}` is 1.5, set it to"):
        make_config(**{name: 1.5})


@pytest.mark.parametrize("name", FLOATS)
def test_what_is_inherited_takes_no_nan(name):
    with pytest.raises(ValueError, match=f"`{name}` is nan, set it to a finite number"):
        make_config(**{name: math.nan})


@pytest.mark.parametrize("name", ["learning_rate", "beta", "weight_decay", "adam_epsilon", "temperature", "epsilon"])
def test_what_is_inherited_takes_no_infinity(name):
    with pytest.raises(ValueError, match=f"`{name}` is inf, set it to a finite number"):
        make_config(**{name: math.inf})
    with pytest.raises(ValueError, match=r"`reward_weights` is \[1.0, inf\], set it to a finite number"):
        make_config(reward_weights=[1.0, math.inf])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_grad_norm", math.inf),
        ("entropy_target", math.inf),
        ("entropy_coef_max", math.inf),
        ("vllm_importance_sampling_clip_min", -math.inf),
    ],
)
def test_no_limit_may_be_infinite(name, value):
    assert getattr(make_config(**{name: value}), name) == value


def test_a_misspelt_option_names_the_nearest():
    with pytest.raises(TypeError, match="no option `info_gain_coeff`. Did you mean 'info_gain_coef'?"):
        make_config(info_gain_coeff=0.5)


def test_an_own_configuration_may_take_more():
    class Config(InfoPOConfig):
        def __init__(self, extra, **kwargs):
            super().__init__(**kwargs)
            self.extra = extra

    assert Config(1, output_dir="output", use_cpu=True, bf16=False).extra == 1
    assert Config(extra=1, output_dir="output", use_cpu=True, bf16=False).extra == 1


ANY_FLOAT = st.floats() | st.sampled_from([0.0, 1e-300, 5e-324, 1e-40, 1e300, -0.0])


@given(coef=ANY_FLOAT, temperature=ANY_FLOAT)
def test_any_float_is_refused_or_gives_finite_advantages(coef, temperature):
    try:
        config = make_config(info_gain_coef=coef, gate_temperature=temperature)
    except ValueError as error:
        assert str(error).startswith(("`info_gain_coef` is ", "`gate_temperature` is "))  # noqa: PT017
        return
    fused = fuse_advantages(
        torch.tensor([0.0, 1.0, 0.0, 0.0]),
        torch.tensor([-0.7, 0.7, 0.0, 0.0]),
        torch.tensor([[1.0, 2.0], [-1.0, torch.nan], [0.5, torch.inf], [3.0, torch.nan]]),
        torch.tensor([[3.0, 2.0], [4.0, 0.0], [1.0, 1.0], [2.0, 5.0]]),
        2,
        coef=config.info_gain_coef,
        temperature=config.gate_temperature,
    )
    assert all(value.isfinite().all() for value in fused)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 5), st.integers(-5, 5))
def test_bounds_hold(value, low, high):
    def passes(**bounds):
        try:
            check_number("option", value, **bounds)
        except ValueError:
            return False
        return True

    assert passes()
    assert passes(at_least=low) == (value >= low)
    assert passes(above=low) == (value > low)
    assert passes(at_most=high) == (value <= high)
    assert passes(at_least=low, at_most=high) == (low <= value <= high)
    assert passes(integer=True) == isinstance(value, int)


def test_errors_say_what_would_do():
    with pytest.raises(ValueError, match="`n` is 0, set it to at least 1, or to None for all."):
        check_number("n", 0, integer=True, at_least=1, hint="or to None for all")
    with pytest.raises(ValueError, match="`n` is '1', set it to a whole number, at least 1 and at most 3."):
        check_number("n", "1", integer=True, at_least=1, at_most=3)
    with pytest.raises(ValueError, match="`x` is 1000.*, set it to a finite number"):
        check_number("x", 10**400)
    with pytest.raises(ValueError, match="`n` is 1000.*, set it to a whole number of fewer digits, at least 1."):
        check_number("n", 10**400, integer=True, at_least=1)
    with pytest.raises(ValueError, match="`x` is 'yes', set it to True or False."):
        check_bool("x", "yes")
    with pytest.raises(ValueError, match=r"`x` is 'gruop', choose one of \['group', 'batch'\]. Did you mean 'group'?"):
        check_choice("x", "gruop", ["group", "batch"])
    assert did_you_mean("zzz", ["group"]) == ""
