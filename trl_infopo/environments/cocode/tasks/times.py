# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Functions of times, dates and ranges."""

from datetime import date, timedelta

from ..._keywords import words
from . import ORDER_KEYWORDS, Detail, Function


def draw_minutes(rng):
    return [[rng.randrange(0, 600), rng.randrange(800, 1440), rng.randrange(1440, 2000), rng.randrange(2880, 4000)]]


def draw_weeks(rng):
    # From Monday or Tuesday to Wednesday or Thursday of the next week: both ends are working days in every country
    monday = date(2019, 1, 7) + timedelta(weeks=rng.randrange(300))
    return [str(monday + timedelta(rng.randrange(2))), str(monday + timedelta(9 + rng.randrange(2)))]


def draw_dates(rng):
    return [[f"{rng.randrange(2019, 2026)}-{rng.randrange(1, 10):02d}-{rng.randrange(1, 28):02d}" for _ in range(4)]]


def draw_birthdays(rng):
    today = date(2023, rng.randrange(4, 9), rng.randrange(5, 25))
    moves = [-rng.randrange(30, 60), 0, rng.randrange(1, 30), rng.randrange(30, 90)]
    return [[str(today + timedelta(days)) for days in rng.sample(moves, 4)], str(today)]


def draw_busy(rng):
    nine = rng.randrange(9, 11) * 60
    meetings = [[nine, nine + 45], [nine + 70, nine + 100], [nine + 200, nine + 240], [nine + 255, nine + 300]]
    return [meetings, nine - rng.randrange(45, 60), nine + rng.randrange(400, 440)]


def draw_shifts(rng):
    return [[rng.randrange(11, 15) * 60, rng.randrange(500, 560), rng.randrange(200, 300), rng.randrange(610, 650)]]


def draw_ranges(rng):
    a, b, c = rng.randrange(1, 5), rng.randrange(10, 15), rng.randrange(20, 25)
    return [",".join(rng.sample([f"{a}-{a + 4}", f"{a + 2}-{a + 6}", f"{b + 3}-{b}", f"{c}"], 4))]


def draw_numbers(rng):
    a, b = rng.randrange(1, 9), rng.randrange(20, 30)
    return [[a, a + 1, a + 4, b, b + 1, *[b + 10 + i for i in range(rng.randrange(3, 6))]]]


def draw_series(rng):
    # Weekly or in steps of eight days from a Thursday to Saturday, so that several dates fall on a weekend
    start = date(2020, 1, 2) + timedelta(weeks=rng.randrange(200), days=rng.randrange(3))
    return [str(start), rng.choice([8, 9]), 6]


def draw_work_log(rng):
    entries = [["design", 50], ["Review", 65], ["design", rng.randrange(61, 110)], ["tests", rng.randrange(125, 170)]]
    return [rng.sample([*entries, ["Review", rng.randrange(5, 50)]], 5)]


def draw_clock(rng):
    pairs = [(rng.randrange(7, 12), rng.randrange(13, 18)), (rng.randrange(20, 24), rng.randrange(1, 7))]
    return [[[f"{a:02d}:{rng.choice([10, 20, 35])}", f"{b:02d}:{rng.choice([15, 40, 55])}"] for a, b in pairs]]


