# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_infopo.fusion import (
    Agreement,
    fuse_advantages,
    gain_reward_correlation,
    group_gates,
    normalize_information_gain,
    variance_gate,
)


NAN = math.nan
# Multiples of 1/8, so that ties are exact in any precision
REWARDS = st.one_of(st.just(NAN), st.integers(-16, 16).map(lambda n: n / 8))
GAINS = st.integers(-40, 40).map(lambda n: n / 8)
CASES = json.loads((Path(__file__).parent / "golden" / "fusion.json").read_text())
OUTPUTS = ["turn_advantages", "information_advantages", "reward_std", "gate", "scale"]

OPTIONS = st.fixed_dictionaries(
    {
        "coef": st.sampled_from([0.1, 0.5, 2.0]),
        "temperature": st.sampled_from([0.05, 0.5]),
        "gate": st.sampled_from(["variance", "none"]),
        "normalization": st.sampled_from(["group", "group_scale", "batch", "none"]),
        "granularity": st.sampled_from(["turn", "token"]),
        "rescale": st.booleans(),
        "only": st.booleans(),
    }
)


def to_tensor(values, dtype=torch.float64) -> torch.Tensor:
    """Nested lists in which `None` stands for NaN."""
    if isinstance(values, list):
        return torch.stack([to_tensor(value, dtype) for value in values])
    return torch.tensor(NAN if values is None else values, dtype=dtype)


@st.composite
def batches(draw, rewards: st.SearchStrategy = REWARDS, gains: st.SearchStrategy = GAINS) -> dict:
    """Arguments of `fuse_advantages`: ragged rollouts, any of them unscorable, any turn without gain."""
    num_groups, num_generations, max_turns = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    reward_rows, outcome_rows, gain_rows, length_rows = [], [], [], []
    for _ in range(num_groups):
        group = draw(st.lists(rewards, min_size=num_generations, max_size=num_generations))
        scorable = [reward for reward in group if not math.isnan(reward)]
        reward_rows += group
        outcome_rows += [0.0 if math.isnan(reward) else reward - statistics.mean(scorable) for reward in group]
        for _ in range(num_generations):
            num_turns = draw(st.integers(0, max_turns))
            padding = max_turns - num_turns
            turn_gains = draw(st.lists(st.one_of(st.just(NAN), gains), min_size=num_turns, max_size=num_turns))
            lengths = draw(st.lists(st.integers(1, 20), min_size=num_turns, max_size=num_turns))
            gain_rows.append(turn_gains + [NAN] * padding)
            length_rows.append(lengths + [0] * padding)
    return {
        "rewards": to_tensor(reward_rows),
        "outcome_advantages": to_tensor(outcome_rows),
        "information_gain": to_tensor(gain_rows),
        "action_lengths": torch.tensor(length_rows),
        "num_generations": num_generations,
    }


def assert_equal(actual, expected, tolerance: float = 1e-9):
    for name in OUTPUTS:
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name), rtol=tolerance, atol=tolerance)


def mean(pool: list[float]) -> float:
    return statistics.fmean(pool) if pool else 0.0


def std(pool: list[float]) -> float:
    return statistics.stdev(pool) if len(pool) > 1 else 0.0


