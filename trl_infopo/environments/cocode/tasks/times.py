# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Functions of times, dates and ranges."""

from datetime import date, timedelta

from . import Detail, Function


ORDER_KEYWORDS = ("order", "sort", "sorted", "ordered")


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
                ("units", "unit", "words", "letters", "abbreviation", "abbreviations", "format", "style"),
                "Right after each number comes {value}.",
                {
                    "h, m or s": '("h", "m", "s")',
                    "hr, min or sec": '("hr", "min", "sec")',
                    "hours, minutes or seconds": '("hours", "minutes", "seconds")',
                },
            ),
            Detail(
                "separator",
                ("separator", "between", "comma", "space", "spaces", "colon"),
                "Between the parts goes {value}.",
                {"a single space": " ", "a comma and a space": ", ", "a colon without spaces": ":"},
            ),
            Detail(
                "zero",
                ("zero parts", "zero", "zeros", "empty", "leave out", "omit"),
                "Parts that are 0 {value}.",
                {"are left out": "number", "are written, too": "True"},
            ),
            Detail(
                "rounding",
                ("rounding", "round", "fraction", "fractions", "decimals"),
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
                ("style", "format", "clock", "24", "12", "am", "pm", "leading"),
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
                ("next day", "overflow", "exceed", "exceeds", "midnight", "past", "day", "days"),
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
                ("end dates", "inclusive", "include", "included", "bounds", "ends", "end", "start", "count"),
                "Of the two dates themselves, {value}.",
                {"both may be listed": "", "only the start may be listed": "[:-1]", "neither may be listed": "[1:-1]"},
            ),
            Detail(
                "weekend",
                ("weekend", "weekends", "saturday", "sunday", "friday", "free days"),
                "The weekend is {value}.",
                {"Saturday and Sunday": "(5, 6)", "Friday and Saturday": "(4, 5)", "Sunday alone": "(6,)"},
            ),
            Detail(
                "order",
                ORDER_KEYWORDS,
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
                ("format", "style", "separator", "day first", "month first", "look"),
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
                ("year", "years", "century"),
                "The year has {value}.",
                {"all four digits": "", "its last two digits only": "[2:]"},
            ),
            Detail(
                "order",
                ORDER_KEYWORDS,
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
                ("past dates", "past", "passed", "before today", "negative", "gone"),
                "For a date in the past give {value}.",
                {"None": "None", "the negative number of days since": "days", "-1": "-1", "the text over": '"over"'},
            ),
            Detail(
                "count",
                ("count today", "today", "count", "counted", "inclusive", "tomorrow", "include"),
                "For today and later dates, {value}.",
                {
                    "today does not count, so that tomorrow is 1 day away": "0",
                    "today counts, so that tomorrow is 2 days away": "1",
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS,
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
                ("pause", "break", "buffer", "after a meeting", "rest"),
                "After each meeting, {value}.",
                {
                    "no pause is needed": "0",
                    "ten minutes of pause are not free": "10",
                    "five minutes of pause are not free": "5",
                },
            ),
            Detail(
                "minimum",
                ("minimum", "shortest", "short", "length", "long", "at least"),
                "A slot must last {value}.",
                {"at least 1 minute": "1", "at least 20 minutes": "20", "at least 60 minutes": "60"},
            ),
            Detail(
                "output",
                ("output", "result", "return", "format"),
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
                ("lunch", "break", "breaks", "pause", "unpaid"),
                "From a shift of more than 360 minutes {value}.",
                {
                    "take off nothing": "0",
                    "take off 20 minutes for lunch": "20",
                    "take off 55 minutes for lunch": "55",
                },
            ),
            Detail(
                "normal",
                ("overtime start", "overtime", "normal", "regular", "hours", "threshold"),
                "After that, overtime is what exceeds {value}.",
                {"8 hours": "8", "7 hours": "7", "6 hours": "6"},
            ),
            Detail(
                "rate",
                ("rate", "factor", "bonus", "multiplier", "times", "paid", "how much more"),
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
                ("last number", "last", "inclusive", "include", "included", "end", "exclusive", "bounds"),
                "In a range, the last number {value}.",
                {"is included": "+ 1", "is not included": "+ 0"},
            ),
            Detail(
                "backwards",
                ("backwards", "backward", "reversed", "descending", "first is larger", "invalid"),
                "A range whose first number is the larger one {value}.",
                {
                    "has its two numbers swapped": "low, high = high, low",
                    "is ignored": "continue",
                    "becomes the single number 0": "low = high = 0",
                },
            ),
            Detail(
                "duplicates",
                ("duplicates", "duplicate", "repeated", "twice", "overlap", *ORDER_KEYWORDS),
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
                ("two numbers", "two", "pair", "pairs", "short", "minimum", "length"),
                "A run of just two numbers {value}.",
                {"becomes a range": "2", "stays two numbers": "3"},
            ),
            Detail(
                "dash",
                ("range sign", "dash", "hyphen", "sign", "within a range", "dots"),
                "Between the ends of a range goes {value}.",
                {"a hyphen": "-", "two dots": "..", "the word to, with spaces around it": " to "},
            ),
            Detail(
                "separator",
                ("separator", "separate", "separated", "between ranges", "comma", "delimiter"),
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
                ("first date", "first", "start", "begin", "include"),
                "The first date is {value}.",
                {"the start itself": "0", "one step after the start": "1", "two steps after the start": "2"},
            ),
            Detail(
                "weekend",
                ("weekend", "weekends", "saturday", "sunday"),
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
                ("rounding", "round", "started", "quarter", "full hours"),
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
                ("unit", "units", "hours", "format", "decimals"),
                "Give the totals in {value}.",
                {
                    "plain minutes": "total",
                    "hours, rounded to two decimals": "round(total / 60, 2)",
                    "text like 2h05": 'f"{total // 60}h{total % 60:02d}"',
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS,
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
                ("last minute", "inclusive", "include", "included", "end minute", "bounds"),
                "The minute in which it ends {value}.",
                {"does not count": "0", "counts as a whole minute": "1"},
            ),
            Detail(
                "unit",
                ("unit", "units", "format", "hours", "minutes", "result"),
                "By day, give {value}.",
                {
                    "the minutes": "total",
                    "the hours, rounded to two decimals": "round(total / 60, 2)",
                    "text like 2:05 for 2 hours and 5 minutes": 'f"{total // 60}:{total % 60:02d}"',
                },
            ),
            Detail(
                "overnight",
                ("overnight shifts", "overnight", "night", "midnight", "over midnight"),
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
