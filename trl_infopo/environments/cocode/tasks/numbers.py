# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Functions of numbers."""

from ..._keywords import words
from . import CASE_KEYWORDS, ORDER_KEYWORDS, Detail, Function


ROUND_MONEY = {
    "down to a whole cent": "amount // 100",
    "up to a whole cent": "-(-amount // 100)",
    "to the nearest cent, a half goes up": "(amount + 50) // 100",
}


def draw_scores(rng):
    # No number of scores that may be left is 1, 2, 5 or 10: one and two decimals would be the same
    scores = [None] * 4 + [rng.randrange(5, 500) for _ in range(9)]
    return [rng.sample(scores, 13)]


def draw_points(rng):
    high, middle, low = rng.randrange(50, 90), rng.randrange(20, 50), rng.randrange(1, 20)
    names = rng.sample(["Ann", "Bob", "Cem", "Dan", "Eva", "Fay", "Gus"], 7)
    return [dict(zip(names, [high, high, middle, middle, middle, low, low]))]


def draw_histogram(rng):
    width = rng.choice([4, 6, 8, 10])
    edges = [width * rng.randrange(1, 4), width * 6, width * rng.randrange(9, 12)]
    return [[*edges, width * 6 + 1, *[rng.randrange(1, 4 * width) for _ in range(4)]], width]


def draw_readings(rng):
    low, high = rng.randrange(2, 9), rng.randrange(15, 40)
    plausible = [rng.randrange(low * 100, high * 100) / 100 + 0.003 for _ in range(4)]
    return [rng.sample([low, high, low - 3.5, high + 4.25, *plausible], 8), low, high]


def draw_quiz(rng):
    key = rng.choices("ABCD", k=6)
    return [["", key[1].lower(), key[2], "E", *rng.choices(["", "A", "b"], k=2)], key]