def naive_fusion(
    batch: dict,
    coef: float,
    temperature: float,
    gate: str,
    normalization: str,
    granularity: str,
    rescale: bool,
    only: bool,
) -> tuple[list[list[float]], list[list[float]]]:
    """Turn advantages and information advantages: the definition, value by value, every pool a plain list."""
    rewards, outcomes = batch["rewards"].tolist(), batch["outcome_advantages"].tolist()
    gains, lengths = batch["information_gain"].tolist(), batch["action_lengths"].tolist()
    B, K, G = len(gains), len(gains[0]), batch["num_generations"]

    def members(i: int) -> list[int]:
        first = i // G * G
        return [j for j in range(first, first + G) if not math.isnan(rewards[j])]

    def value(i: int, k: int) -> float:
        return gains[i][k] / lengths[i][k] if granularity == "token" else gains[i][k]

    information = [[0.0] * K for _ in range(B)]
    for i in range(B):
        rollouts = members(i) if normalization != "batch" else [r for j in range(0, B, G) for r in members(j)]
        pool = []
        for j in rollouts:
            for k in range(K):
                if not math.isnan(gains[j][k]):
                    pool += [value(j, k)] * (lengths[j][k] if granularity == "token" else 1)
        for k in range(K):
            if math.isnan(rewards[i]) or math.isnan(gains[i][k]):
                continue
            if normalization == "none":
                information[i][k] = value(i, k)
            elif normalization == "group_scale":
                information[i][k] = value(i, k) / (math.sqrt(mean([v * v for v in pool])) + 1e-6)
            else:
                information[i][k] = (value(i, k) - mean(pool)) / (std(pool) + 1e-6)

    outcome_tokens, information_tokens = [], []
    for i in range(B):
        for k in range(K):
            if not math.isnan(rewards[i]):
                outcome_tokens += [outcomes[i]] * lengths[i][k]
                information_tokens += [information[i][k]] * lengths[i][k]
    scale = 1.0
    if rescale:
        scale = min(1.0, max(std(outcome_tokens) + 1e-6, 1.0) / (std(information_tokens) + 1e-6))

    advantages = [[0.0] * K for _ in range(B)]
    for i in range(B):
        weight = 1.0
        if gate == "variance":
            weight = 1 / (1 + math.exp(std([rewards[j] for j in members(i)]) / temperature))
        for k in range(K):
            if lengths[i][k] and not math.isnan(rewards[i]):
                bonus = scale * information[i][k]
                advantages[i][k] = bonus if only else outcomes[i] + coef * weight * bonus
    return advantages, information


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_golden_case(case):
    inputs = {name: to_tensor(value) for name, value in case["inputs"].items() if name != "num_generations"}
    fused = fuse_advantages(**inputs, num_generations=case["inputs"]["num_generations"], **case["options"])
    for name, expected in case["expected"].items():
        torch.testing.assert_close(getattr(fused, name), to_tensor(expected), rtol=1e-9, atol=1e-9)