FUNCTIONS = [
    Function(
        "format_durations(durations)",
        "takes a list of numbers of seconds, some with a fraction, and returns the list as text in hours, minutes and "
        "seconds.",
        """
import math
def format_durations(durations):
    result = []
    for duration in durations:
        minutes, seconds = divmod(math.$rounding(duration), 60)
        hours, minutes = divmod(minutes, 60)
        parts = zip((hours, minutes, seconds), $units)
        result.append("$separator".join(f"{number}{unit}" for number, unit in parts if $zero))
    return result
""",
        (
            Detail(
                "units",
                words(
                    'units, unit, words, letters, abbreviation, format, style, "h", full word, abbreviate, '
                    '"hours", spelled, hms, long form, short form'
                ),
                "Right after each number comes {value}.",
                {
                    "h, m or s": '("h", "m", "s")',
                    "hr, min or sec": '("hr", "min", "sec")',
                    "hours, minutes or seconds": '("hours", "minutes", "seconds")',
                },
            ),
            Detail(
                "separator",
                words("separator, between, comma, space, colon, separate, join, delimiter"),
                "Between the parts goes {value}.",
                {"a single space": " ", "a comma and a space": ", ", "a colon without spaces": ":"},
            ),
            Detail(
                "zero",
                words(
                    "zero parts, zero, empty, leave out, omit, is 0, are 0, 0 minutes, 0 hours, skip, "
                    "0 seconds, every part, all parts, nil"
                ),
                "Parts that are 0 {value}.",
                {"are left out": "number", "are written, too": "True"},
            ),
            Detail(
                "rounding",
                words(
                    "rounding, round, fraction, fractional, truncate, decimal, precision, partial second, "
                    "whole seconds, milliseconds, precise, cut off"
                ),
                "Fractions of a second are {value}.",
                {"cut off": "floor", "rounded up": "ceil"},
            ),
        ),
        lambda rng: [[rng.randrange(1, 9) * 3600 + 5.5, rng.randrange(100, 3000) + 0.4, rng.randrange(4000, 9000)]],
    ),
    Function(
        "clock_times(minutes)",
        "takes a list of minutes since midnight, which may exceed a day, and returns the list as times of the day.",
        """
def clock_times(minutes):
    result = []
    for total in minutes:
        day, rest = divmod(total, 1440)
        hour, minute = divmod(rest, 60)
        half = "AM" if hour < 12 else "PM"
        result.append($style + $overflow)
    return result
""",
        (
            Detail(
                "style",
                words(
                    "style, format, clock, 24, 12, am, pm, leading, look, written, a.m., p.m., separator, "
                    "colon, -more than 24, -24 hours or more, -beyond 24, -over 24, -past 24, -after 24, "
                    "-above 24"
                ),
                "Write them {value}.",
                {
                    "with 24 hours, like 09:05": 'f"{hour:02d}:{minute:02d}"',
                    "with 24 hours, like 9.05": 'f"{hour}.{minute:02d}"',
                    "with 12 hours, like 9:05 AM": 'f"{hour % 12 or 12}:{minute:02d} {half}"',
                    "with 12 hours, like 9:05am": 'f"{hour % 12 or 12}:{minute:02d}{half.lower()}"',
                },
            ),
            Detail(
                "overflow",
                words(
                    "next day, overflow, exceed, midnight, past, day, more than 24, beyond, over 24, above 24, "
                    "wrap, 1440"
                ),
                "A time on a later day {value}.",
                {
                    "does not show the day": '""',
                    "has the number of days right behind it, like +1": 'f"+{day}" * (day > 0)',
                    "has a star right behind it": '"*" * (day > 0)',
                },
            ),
        ),
        draw_minutes,
    ),
    Function(
        "working_days(start, end)",
        "lists the working days between two dates like 2024-05-31, as text of the same form.",
        """
from datetime import date, timedelta
def working_days(start, end):
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    days = [first + timedelta(i) for i in range((last - first).days + 1)]
    days = [day for day in days$ends if day.weekday() not in $weekend]
    return [str(day) for day in days]$order
""",
        (
            Detail(
                "ends",
                words(
                    "end dates, inclusive, include, bounds, end, start, count, both dates, first and last, "
                    "exclusive, last day, first day, endpoint, range, -start ... week, -which days count, "
                    "-count as, -first day first"
                ),
                "Of the two dates themselves, {value}.",
                {"both may be listed": "", "only the start may be listed": "[:-1]", "neither may be listed": "[1:-1]"},
            ),
            Detail(
                "weekend",
                words(
                    "weekend, saturday, sunday, friday, which days, days off, days are off, day off, work on, "
                    "holiday, non-working, free day, a working day, day of rest, is a working, week end, "
                    "-include the weekend dates"
                ),
                "The weekend is {value}.",
                {"Saturday and Sunday": "(5, 6)", "Friday and Saturday": "(4, 5)", "Sunday alone": "(6,)"},
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("earliest, latest, newest, oldest"),
                "The list has {value}.",
                {"the earliest day first": "", "the latest day first": "[::-1]"},
            ),
        ),
        draw_weeks,
    ),
    Function(
        "date_labels(dates)",
        "takes a list of dates like 2024-05-31 and returns the list written for people.",
        """
def date_labels(dates):
    result = []
    for day in $order:
        y, m, d = day.split("-")
        y = y$year
        result.append($format)
    return result
""",
        (
            Detail(
                "format",
                words(
                    "format, style, separator, day first, month first, look, come first, comes first, written, "
                    "day or the month, slash, dash, leading zero, separate, layout, notation, american, "
                    "european, locale, -labels come first"
                ),
                "Write them {value}.",
                {
                    "day.month.year, with two digits for day and month": 'f"{d}.{m}.{y}"',
                    "month/day/year, with two digits for day and month": 'f"{m}/{d}/{y}"',
                    "day/month/year, without leading zeros": 'f"{int(d)}/{int(m)}/{y}"',
                    "month-day-year, without leading zeros": 'f"{int(m)}-{int(d)}-{y}"',
                },
            ),
            Detail(
                "year",
                words("year, century, two digits, four digits, 2-digit, 4-digit, two-digit, four-digit"),
                "The year has {value}.",
                {"all four digits": "", "its last two digits only": "[2:]"},
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("earliest, latest, as given, oldest, newest"),
                "List them {value}.",
                {
                    "as given": "dates",
                    "from the earliest to the latest": "sorted(dates)",
                    "from the latest to the earliest": "sorted(dates, reverse=True)",
                },
            ),
        ),
        draw_dates,
    ),
    Function(
        "days_until(dates, today)",
        "takes a list of dates and today's date, all like 2024-05-31, and returns the list of days to wait for each.",
        """
from datetime import date
def days_until(dates, today):
    today = date.fromisoformat(today)
    result = []
    for day in map(date.fromisoformat, dates):
        days = (day - today).days
        result.append($past if days < 0 else days + $count)
    return $order
""",
        (
            Detail(
                "past",
                words(
                    "past dates, past, passed, before today, negative, gone, earlier, already over, "
                    "over already, before now, ago, has been, before the current, expired, behind"
                ),
                "For a date in the past give {value}.",
                {"None": "None", "the negative number of days since": "days", "-1": "-1", "the text over": '"over"'},
            ),
            Detail(
                "count",
                words(
                    "count today, today, count, inclusive, tomorrow, include, current day, away, same day, "
                    "-before today"
                ),
                "For today and later dates, {value}.",
                {
                    "today does not count, so that tomorrow is 1 day away": "0",
                    "today counts, so that tomorrow is 2 days away": "1",
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("come first, soonest"),
                "Return the numbers {value}.",
                {"in the order of the list": "result", "in the reverse order of the list": "result[::-1]"},
            ),
        ),
        draw_birthdays,
    ),
    Function(
        "free_slots(meetings, start, end)",
        "takes a sorted list of [start, end] meetings and the start and end of the day, in minutes, and returns the "
        "free slots.",
        """
def free_slots(meetings, start, end):
    slots = []
    for begin, finish in meetings + [[end, end]]:
        slots.append([start, begin])
        start = finish + $pause
    return [$output for start, end in slots if end - start >= $minimum]
""",
        (
            Detail(
                "pause",
                words(
                    "pause, break, buffer, after a meeting, rest, between meetings, between two meetings, "
                    "time between, recover, breather, padding, margin"
                ),
                "After each meeting, {value}.",
                {
                    "no pause is needed": "0",
                    "ten minutes of pause are not free": "10",
                    "five minutes of pause are not free": "5",
                },
            ),
            Detail(
                "minimum",
                words("minimum, shortest, short, length, long, at least, smallest, minimal, tiny, minutes must"),
                "A slot must last {value}.",
                {"at least 1 minute": "1", "at least 20 minutes": "20", "at least 60 minutes": "60"},
            ),
            Detail(
                "output",
                words(
                    "output, result, return, format, string, end or, or the duration, list or, lists or, represent, "
                    "look like, as text, written, pairs"
                ),
                "Give each slot as {value}.",
                {
                    "a list of start and end, in minutes": "[start, end]",
                    "a list of start and length, in minutes": "[start, end - start]",
                    "text like 540-600, in minutes": 'f"{start}-{end}"',
                },
            ),
        ),
        draw_busy,
    ),
    Function(
        "paid_minutes(shifts)",
        "takes a list of lengths of shifts in minutes and returns the list of minutes to pay. Overtime counts more.",
        """
def paid_minutes(shifts):
    paid = []
    for minutes in shifts:
        if minutes > 360:
            minutes -= $lunch
        overtime = max(0, minutes - $normal * 60)
        paid.append(minutes + overtime * $rate)
    return paid
""",
        (
            Detail(
                "lunch",
                words("lunch, break, pause, unpaid, deduct, deduction, subtract, rest period, meal"),
                "From a shift of more than 360 minutes {value}.",
                {
                    "take off nothing": "0",
                    "take off 20 minutes for lunch": "20",
                    "take off 55 minutes for lunch": "55",
                },
            ),
            Detail(
                "normal",
                words(
                    "overtime start, overtime, normal, regular, hours, threshold, how many minutes, how long, "
                    "limit, working day, full shift, -overtime rate, -overtime multiplier, -overtime factor, "
                    "-overtime bonus, -overtime ... paid, -rate ... overtime, -how much ... overtime, "
                    "-overtime ... worth, -overtime ... count, -factor ... overtime, -multiplier ... overtime, "
                    "-how ... overtime ... paid, -overtime pay, -pay ... overtime, -how is overtime, "
                    "-how should overtime, -overtime minute, -how long ... break, -how long ... lunch, "
                    "-how long ... pause, -how many minutes ... break, -how many minutes ... lunch, "
                    "-how many minutes ... deducted"
                ),
                "After that, overtime is what exceeds {value}.",
                {"8 hours": "8", "7 hours": "7", "6 hours": "6"},
            ),
            Detail(
                "rate",
                words(
                    "rate, factor, bonus, multiplier, times, paid, how much more, worth, extra minutes, "
                    "overtime pay, premium, multiplied, double, overtime count, how is overtime, "
                    "how should overtime, overtime minute, -breaks ... paid, -lunch ... paid, -pause ... paid, "
                    "-paid break, -paid lunch"
                ),
                "A minute of overtime counts {value}.",
                {"twice": "1", "three times": "2", "four times": "3"},
            ),
        ),
        draw_shifts,
    ),
    Function(
        "expand_ranges(text)",
        "turns a text like 1-3,7 into a list of whole numbers.",
        """
def expand_ranges(text):
    numbers = []
    for part in text.split(","):
        ends = [int(end) for end in part.split("-")]
        low, high = ends[0], ends[-1]
        if low > high:
            $backwards
        numbers += range(low, high + 1) if low == high else range(low, high $last)
    return $duplicates
""",
        (
            Detail(
                "last",
                words(
                    "last number, last, inclusive, include, end, exclusive, bounds, upper, final, 1-3, "
                    "second number, -end ... greater, -than the end, -than end, -than its end, -than the last, "
                    "-end before, -end comes before, -before the end, -second number is smaller, "
                    "-end is smaller, -last is smaller"
                ),
                "In a range, the last number {value}.",
                {"is included": "+ 1", "is not included": "+ 0"},
            ),
            Detail(
                "backwards",
                words(
                    "backwards, backward, descending, invalid, greater, larger, bigger, reverse, 5-2, "
                    "start after, wrong order, end before, negative, smaller than, decreasing range, "
                    "lower than, malformed, swapped, -sorted in reverse, -reverse order, -descending or, "
                    "-or descending"
                ),
                "A range whose first number is the larger one {value}.",
                {
                    "has its two numbers swapped": "low, high = high, low",
                    "is ignored": "continue",
                    "becomes the single number 0": "low = high = 0",
                },
            ),
            Detail(
                "duplicates",
                words(
                    "duplicates, duplicate, twice, overlap, order, sort, several times, more than once, "
                    "repeat, distinct, unique, ascending, the same number, rising, or descending, -wrong order"
                ),
                "Numbers that come twice {value}.",
                {
                    "are listed twice, all in the order of the text": "numbers",
                    "are listed once, all in rising order": "sorted(set(numbers))",
                    "are listed once, all in falling order": "sorted(set(numbers))[::-1]",
                },
            ),
        ),
        draw_ranges,
    ),
    Function(
        "shorten_ranges(numbers)",
        "writes a rising list of whole numbers as text, in which runs of neighbours become ranges.",
        """
def shorten_ranges(numbers):
    runs = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = []
    for run in runs:
        if len(run) >= $pairs:
            parts.append(f"{run[0]}$dash{run[-1]}")
        else:
            parts += map(str, run)
    return "$separator".join(parts)
""",
        (
            Detail(
                "pairs",
                words(
                    "two numbers, two, pair, short, minimum, length, consecutive, how long, at least, "
                    "how many, 2 numbers, neighbours"
                ),
                "A run of just two numbers {value}.",
                {"becomes a range": "2", "stays two numbers": "3"},
            ),
            Detail(
                "dash",
                words(
                    "range sign, dash, hyphen, sign, within a range, dots, symbol, mark a range, "
                    "ranges be written, between the start, start and end, start and the end, range be written, "
                    "range look, for ranges, ranges look, connect, between the first and, join the ends, denote"
                ),
                "Between the ends of a range goes {value}.",
                {"a hyphen": "-", "two dots": "..", "the word to, with spaces around it": " to "},
            ),
            Detail(
                "separator",
                words(
                    "separator, separate, between ranges, comma, delimiter, between the ranges, "
                    "between the parts, between parts, semicolon, split, divide, joined, between them, "
                    "-range be separated"
                ),
                "Between the parts goes {value}.",
                {"a comma": ",", "a semicolon": ";", "a bar": "|"},
            ),
        ),
        draw_numbers,
    ),
    Function(
        "plan_dates(start, step, count)",
        "plans a number of dates, a step of days apart, from a start like 2024-05-31, as text of the same form.",
        """
from datetime import date, timedelta
def plan_dates(start, step, count):
    day = date.fromisoformat(start)
    planned = []
    for i in range($first, count + $first):
        current = day + timedelta(i * step)
        if current.weekday() in (5, 6):
            $weekend
        planned.append(str(current))
    return planned
""",
        (
            Detail(
                "first",
                words("first date, first, start, begin, include, count from, zeroth"),
                "The first date is {value}.",
                {"the start itself": "0", "one step after the start": "1", "two steps after the start": "2"},
            ),
            Detail(
                "weekend",
                words("weekend, saturday, sunday, working day, business day, days off"),
                "A date on Saturday or Sunday {value}; the others are not affected.",
                {
                    "is moved to the Monday after": "current += timedelta(7 - current.weekday())",
                    "is moved to the Friday before": "current -= timedelta(current.weekday() - 4)",
                    "is dropped without another in its place": "continue",
                    "stays": "pass",
                },
            ),
        ),
        draw_series,
    ),
    Function(
        "sum_work(entries)",
        "adds up [task, minutes] entries of a work log and returns [task, total] pairs.",
        """
def sum_work(entries):
    totals = {}
    for task, minutes in entries:
        totals[task] = totals.get(task, 0) + $rounding
    pairs = [[task, $unit] for task, total in totals.items()]
    return $order
""",
        (
            Detail(
                "rounding",
                words(
                    "rounding, round, started, quarter, full hours, nearest, 15 minutes, precision, "
                    "-round the total, -total be rounded, -totals be rounded, -round the sum, -sums be rounded"
                ),
                "Each entry, before adding, {value}.",
                {
                    "counts as it is": "minutes",
                    "is rounded up to a multiple of 15 minutes": "-(-minutes // 15) * 15",
                    "is rounded up to a multiple of 60 minutes": "-(-minutes // 60) * 60",
                    "is rounded down to a multiple of 15 minutes": "minutes // 15 * 15",
                },
            ),
            Detail(
                "unit",
                words(
                    "unit, format, minutes or, in minutes, total time, represent, expressed, decimal, hour, "
                    "duration, look like, written, -full hour, -full hours, -hours before, -round ... hour, "
                    "-rounded ... hours, -rounded ... hour, -multiple of an hour, -half hours"
                ),
                "Give the totals in {value}.",
                {
                    "plain minutes": "total",
                    "hours, rounded to two decimals": "round(total / 60, 2)",
                    "text like 2h05": 'f"{total // 60}h{total % 60:02d}"',
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("come first, appear first, order of appearance"),
                "List the pairs {value}.",
                {"as the tasks first appear": "pairs", "by task, in the order of sorted()": "sorted(pairs)"},
            ),
        ),
        draw_work_log,
    ),
    Function(
        "time_spans(spans)",
        "takes a list of [start, end] pairs of times like 08:30 and returns the list of how long each lasts. An end "
        "before the start is a shift over midnight.",
        """
def time_spans(spans):
    result = []
    for pair in spans:
        start, end = [int(time[:2]) * 60 + int(time[3:]) for time in pair]
        overnight = end < start
        total = (end - start) % 1440 + $inclusive
        result.append($overnight if overnight else $unit)
    return result
""",
        (
            Detail(
                "inclusive",
                words(
                    "last minute, inclusive, include, end minute, bounds, final minute, both ends, "
                    "end time count, end time be, endpoint, exclusive"
                ),
                "The minute in which it ends {value}.",
                {"does not count": "0", "counts as a whole minute": "1"},
            ),
            Detail(
                "unit",
                words(
                    "unit, format, result, duration, hour, minute, length, represent, expressed, look like, "
                    "written, -last minute, -end minute, -final minute, -minute included, -ending minute, "
                    "-the minute"
                ),
                "By day, give {value}.",
                {
                    "the minutes": "total",
                    "the hours, rounded to two decimals": "round(total / 60, 2)",
                    "text like 2:05 for 2 hours and 5 minutes": 'f"{total // 60}:{total % 60:02d}"',
                },
            ),
            Detail(
                "overnight",
                words(
                    "overnight shifts, overnight, night, midnight, next day, following day, end before, "
                    "before the start, nightly, day after"
                ),
                "Over midnight, give {value}.",
                {
                    "the number of minutes, doubled": "total * 2",
                    "the plain number of minutes": "total",
                    "None": "None",
                },
            ),
        ),
        draw_clock,
    ),
]