FUNCTIONS = [
    Function(
        "split_bill(total_cents, people)",
        "splits a bill, given in cents, among a number of people and returns a list of what each one pays.",
        """
def split_bill(total_cents, people):
    total = total_cents * (100 + $tip) // 100
    share, rest = divmod(total, people)
    shares = [share] * people
    for i in $leftover:
        shares[i] += 1
    return [$format for cents in shares]
""",
        (
            Detail(
                "tip",
                words("tip, gratuity, service charge, service fee"),
                "Before splitting, {value}.",
                {
                    "do not add any tip": "0",
                    "add a tip of 10%, cut to whole cents": "10",
                    "add a tip of 20%, cut to whole cents": "20",
                },
            ),
            Detail(
                "leftover",
                words(
                    "leftover cents, leftover, left over, remainder, uneven, evenly, remaining, extra cent, "
                    "rest, odd cent, divisible, divide ... exactly, come out even, not divide, spare cent, "
                    "share equally, split equally, split exactly, penny"
                ),
                "When it does not come out even, {value}.",
                {
                    "the first people on the list pay a cent more": "range(rest)",
                    "the last people on the list pay a cent more": "range(people - rest, people)",
                    "the first person pays all that is left over": "[0] * rest",
                },
            ),
            Detail(
                "format",
                words(
                    "format, unit, type, text, look, string, integer, int, float, dollar sign, dollars, "
                    "in cents, decimal, currency symbol, currency sign, number or, represent"
                ),
                "Give each share as {value}.",
                {
                    "a whole number of cents": "cents",
                    "text with two decimals, like 12.05": 'f"{cents // 100}.{cents % 100:02d}"',
                    "text with a dollar sign, like $12.05": 'f"${cents // 100}.{cents % 100:02d}"',
                },
            ),
        ),
        lambda rng: [7 * rng.randrange(900, 9000) + 3, rng.choice([6, 7, 8, 9])],
    ),
    Function(
        "discount_prices(prices, percent)",
        "takes a discount off a list of prices in whole cents and returns the new prices in whole cents.",
        """
def discount_prices(prices, percent):
    reduced = []
    for price in prices:
        amount = price * (100 - percent)
        reduced.append(max($rounding, $minimum))
    return $order
""",
        (
            Detail(
                "rounding",
                words(
                    "rounding, round, fraction, truncate, whole number, whole cents, nearest, half a cent, "
                    "half cent, part of a cent"
                ),
                "Round {value}.",
                ROUND_MONEY,
            ),
            Detail(
                "minimum",
                words("minimum, limit, lowest, floor, cheap, how low, too low, cap, smallest, least, below"),
                "There is {value}.",
                {"no minimum price": "0", "a minimum price of 50 cents": "50", "a minimum price of one dollar": "100"},
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("cheapest first"),
                "I want them {value}.",
                {
                    "in the order that I gave": "reduced",
                    "cheapest first": "sorted(reduced)",
                    "dearest first": "sorted(reduced, reverse=True)",
                },
            ),
        ),
        lambda rng: [
            rng.sample([rng.randrange(101, 4000) for _ in range(6)] + [rng.randrange(11, 40)], 7),
            rng.choice([7, 13, 27, 33, 41]),
        ],
    ),
    Function(
        "average_score(scores)",
        "returns the average of a list of scores, in which a missing score is None.",
        """
def average_score(scores):
    kept = sorted($missing)$outliers
    return $rounding
""",
        (
            Detail(
                "missing",
                words("missing scores, missing, none, absent, null, ignore, no score, without a score, gap"),
                "Missing scores {value}.",
                {
                    "count as zero": "score or 0 for score in scores",
                    "are left out": "score for score in scores if score is not None",
                    "count as fifty": "50 if score is None else score for score in scores",
                },
            ),
            Detail(
                "outliers",
                words(
                    "outliers, outlier, drop, lowest, highest, extreme, discard, trim, worst, best, exclude, "
                    "remove, all scores, every score, -exclude ... missing, -remove ... missing, "
                    "-drop ... missing, -missing ... dropped, -missing ... removed, -missing ... excluded, "
                    "-none ... dropped, -none ... removed, -none ... excluded, -drop ... none, "
                    "-remove ... none, -exclude ... none"
                ),
                "After dealing with missing ones, {value}.",
                {
                    "drop one score, the lowest": "[1:]",
                    "drop one score, the highest": "[:-1]",
                    "drop two scores, the lowest and the highest": "[1:-1]",
                    "use every score": "",
                },
            ),
            Detail(
                "rounding",
                words(
                    "rounding, round, decimal, digits, precision, integer, float, whole number, truncate, "
                    "precise, exact"
                ),
                "Give the result {value}.",
                {
                    "rounded to one decimal": "round(sum(kept) / len(kept), 1)",
                    "rounded to two decimals": "round(sum(kept) / len(kept), 2)",
                    "cut down to a whole number": "sum(kept) // len(kept)",
                },
            ),
        ),
        draw_scores,
    ),
    Function(
        "rank_scores(points)",
        "takes a dictionary of names and points and returns a dictionary of names and ranks.",
        """
def rank_scores(points):
    values = $direction
    return {name: $ties + $start for name, value in points.items()}
""",
        (
            Detail(
                "direction",
                words(
                    "direction, best, highest, lowest, higher, lower, most points, fewest, fewer points, "
                    "more points, ascending, descending, who is first, who wins, better, top rank, largest, "
                    "-the better rank"
                ),
                "The best is whoever has {value}.",
                {
                    "the most points": "sorted(points.values(), reverse=True)",
                    "the fewest points": "sorted(points.values())",
                },
            ),
            Detail(
                "ties",
                words(
                    "ties, tie, equal, same points, identical, same number of points, same score, "
                    "share a rank, shared rank, draw, skip, as many points, gap"
                ),
                "With equal points {value}.",
                {
                    "people share the better rank and the next is skipped, as in 1 2 2 4": "values.index(value)",
                    "people share a rank, none is skipped, as in 1 2 2 3": "list(dict.fromkeys(values)).index(value)",
                    "people share the worse rank, as in 1 3 3 4": "values.index(value) + values.count(value) - 1",
                },
            ),
            Detail(
                "start",
                words(
                    "first rank, start, begin, zero, from one, at one, 0-based, one-based, 1-based, or 0, "
                    "0 or, at 0, from 0, or 1, counting, number ... first"
                ),
                "The first rank is {value}.",
                {"rank number 1": "1", "rank number 0": "0"},
            ),
        ),
        draw_points,
    ),
    Function(
        "histogram(values, width)",
        "counts how many whole numbers fall into each bin of a given even width, and returns [label, count] pairs, "
        "lowest bin first. The bins lie between multiples of the width.",
        """
def histogram(values, width):
    bins = [$edges for value in values]
    return [[$label, bins.count(i)] for i in range(min(bins), max(bins) + 1) if $empty]
""",
        (
            Detail(
                "edges",
                words(
                    "edges, edge, boundary, border, inclusive, multiples, exclusive, upper end, "
                    "lower end ... include, belong, which bin, half-open, between two bins, exactly, limits, "
                    "-upper end or, -upper end as"
                ),
                "A value on the edge of two bins {value}.",
                {"belongs to the upper bin": "value // width", "belongs to the lower bin": "(value - 1) // width"},
            ),
            Detail(
                "empty",
                words(
                    "empty bins, empty, no values, zero, without values, without any, contain nothing, "
                    "no entries, count of 0, unused, nothing in, gap, skip"
                ),
                "Between the first and the last used bin, empty bins {value}.",
                {"are listed with the count 0": "True", "are left out": "i in bins"},
            ),
            Detail(
                "label",
                words("label, name, call ... bin, midpoint, describe, represent, identify, key"),
                "The label of a bin is {value}.",
                {
                    "the number at its lower end": "i * width",
                    "the number at its upper end": "(i + 1) * width",
                    "the number in its middle": "i * width + width // 2",
                    "text with both ends, like 10-20": 'f"{i * width}-{(i + 1) * width}"',
                },
            ),
        ),
        draw_histogram,
    ),
    Function(
        "clean_readings(readings, low, high)",
        "cleans a list of sensor readings with decimals, given the lowest and the highest plausible value.",
        """
def clean_readings(readings, low, high):
    def plausible(reading):
        return $bounds
    cleaned = [$rounding if plausible(reading) else $implausible for reading in readings]
    return [reading for reading in cleaned if reading != "drop"]$order
""",
        (
            Detail(
                "bounds",
                words(
                    "bounds, limit, inclusive, exactly, boundary, equal, edge, lowest ... count, "
                    "highest ... count, count as plausible, themselves, strictly, threshold"
                ),
                "A reading that equals one of the two limits {value}.",
                {"is plausible": "low <= reading <= high", "is not plausible": "low < reading < high"},
            ),
            Detail(
                "implausible",
                words(
                    "implausible readings, implausible, outside, invalid, out of range, out-of-range, "
                    "out of bounds, not plausible, too high, too low, beyond, removed, discard, replaced, "
                    "outlier, bad reading, faulty, unrealistic"
                ),
                "Implausible readings {value}.",
                {"are dropped": '"drop"', "become None": "None", "become -1": "-1"},
            ),
            Detail(
                "rounding",
                words(
                    "rounding, round, decimals, precision, digit, decimal place, precise, truncate, "
                    "whole number, integer"
                ),
                "The plausible ones {value}.",
                {
                    "stay as they are": "reading",
                    "are rounded to one decimal": "round(reading, 1)",
                    "lose their decimals": "int(reading)",
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("newest, oldest, latest first"),
                "Return them {value}.",
                {"oldest first, as given": "", "newest first, so reversed": "[::-1]"},
            ),
        ),
        draw_readings,
    ),
    Function(
        "convert_temperatures(temperatures)",
        "converts a list of temperatures and returns the list in degrees Celsius.",
        """
import math
def convert_temperatures(temperatures):
    converted = []
    for temperature in temperatures:
        celsius = $unit
        value = $rounding
        converted.append($format)
    return converted
""",
        (
            Detail(
                "unit",
                words(
                    "unit, fahrenheit, kelvin, scale, convert from, celsius or, source, originally, "
                    "-unit sign, -with a unit, -unit symbol, -with the unit, -with unit, -output unit, "
                    "-append ... unit, -include ... unit"
                ),
                "My temperatures are in {value}.",
                {"degrees Fahrenheit": "(temperature - 32) * 5 / 9", "Kelvin": "temperature - 273.15"},
            ),
            Detail(
                "rounding",
                words(
                    "rounding, round, decimals, precision, whole degree, decimal place, digit, integer, "
                    "truncate, precise, exact, whole number"
                ),
                "Give them {value}.",
                {
                    "rounded to one decimal": "round(celsius, 1)",
                    "rounded to two decimals": "round(celsius, 2)",
                    "rounded down to a whole number": "math.floor(celsius)",
                    "rounded up to a whole number": "math.ceil(celsius)",
                },
            ),
            Detail(
                "format",
                words(
                    "format, type, text, numbers, string, symbol, float, degree sign, unit sign, with a unit, "
                    "with the unit, with unit, suffix, list of, -list of temperatures"
                ),
                "Return {value}.",
                {"bare numbers": "value", "text with a C behind the number, like 20C": 'f"{value}C"'},
            ),
        ),
        lambda rng: [[rng.randrange(200, 900) for _ in range(4)] + [rng.randrange(100, 400) + 0.4]],
    ),
    Function(
        "make_change(amount)",
        "pays an amount in cents with as few coins as a greedy choice of the largest coin gives.",
        """
def make_change(amount):
    amount = $rounding
    paid = []
    for coin in $coins:
        paid += [coin] * (amount // coin)
        amount %= coin
    return $output
""",
        (
            Detail(
                "coins",
                words(
                    "coins, coin, denominations, currency, values, in circulation, -list of coins, "
                    "-list ... coins, -coins ... listed, -coins ... sorted, -coins ... returned, "
                    "-number of coins, -count the coins, -coin counts, -order ... coin, -sort ... coin, "
                    "-return ... coin, -coins come"
                ),
                "There are {value}.",
                {
                    "coins of 25, 10, 5 and 1": "[25, 10, 5, 1]",
                    "coins of 50, 20, 10, 5 and 1": "[50, 20, 10, 5, 1]",
                    "coins of 20, 8 and 1": "[20, 8, 1]",
                },
            ),
            Detail(
                "rounding",
                words("rounding, round, exact, exactly, multiple of, nearest"),
                "Before paying, {value}.",
                {
                    "leave the amount as it is": "amount",
                    "round the amount up to a multiple of 5": "-(-amount // 5) * 5",
                    "round the amount down to a multiple of 5": "amount // 5 * 5",
                },
            ),
            Detail(
                "output",
                words(
                    "output, result, return, order, format, list of coins, number of coins, counts, listed, "
                    "sort, pairs, list the coins, dictionary, come first, largest first, smallest first"
                ),
                "Return {value}.",
                {
                    "a list of all coins, largest first": "paid",
                    "a list of all coins, smallest first": "paid[::-1]",
                    "pairs of coin and count, largest first": "[[c, paid.count(c)] for c in dict.fromkeys(paid)]",
                    "nothing but the number of coins": "len(paid)",
                },
            ),
        ),
        lambda rng: [rng.randrange(60, 400) * 5 + rng.randrange(1, 5)],
    ),
    Function(
        "moving_average(values, window)",
        "smooths a list of numbers, each with the values just before it, and returns the list.",
        """
import statistics
def moving_average(values, window):
    smoothed = []
    for i in range(len(values)):
        part = values[max(0, i - window + 1) : i + 1]
        number = $rounding
        if len(part) == window:
            smoothed.append(number)
        else:
            $start
    return smoothed
""",
        (
            Detail(
                "start",
                words(
                    "start, beginning, incomplete, short, first few, not full, full window, first value, "
                    "first element, not enough, enough values, too few, fewer, edge, initial, partial, pad, "
                    "-starting with"
                ),
                "At the start, where the window is not full, {value}.",
                {
                    "use the values that there are": "smoothed.append(number)",
                    "leave the values out": "pass",
                    "put None": "smoothed.append(None)",
                    "put the value itself": "smoothed.append(values[i])",
                },
            ),
            Detail(
                "rounding",
                words(
                    "rounding, round, mean, median, average, decimals, decimal place, smooth, precision, "
                    "digit, statistic, aggregate, precise, combine, -average ... start, "
                    "-average ... beginning, -do you mean, -smoothing ... start, -smoothing ... beginning"
                ),
                "Smooth with {value}.",
                {
                    "the mean, rounded to one decimal": "round(statistics.mean(part), 1)",
                    "the mean, rounded to two decimals": "round(statistics.mean(part), 2)",
                    "the median": "statistics.median(part)",
                    "the largest value": "max(part)",
                },
            ),
        ),
        lambda rng: [[rng.randrange(1, 60) for _ in range(8)], rng.choice([3, 4])],
    ),
    Function(
        "normalize_weights(weights)",
        "scales a list of weights.",
        """
def normalize_weights(weights):
    weights = [$negative for weight in weights]
    whole = $target
    return [round(weight / whole, $rounding) for weight in weights]
""",
        (
            Detail(
                "target",
                words("target, scale, sum, total, add up, range, maximum, largest, highest, normalize to"),
                "Scale them so that {value}.",
                {
                    "they add up to 1.0": "sum(weights)",
                    "they add up to 100": "sum(weights) / 100",
                    "the largest becomes 1.0": "max(weights)",
                    "the largest becomes 10": "max(weights) / 10",
                },
            ),
            Detail(
                "negative",
                words(
                    "negative weights, negative, below zero, minus, absolute, sign, less than zero, below 0, "
                    "smaller than zero, less than 0"
                ),
                "Before scaling, negative weights {value}.",
                {
                    "become 0": "max(weight, 0)",
                    "lose their sign": "abs(weight)",
                    "become 1": "weight if weight > 0 else 1",
                },
            ),
            Detail(
                "rounding",
                words("rounding, round, decimals, precision, digits, decimal place, precise, how exact"),
                "Round to {value}.",
                {"two decimals": "2", "three decimals": "3", "five decimals": "5"},
            ),
        ),
        lambda rng: [rng.sample([rng.randrange(-9, -3), -2] + [rng.randrange(3, 30) for _ in range(4)], 6)],
    ),
    Function(
        "running_balance(amounts)",
        "takes a list of amounts and returns the list of balances after each of them.",
        """
def running_balance(amounts):
    balance = $start
    balances = []
    for amount in amounts:
        if amount == 0:
            $zero
        balance += $negative
        balances.append(balance)
    return balances
""",
        (
            Detail(
                "start",
                words("starting balance, start, initial, begin, opening, first balance"),
                "The balance starts at {value}.",
                {"zero": "0", "ten": "10", "one hundred": "100"},
            ),
            Detail(
                "zero",
                words(
                    "zero amounts, zero, reset, nothing, no amount, 0, nil, -below zero, -start ... zero, "
                    "-begin ... zero, -less than zero, -under zero, -at zero, -from zero, -less than 0, "
                    "-below 0, -start ... 0, -at 0, -from 0, -balance ... zero, -balance ... 0"
                ),
                "An amount of 0 {value}.",
                {
                    "changes nothing and is listed like any other": "pass",
                    "sets the balance back to nil": "balance = 0",
                    "is skipped and not listed": "continue",
                },
            ),
            Detail(
                "negative",
                words(
                    "negative amounts, negative, sign, below zero, minus, withdrawal, below 0, less than zero, "
                    "subtract, debit, smaller than zero, under zero, less than 0, expenses"
                ),
                "Negative amounts {value}.",
                {"are subtracted": "amount", "are treated as 0": "max(amount, 0)", "count as positive": "abs(amount)"},
            ),
        ),
        lambda rng: [
            [rng.randrange(1, 40), -rng.randrange(1, 40), rng.randrange(1, 40), 0]
            + rng.sample([rng.randrange(1, 40), -rng.randrange(1, 40), rng.randrange(1, 40)], 3)
        ],
    ),
    Function(
        "grade_quiz(answers, key)",
        "compares a list of answers with the list of right ones and returns the points of each answer. An empty text "
        "is no answer.",
        """
def grade_quiz(answers, key):
    points = []
    for answer, right in zip(answers, key):
        if not answer:
            points.append($blank)
        elif $case:
            points.append($right)
        else:
            points.append(-1)
    return points
""",
        (
            Detail(
                "right",
                words(
                    "right answers, right, correct, points, worth, award, score for, -points ... blank, "
                    "-points ... unanswered, -points ... no answer, -points ... empty, -points ... skipped, "
                    "-points ... missing, -points ... wrong"
                ),
                "A right answer gets {value}, a wrong one loses one.",
                {"one point": "1", "two points": "2", "three points": "3"},
            ),
            Detail(
                "blank",
                words(
                    "blank answers, blank, empty, no answer, unanswered, missing, skip, left out, omitted, "
                    "not answered, without an answer, leave ... out, no response"
                ),
                "No answer {value}.",
                {"gets 0": "0", "loses one as well": "-1", "gets None": "None"},
            ),
            Detail(
                "case",
                CASE_KEYWORDS + words('"a" match, "a" and "a", "a" equal, exact match, match exactly'),
                "Upper and lower case {value}.",
                {"must match": "answer == right", "do not matter": "answer.lower() == right.lower()"},
            ),
        ),
        draw_quiz,
    ),
]