@given(batches(), OPTIONS)
@settings(deadline=None)
def test_agrees_with_the_definition(batch, options):
    fused = fuse_advantages(**batch, **options)
    advantages, information = naive_fusion(batch, **options)
    torch.testing.assert_close(fused.turn_advantages, to_tensor(advantages), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(fused.information_advantages, to_tensor(information), rtol=1e-7, atol=1e-7)


@given(batches(), OPTIONS)
def test_coef_0_gives_the_outcome_advantage_on_every_turn(batch, options):
    fused = fuse_advantages(**batch, **(options | {"coef": 0.0, "only": False}))
    expected = batch["outcome_advantages"][:, None] * (batch["action_lengths"] > 0)
    assert torch.equal(fused.turn_advantages, expected)


@given(batches(), OPTIONS)
def test_only_is_the_rescaled_information_advantage(batch, options):
    fused = fuse_advantages(**batch, **(options | {"only": True}))
    assert torch.equal(fused.turn_advantages, fused.scale * fused.information_advantages)


@given(batches(rewards=st.just(0.75)), OPTIONS)
def test_tied_groups_have_gate_one_half(batch, options):
    fused = fuse_advantages(**batch, **(options | {"gate": "variance"}))
    assert torch.equal(fused.reward_std, torch.zeros_like(fused.reward_std))
    assert torch.equal(fused.gate, torch.full_like(fused.gate, 0.5))


@given(batches(), st.floats(1.01, 10))
def test_the_gate_falls_with_the_spread_of_the_rewards(batch, factor):
    gate, wider_gate = (fuse_advantages(**(batch | {"rewards": batch["rewards"] * f})).gate for f in (1, factor))
    tied = gate == 0.5
    assert torch.equal(wider_gate[tied], gate[tied])
    assert (wider_gate[~tied] < gate[~tied]).all()
    assert (wider_gate > 0).all()


def test_the_gate_temperature_is_the_spread_at_which_it_has_closed_to_a_quarter():
    torch.testing.assert_close(variance_gate(torch.tensor([0.3]), 0.3), torch.tensor([0.2689]), rtol=0, atol=1e-4)


@given(batches())
def test_gate_none_is_one_everywhere(batch):
    assert (fuse_advantages(**batch, gate="none").gate == 1).all()


@given(batches(gains=st.just(NAN)), OPTIONS)
def test_without_gains_the_outcome_advantages_remain(batch, options):
    fused = fuse_advantages(**batch, **(options | {"only": False}))
    expected = batch["outcome_advantages"][:, None] * (batch["action_lengths"] > 0)
    assert torch.equal(fused.turn_advantages, expected)
    assert torch.equal(fused.information_advantages, torch.zeros_like(expected))


@given(batches(rewards=st.just(NAN)), OPTIONS)
def test_without_rewards_every_advantage_is_zero(batch, options):
    fused = fuse_advantages(**batch, **options)
    for name in ("turn_advantages", "information_advantages", "reward_std"):
        assert (getattr(fused, name) == 0).all()


@given(batches(), OPTIONS, st.randoms(use_true_random=False))
def test_permuting_groups_permutes_the_result(batch, options, random):
    num_groups = len(batch["rewards"]) // batch["num_generations"]
    order = list(range(num_groups))
    random.shuffle(order)
    rows = torch.arange(len(batch["rewards"])).view(num_groups, -1)[order].flatten()
    permuted = {name: value if name == "num_generations" else value[rows] for name, value in batch.items()}
    actual, fused = fuse_advantages(**permuted, **options), fuse_advantages(**batch, **options)
    expected = fused._replace(**{name: getattr(fused, name)[rows] for name in OUTPUTS if name != "scale"})
    assert_equal(actual, expected)


@given(batches(rewards=st.sampled_from([0.0, 1.0])))
def test_group_normalization_sums_to_zero_over_the_turns_of_a_group(batch):
    information = fuse_advantages(**batch).information_advantages
    sums = information.reshape(-1, batch["num_generations"] * information.size(1)).sum(1)
    torch.testing.assert_close(sums, torch.zeros_like(sums), rtol=0, atol=1e-9)


@given(batches(rewards=st.sampled_from([0.0, 1.0])), st.sampled_from(["turn", "token"]))
def test_group_scale_keeps_the_sign(batch, granularity):
    fused = fuse_advantages(**batch, normalization="group_scale", granularity=granularity)
    assert torch.equal(fused.information_advantages.sign(), batch["information_gain"].nan_to_num(0.0).sign())


@given(batches(), OPTIONS)
def test_normalization_none_keeps_the_gain(batch, options):
    fused = fuse_advantages(**batch, **(options | {"normalization": "none", "granularity": "turn"}))
    expected = (batch["information_gain"] * (batch["rewards"] * 0 + 1)[:, None]).nan_to_num(0.0)
    assert torch.equal(fused.information_advantages, expected)


@given(batches(), OPTIONS, st.integers(0, 30))
def test_turns_without_gain_get_zero_and_enter_no_pool(batch, options, length):
    names = ("normalization", "granularity")
    arguments = (batch["num_generations"], *(options[name] for name in names))
    unscored = batch["information_gain"].isnan()
    expected = normalize_information_gain(batch["information_gain"], batch["action_lengths"], *arguments)
    assert (expected[unscored] == 0).all()

    lengths = batch["action_lengths"].masked_fill(unscored, length)
    assert torch.equal(normalize_information_gain(batch["information_gain"], lengths, *arguments), expected)

    # The same turns with others without gain before them
    others = torch.full((len(unscored), 2), NAN, dtype=torch.float64)
    gains = torch.cat([others, batch["information_gain"]], dim=1)
    lengths = torch.cat([torch.full_like(others, length), batch["action_lengths"]], dim=1)
    actual = normalize_information_gain(gains, lengths, *arguments)
    torch.testing.assert_close(actual[:, 2:], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coef": NAN}, "`coef` is nan, set it to a finite number"),
        ({"coef": "0.5"}, "`coef` is '0.5', set it to a finite number"),
        ({"temperature": 0.0}, "`temperature` is 0.0, set it above 0"),
        ({"temperature": math.inf}, "`temperature` is inf, set it to a finite number"),
        ({"gate": "variants"}, "`gate` is 'variants', choose one of .* Did you mean 'variance'?"),
        ({"normalization": "turn"}, "`normalization` is 'turn', choose one of"),
        ({"granularity": "word"}, "`granularity` is 'word', choose one of"),
    ],
)
def test_wrong_options_are_clear_errors(options, message):
    tensors = [torch.zeros(2), torch.zeros(2), torch.zeros(2, 1), torch.ones(2, 1)]
    with pytest.raises(ValueError, match=message):
        fuse_advantages(*tensors, 2, **options)


@given(OPTIONS)
def test_what_is_not_finite_counts_as_missing(options):
    """An infinite reward or gain is none, and what the trainer made of a reward that is none is not looked at."""
    batch = {
        "rewards": torch.tensor([NAN, 1.0, 0.0, 0.0]),
        "outcome_advantages": torch.tensor([0.0, 0.7, -0.7, 0.0]),
        "information_gain": torch.tensor([[1.0, NAN], [2.0, NAN], [0.5, 1.0], [1.0, NAN]]),
        "action_lengths": torch.tensor([[3.0, 2.0]] * 4),
        "num_generations": 2,
    }
    expected = fuse_advantages(**batch, **options)
    assert all(value.isfinite().all() for value in expected)
    gains = batch["information_gain"]
    batch |= {
        "rewards": batch["rewards"].masked_fill(batch["rewards"].isnan(), math.inf),
        "outcome_advantages": torch.tensor([NAN, 0.7, -0.7, 0.0]),
        "information_gain": gains.masked_fill(gains.isnan(), -math.inf),
    }
    for value, other in zip(expected, fuse_advantages(**batch, **options)):
        assert torch.equal(value, other)


@given(batches(), OPTIONS, st.floats(-100, 100), st.integers(0, 30))
def test_an_unscorable_rollout_takes_no_part(batch, options, gain, length):
    fused = fuse_advantages(**batch, **options)
    unscorable = batch["rewards"].isnan()
    assert (fused.turn_advantages[unscorable] == 0).all()
    assert (fused.information_advantages[unscorable] == 0).all()

    changed = {
        "information_gain": batch["information_gain"].masked_fill(unscorable[:, None], gain),
        "action_lengths": batch["action_lengths"].masked_fill(unscorable[:, None], length),
    }
    assert_equal(fuse_advantages(**(batch | changed), **options), fused, tolerance=0)


@given(batches(), OPTIONS, st.integers(1, 20))
def test_token_granularity_with_equal_lengths_is_turn_granularity_up_to_scale(batch, options, length):
    batch = batch | {"action_lengths": (batch["action_lengths"] > 0) * length}
    turn, token = (
        fuse_advantages(**batch, **(options | {"granularity": granularity})).information_advantages
        for granularity in ("turn", "token")
    )
    for rows, token_rows in zip(turn.split(batch["num_generations"]), token.split(batch["num_generations"])):
        largest = rows.abs().max()
        if largest > 1e-9:
            ratio = token_rows.abs().max() / largest
            assert ratio > 0
            torch.testing.assert_close(token_rows, rows * ratio, rtol=1e-6, atol=1e-6)
        else:
            torch.testing.assert_close(token_rows, rows, rtol=0, atol=1e-6)


@given(batches(gains=st.floats(-1e6, 1e6)), OPTIONS, st.sampled_from([torch.float32, torch.float64]))
def test_every_output_is_finite_and_has_the_dtype_of_the_rewards(batch, options, dtype):
    batch = {name: value.to(dtype) if torch.is_tensor(value) else value for name, value in batch.items()}
    fused = fuse_advantages(**batch, **options)
    for value in fused:
        assert value.isfinite().all()
        assert value.dtype == dtype
    assert 0 < fused.scale <= 1


@given(batches(), OPTIONS)
def test_rescaling_bounds_the_spread_of_the_information_advantages(batch, options):
    fused = fuse_advantages(**batch, **(options | {"rescale": True, "only": True}))
    repeats = (batch["action_lengths"] * ~batch["rewards"].isnan()[:, None]).flatten()
    outcome = batch["outcome_advantages"][:, None].expand_as(fused.turn_advantages).flatten()
    spreads = [
        std(values.repeat_interleave(repeats).tolist()) for values in (fused.turn_advantages.flatten(), outcome)
    ]
    assert spreads[0] <= max(spreads[1], 1) + 1e-5


@given(batches(), OPTIONS)
def test_appending_a_column_without_turns_changes_nothing(batch, options):
    gains, lengths = batch["information_gain"], batch["action_lengths"]
    wider = {
        "information_gain": torch.cat([gains, torch.full_like(gains[:, :1], NAN)], dim=1),
        "action_lengths": torch.cat([lengths, torch.zeros_like(lengths[:, :1])], dim=1),
    }
    actual, fused = fuse_advantages(**(batch | wider), **options), fuse_advantages(**batch, **options)
    zeros = torch.zeros_like(gains[:, :1])
    expected = fused._replace(
        turn_advantages=torch.cat([fused.turn_advantages, zeros], dim=1),
        information_advantages=torch.cat([fused.information_advantages, zeros], dim=1),
    )
    assert_equal(actual, expected)


@given(batches(), OPTIONS)
def test_float32_is_close_to_float64(batch, options):
    # Gains divided by lengths tie only up to rounding, which normalization would blow up
    options = options | {"granularity": "turn"}
    single = {name: value.float() if torch.is_tensor(value) else value for name, value in batch.items()}
    fused = fuse_advantages(**single, **options)
    assert_equal(fused._make(value.double() for value in fused), fuse_advantages(**batch, **options), tolerance=1e-4)


# ------------------------------------------------------------------------------------------ what we have added


@given(batches())
def test_correlation_is_pearsons_within_each_group(batch):
    rewards, gains, num_generations = batch["rewards"], batch["information_gain"], batch["num_generations"]
    correlations = gain_reward_correlation(gains, rewards, num_generations)
    for group, correlation in enumerate(correlations.tolist()):
        rows = [i for i in range(group * num_generations, (group + 1) * num_generations) if rewards[i].isfinite()]
        assert math.isnan(correlation) or abs(correlation) <= 1 + 1e-6
        if len(rows) < 2:
            continue
        values = np.array([[gains[i][gains[i].isfinite()].sum().item(), rewards[i].item()] for i in rows])
        if (values.std(0) < 1e-2 * (1 + abs(values).max(0))).any():
            continue  # of which nothing is left but rounding
        assert correlation == pytest.approx(np.corrcoef(values.T)[0, 1], abs=1e-4)


@given(
    st.floats(-1e4, 1e4, width=32),
    st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=40),
    st.booleans(),
)
def test_groups_that_tie_have_no_correlation(tied, others, rewards_tie):
    """Whatever the tied value: its mean, in float32, may differ from it."""
    tied, others = torch.full((len(others),), tied), torch.tensor(others)
    rewards, gains = (tied, others) if rewards_tie else (others, tied)
    assert gain_reward_correlation(gains[:, None], rewards, len(others)).isnan().all()


@given(st.floats(-1e4, 1e4, width=32), st.integers(2, 40))
def test_groups_that_tie_do_so_whatever_the_value(tied, num_generations):
    """Its mean, in float32, may differ from it."""
    rewards = torch.full((num_generations,), tied)
    reward_std, gates = group_gates(rewards, num_generations, 1e-6)
    assert (reward_std == 0).all()
    assert (gates == 0.5).all()


def test_small_rewards_correlate_as_large_ones_do():
    gains, rewards = torch.tensor([[0.1], [0.2], [0.3], [0.1]]), torch.tensor([0.0, 1.0, 1.0, 0.0])
    correlation = gain_reward_correlation(gains, rewards, 4)
    torch.testing.assert_close(gain_reward_correlation(gains, rewards * 1e-8, 4), correlation)


def after(correlations: list[list[float]]) -> float:
    agreement = Agreement()
    for step in correlations:
        agreement = agreement.update(to_tensor(step))
    return agreement.weight


def test_agreement_trusts_gains_at_first_and_then_what_was_seen():
    assert after([]) == 1
    assert after([[0.9] * 8] * 40) == 1
    assert after([[-0.5] * 8] * 40) == 0
    assert 0 < after([[0.0] * 8] * 3) < 1
    assert after([[0.15] * 8] * 200) == pytest.approx(0.5, abs=0.05)


def test_agreement_that_is_never_measured_fades():
    weights = [after([[math.nan] * 8] * steps) for steps in (0, 20, 100, 400)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] < 0.01


@given(st.lists(st.lists(st.floats(-1, 1) | st.just(math.nan), min_size=1, max_size=4), max_size=20))
def test_agreement_is_a_share(correlations):
    assert 0 <= after(correlations) <= 1


@given(batches(), st.floats(0, 1))
def test_a_gate_factor_scales_the_information_alone(batch, factor):
    plain = fuse_advantages(**batch)
    scaled = fuse_advantages(**batch, gate_factor=factor)
    outcome = fuse_advantages(**batch, coef=0.0).turn_advantages
    torch.testing.assert_close(scaled.turn_advantages - outcome, factor * (plain.turn_advantages - outcome))
