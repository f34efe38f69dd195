# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Functions of lists, tables and dictionaries."""

from ..._keywords import words
from . import CASE_KEYWORDS, ORDER_KEYWORDS, Detail, Function


NAMES = ["Ann", "Bob", "Cem", "Dan", "Eva", "Fay", "Gus", "Hal", "Ida", "Jon"]


def draw_intervals(rng):
    a, b = rng.randrange(0, 9), rng.randrange(30, 40)
    intervals = [[a, a + 5], [a + 5, a + 9], [b + 3, b + 8], [b + 20, b + 14], [b, b + 4]]
    return [rng.sample(intervals, 5)]


def draw_entries(rng):
    a, b, c, d, e = rng.sample(NAMES, 5)
    return [[*rng.sample([a, a.lower(), b, c, c.upper()], 5), a, d, b, e]]


def draw_people(rng):
    ages = [20, 30, *[rng.randrange(18, 60) for _ in range(4)]]
    return [[[name, age] for name, age in zip(rng.sample(NAMES, 6), rng.sample(ages, 6))]]


def draw_podium(rng):
    best, cut, low = rng.randrange(80, 99), rng.randrange(50, 70), rng.randrange(10, 40)
    scores = rng.sample([best, best - 3, cut, cut, cut, low], 6)
    return [[[name, score] for name, score in zip(rng.sample(NAMES, 6), scores)], rng.choice([3, 4])]


def draw_nested(rng):
    a, b, c, d, e = rng.sample(range(1, 50), 5)
    return [[a, [b, None, [c, a]], None, [[d, b], e, a]]]


def draw_spending(rng):
    rows = [["Food", 20], ["food", 30], ["rent", rng.randrange(90, 200)], ["Gifts", 3], ["bus", rng.randrange(2, 8)]]
    rows += [["Rent", rng.randrange(11, 40)], ["bus", 1], ["Art", rng.randrange(10, 60)]]
    return [rng.sample(rows, 8)]


def draw_stock(rng):
    a, b, c, d = rng.sample(["nut", "bolt", "gear", "belt", "lamp"], 4)
    count = rng.randrange(3, 9)
    stock = {a: count, b: count + 4, c: rng.randrange(20, 30)}
    orders = [[a, count + rng.randrange(1, 5)], [b, count + 4], [d, 2], [c, rng.randrange(1, 9)]]
    return [stock, rng.sample(orders, 4)]


def draw_ballots(rng):
    a, b, c = rng.sample(["Ann", "Bob", "Cem", "Dan", "Eva"], 3)
    return [[*rng.sample([a, a, b, b, c, ""], 6), *rng.sample([c, a.lower(), b.upper(), "", c.upper()], 5)]]


def draw_streaks(rng):
    # Two blocks of the same shape, so that there are two longest streaks of each kind
    values = rng.choice([[60], [60, 50]])
    for _ in range(2):
        rising = sorted(rng.sample(range(10, 20), 4))
        flat = rng.randrange(1, 6)
        falling = sorted(rng.sample(range(20, 40), 5), reverse=True)
        values += [40, *rising, flat, flat, flat + 1, flat + 1, flat + 3, *falling]
    return [values]


def draw_catalogues(rng):
    keys = rng.sample(["pen", "cup", "bag", "hat", "mat", "jar"], 6)
    old = {key: rng.randrange(1, 50) for key in keys[:4]}
    new = {keys[0]: old[keys[0]] + 5, keys[1]: old[keys[1]] - 1, keys[2]: old[keys[2]]}
    new |= {keys[4]: rng.randrange(1, 50), keys[5]: 0}
    return [old, new]


def draw_two_lists(rng):
    lengths = rng.sample([3, 4, 5, 6], 2)
    return [rng.sample(range(10, 99), length) for length in lengths]


FUNCTIONS = [
    Function(
        "merge_intervals(intervals)",
        "merges a list of [start, end] intervals of whole numbers that overlap.",
        """
def merge_intervals(intervals):
    intervals = [$reversed for start, end in intervals]
    merged = []
    for start, end in sorted(interval for interval in intervals if interval):
        if merged and start $touching merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return $output
""",
        (
            Detail(
                "touching",
                words(
                    "touching intervals, touch, adjacent, share, boundary, inclusive, endpoint, end point, "
                    "common point, closed, open, border, meet, next to each other, consecutive, get merged, "
                    "neighbouring, edge, one point, single point, directly after"
                ),
                "Intervals that share nothing but an end point {value}.",
                {"are merged": "<=", "are kept apart": "<"},
            ),
            Detail(
                "reversed",
                words(
                    "reversed intervals, start after, invalid, reverse, greater, larger, bigger, backward, "
                    "start lies, before the start, wrong order, end comes first, end ... smaller, malformed, "
                    "swap, start ... later"
                ),
                "An interval whose start lies after its end {value}.",
                {
                    "has its ends swapped": "[min(start, end), max(start, end)]",
                    "is dropped": "start <= end and [start, end]",
                },
            ),
            Detail(
                "output",
                words("output, result, return, format, order, sort, look like, type, list the, -wrong order"),
                "Return them {value}.",
                {
                    "as [start, end], by rising start": "merged",
                    "as [start, end], by falling start": "merged[::-1]",
                    "as [start, length], by rising start": "[[start, end - start] for start, end in merged]",
                },
            ),
        ),
        draw_intervals,
    ),
    Function(
        "unique(names)",
        "removes duplicates from a list of names.",
        """
def unique(names):
    kept = {}
    for name in names:
        key = name$case
        $keep
    return [name for name in kept.values() if name]$order
""",
        (
            Detail(
                "case",
                CASE_KEYWORDS + words('the same, case-insensitive, "ann" and "ann", identical, -the same order'),
                "Names that differ in case only {value}.",
                {"are duplicates": ".lower()", "are different names": ""},
            ),
            Detail(
                "keep",
                words(
                    "which one, keep, kept, first, last, occurrence, which of, copy, stay, remain, one of the, "
                    "-keep the order, -keep ... order, -copy the list"
                ),
                "Of duplicates, keep {value}.",
                {
                    "the one that comes first": "kept.setdefault(key, name)",
                    "the one that comes last, and in its place": "kept.pop(key, None); kept[key] = name",
                    "none of them": "kept[key] = None if key in kept else name",
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS,
                "List them {value}.",
                {
                    "in the order that I gave": "",
                    "in reverse order": "[::-1]",
                },
            ),
        ),
        draw_entries,
    ),
    Function(
        "group_by_age(people)",
        "groups [name, age] pairs by age and returns a dictionary. Each key is text made of the first and last age "
        "of the group, like '20-29'.",
        """
def group_by_age(people):
    groups = {}
    for name, age in people:
        low = (age - $start) // $width * $width + $start
        groups.setdefault(f"{low}-{low + $width - 1}", []).append(name)
    return {key: $content for key, names in groups.items()}
""",
        (
            Detail(
                "width",
                words("width, size, years, wide, span, range, big, large, bracket, interval, decade, length"),
                "Each group spans {value}.",
                {"ten years": "10", "five years": "5", "twenty years": "20"},
            ),
            Detail(
                "start",
                words(
                    "boundaries, boundary, edges, begin, start, align, where ... group, first group, "
                    "lower bound, lowest, zero"
                ),
                "The groups are laid out so that {value}.",
                {
                    "one of them begins at age 0": "0",
                    "one of them begins at age 2": "2",
                    "one of them begins at age 18": "18",
                },
            ),
            Detail(
                "content",
                words(
                    "content, value, contain, names, count, order, sort, number of people, list of, members, "
                    "what ... value, each group, people or, inside, in the dictionary, -each group span, "
                    "-each group cover, -each group be wide, -each group start, -each group begin, "
                    "-wide is each group"
                ),
                "The value of a group is {value}.",
                {
                    "the list of names in the given order": "names",
                    "the list of names by alphabet": "sorted(names)",
                    "the number of people": "len(names)",
                },
            ),
        ),
        draw_people,
    ),
    Function(
        "top_scores(scores, n)",
        "returns the n highest of a list of [name, score] pairs.",
        """
def top_scores(scores, n):
    ranked = sorted(scores, key=lambda pair: (-pair[1], pair[0]))
    cut = ranked[n - 1][1]
    best = $ties
    return [$output for name, score in best$order]
""",
        (
            Detail(
                "ties",
                words(
                    "ties, tie, equal, same score, share, same number, more than n, equally, several people, "
                    "exactly n, identical, draw"
                ),
                "If the last place is shared, {value}.",
                {
                    "return all who share it, and so more than n": "[pair for pair in ranked if pair[1] >= cut]",
                    "go by alphabet to get exactly n": "ranked[:n]",
                    "leave out all who share it": "[pair for pair in ranked if pair[1] > cut]",
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("be first, comes first, best first, best last, -alphabetical"),
                "Names with equal scores go by alphabet, and then {value}.",
                {
                    "the best comes first": "",
                    "that whole list is reversed, so that the best comes last": "[::-1]",
                },
            ),
            Detail(
                "output",
                words(
                    "output, result, return, format, names, type, look like, pairs, string, only the, scores, "
                    "-return more, -return exactly, -equal scores, -identical scores, -two scores, "
                    "-scores ... identical, -scores ... equal, -scores ... tied, -sort ... scores, "
                    "-scores ... sorted, -scores ... ordered, -highest scores, -lowest scores"
                ),
                "Return {value}.",
                {
                    "nothing but the names": "name",
                    "the pairs of name and score": "[name, score]",
                    "text like Ann: 7": 'f"{name}: {score}"',
                },
            ),
        ),
        draw_podium,
    ),
    Function(
        "split_chunks(items, size)",
        "cuts a list into chunks of a given size.",
        """
def split_chunks(items, size):
    chunks = [items[i : i + size] for i in range(0, len(items), size)]
    if len(chunks[-1]) < size:
        $rest
    return [$inside for chunk in chunks$order]
""",
        (
            Detail(
                "rest",
                words(
                    "rest, remainder, leftover, last chunk, short, uneven, shorter, too small, remaining, "
                    "evenly, divisible, pad, incomplete, last one, smaller, not full, left over, last group, "
                    "-last chunk first, -last chunk come first"
                ),
                "If the last chunk is too short, {value}.",
                {
                    "keep it as it is": "pass",
                    "drop it": "chunks.pop()",
                    "fill it up with None": "chunks[-1] += [None] * (size - len(chunks[-1]))",
                    "join it to the chunk before": "chunks[-2:] = [chunks[-2] + chunks[-1]]",
                },
            ),
            Detail(
                "inside",
                words(
                    "inside, within, content, format, type, each chunk, tuple, look like, items in, list or, "
                    "lists or, chunk as"
                ),
                "After that, each chunk is {value}.",
                {"a list in the given order": "chunk", "a reversed list": "chunk[::-1]"},
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("come first, chunk comes first, -each chunk be reversed, -each chunk reversed"),
                "The chunks come {value}.",
                {"first chunk first": "", "last chunk first": "[::-1]"},
            ),
        ),
        lambda rng: [rng.sample(range(100), rng.choice([8, 11])), 3],
    ),
    Function(
        "interleave(first, second)",
        "takes items from two lists in turn.",
        """
import itertools
def interleave(first, second):
    a, b = $start
    pairs = [$rest for pair in itertools.zip_longest(a, b)]
    pairs = [pair for pair in pairs if pair]
    return $output
""",
        (
            Detail(
                "start",
                words(
                    "which list, start, begin, go first, goes first, come first, comes first, first item, "
                    "which one first, first element"
                ),
                "Start with {value}.",
                {"the first list": "first, second", "the second list": "second, first"},
            ),
            Detail(
                "rest",
                words(
                    "rest, leftover, longer, shorter, length, uneven, run out, runs out, ran out, exhausted, "
                    "used up, unequal, end early, ends before, ends first, empty, end first, remain"
                ),
                "When one list is used up, {value}.",
                {
                    "stop": "[] if None in pair else list(pair)",
                    "go on with what the other has left": "[item for item in pair if item is not None]",
                    "put 0 in its place": "[item or 0 for item in pair]",
                },
            ),
            Detail(
                "output",
                words(
                    "output, result, return, flat, pairs, nested, format, tuple, look like, single list, list of lists"
                ),
                "Return {value}.",
                {
                    "a flat list": "list(itertools.chain(*pairs))",
                    "a list with one small list for each round": "pairs",
                },
            ),
        ),
        draw_two_lists,
    ),
    Function(
        "flatten(nested)",
        "flattens a list of numbers, None and lists of the same kind.",
        """
def flatten(nested):
    def walk(items):
        return [inner for item in items for inner in (walk(item) if isinstance(item, list) else [item])]
    flat = []
    for item in nested:
        flat += $depth if isinstance(item, list) else [item]
    flat = [$none]
    return $duplicates
""",
        (
            Detail(
                "depth",
                words(
                    "depth, deep, level, nesting, recursive, recursively, completely, fully, all the way, "
                    "sublists, inner lists, nested lists"
                ),
                "Flatten {value}.",
                {
                    "every level": "walk(item)",
                    "one level only, inner lists stay as they are inside": "item",
                },
            ),
            Detail(
                "none",
                words("none values, none, missing, null, empty"),
                "Each None {value}.",
                {
                    "is kept": "item for item in flat",
                    "is dropped": "item for item in flat if item is not None",
                    "becomes 0": "0 if item is None else item for item in flat",
                },
            ),
            Detail(
                "duplicates",
                words(
                    "duplicates, duplicate, unique, twice, several times, more than once, repeat, distinct, "
                    "multiple times"
                ),
                "Items that come more than once {value}.",
                {
                    "are all kept": "flat",
                    "are kept at the first place": "[item for i, item in enumerate(flat) if item not in flat[:i]]",
                    "are kept at the last place": "[item for i, item in enumerate(flat) if item not in flat[i + 1 :]]",
                },
            ),
        ),
        draw_nested,
    ),
    Function(
        "sum_by_category(rows)",
        "adds up [category, amount] rows and returns [category, total] pairs.",
        """
def sum_by_category(rows):
    totals = {}
    for category, amount in rows:
        category = category$case
        totals[category] = totals.get(category, 0) + amount
    pairs = [[category, total] for category, total in totals.items()]
    pairs = [$small for category, total in pairs]
    return $order
""",
        (
            Detail(
                "case",
                CASE_KEYWORDS + words("spelled, spellings, be merged, same category"),
                "Categories that differ in case only {value}.",
                {
                    "are different": "",
                    "are the same, written small": ".lower()",
                    "are the same, written in capitals": ".upper()",
                },
            ),
            Detail(
                "small",
                words(
                    "small totals, small, minimum, threshold, below, limit, low amount, tiny, cutoff, cut-off, "
                    "low total, less than, insignificant, hide, at least"
                ),
                "A total below 10 {value}.",
                {
                    "is listed like any other": "[category, total]",
                    "is listed as None": "[category, total if total >= 10 else None]",
                    "is listed as 10": "[category, max(total, 10)]",
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("come first"),
                "The pairs come {value}.",
                {
                    "as the categories first appear": "pairs",
                    "in the order of sorted()": "sorted(pairs)",
                    "in the reverse order of sorted()": "sorted(pairs, reverse=True)",
                },
            ),
        ),
        draw_spending,
    ),
    Function(
        "fill_orders(stock, orders)",
        "takes what [item, quantity] orders ask for out of a stock, a dictionary of items and counts, and returns the "
        "stock that is left.",
        """
def fill_orders(stock, orders):
    left = dict(stock)
    for item, quantity in orders:
        if item not in stock:
            $unknown
        elif left[item] < quantity:
            left[item] = $shortage
        else:
            left[item] -= quantity
    return $empty
""",
        (
            Detail(
                "shortage",
                words(
                    "shortage, enough, insufficient, too few, too much, negative, partially, partly, partial, "
                    "exceed, more than, cannot be filled, run out, larger than, below zero, short"
                ),
                "An order for more than there is {value}.",
                {
                    "is not filled at all": "left[item]",
                    "is filled as far as possible": "0",
                    "is filled by going below zero": "left[item] - quantity",
                },
            ),
            Detail(
                "unknown",
                words(
                    "unknown items, unknown, not in stock, missing, not exist, not listed, no such item, "
                    "does not have, not have the item, does not contain, new item, not known"
                ),
                "Orders for items that the stock does not know {value}.",
                {"are ignored": "pass", "add the item with the value None": "left[item] = None"},
            ),
            Detail(
                "empty",
                words(
                    "empty items, empty, zero, used up, sold out, none left, nothing left, no stock left, "
                    "exhausted, 0, run out of, -below zero, -below 0, -less than 0, -less than zero"
                ),
                "Items with a count of 0 in the end {value}.",
                {
                    "are listed with 0": "left",
                    "are taken off the list": "{item: count for item, count in left.items() if count != 0}",
                },
            ),
        ),
        draw_stock,
    ),
    Function(
        "turn_grid(grid)",
        "turns a grid of letters, given as a list of lists.",
        """
def turn_grid(grid):
    turned = $direction
    turned = $mirror
    return $output
""",
        (
            Detail(
                "direction",
                words(
                    "direction, turn, clockwise, degrees, angle, rotate, rotation, counterclockwise, "
                    "anticlockwise, how far, which way, left or, quarter, half, to the left, to the right, "
                    "upside down, 90"
                ),
                "Turn it {value}.",
                {
                    "a quarter to the right": "[list(row) for row in zip(*grid[::-1])]",
                    "a quarter to the left": "[list(row) for row in zip(*grid)][::-1]",
                    "upside down, by half a turn": "[row[::-1] for row in grid[::-1]]",
                },
            ),
            Detail(
                "mirror",
                words("mirror, flip, reflect, reflection"),
                "After turning, {value}.",
                {"do not mirror it": "turned", "mirror each row": "[row[::-1] for row in turned]"},
            ),
            Detail(
                "output",
                words("output, result, return, format, type, rows, look like, string, list of, represent, each row"),
                "Return {value}.",
                {
                    "one list for each row, in a list": "turned",
                    "a list with each row as text": '["".join(row) for row in turned]',
                    "one text with a slash between rows": '"/".join("".join(row) for row in turned)',
                },
            ),
        ),
        lambda rng: [[rng.sample("abcdefghijklm", 3) for _ in range(rng.choice([2, 3, 4]))]],
    ),
    Function(
        "pair_players(players)",
        "pairs the players of a list, best player first, for a round of matches and returns a list of pairs.",
        """
def pair_players(players):
    players = list(players)
    rest = []
    if len(players) % 2:
        rest = [players.pop($bye)]
    half = len(players) // 2
    pairs = [$pairing for i in range(half)]
    return pairs + [$alone for player in rest]
""",
        (
            Detail(
                "pairing",
                words(
                    "pairing, against, matched, pair, plays, match them, matchup, opponent, drawn, draw, "
                    "best play, top half, neighbour, -paired with none, -without an opponent, -no opponent, "
                    "-list of pairs, -pair of"
                ),
                "{value}.",
                {
                    "The best plays the worst, the second the last but one": "[players[i], players[-1 - i]]",
                    "Neighbours on the list play each other": "[players[2 * i], players[2 * i + 1]]",
                    "The top half plays the bottom half, first against first": "[players[i], players[half + i]]",
                },
            ),
            Detail(
                "bye",
                words(
                    "bye, odd, uneven, left over, sits out, without opponent, even number, sit out, "
                    "has no opponent, who ... left over, no partner, has no match, who ... no match"
                ),
                "If their number is odd, {value} has no match.",
                {"the best player": "0", "the worst player": "-1", "the player in the middle": "len(players) // 2"},
            ),
            Detail(
                "alone",
                words(
                    "listed, list the, shown, alone, no match, pair of, without a match, someone with no, "
                    "represent, bye be, bye player, player with the bye, unmatched, unpaired, how ... bye, "
                    "-who has no match, -who ... no match"
                ),
                "Whoever has no match {value}.",
                {"comes last, paired with None": "[player, None]", "comes last, in a list of one": "[player]"},
            ),
        ),
        lambda rng: [rng.sample(NAMES, rng.choice([5, 7, 9]))],
    ),
    Function(
        "count_votes(ballots)",
        "counts a list of votes and returns [name, votes] pairs, most votes first. An empty text is a blank vote.",
        """
def count_votes(ballots):
    names = [name$case for name in ballots]
    names = [$blank]
    counts = {name: names.count(name) for name in names}
    return [[name, counts[name]] for name in sorted($ties, key=lambda name: -counts[name])]
""",
        (
            Detail(
                "case",
                CASE_KEYWORDS + words("spelled, same person, the same candidate, same name"),
                "Names that differ in case only {value}.",
                {
                    "are the same, written in capitals": ".upper()",
                    "are the same, written small": ".lower()",
                    "are different names": "",
                },
            ),
            Detail(
                "blank",
                words("blank votes, blank, empty, invalid, nobody, abstention, no name, spoiled"),
                "Blank votes {value}.",
                {
                    "are not counted": "name for name in names if name",
                    "count as votes for nobody": 'name or "nobody" for name in names',
                },
            ),
            Detail(
                "ties",
                words("ties, tie, equal, same number of votes, as many votes, draw, equally") + ORDER_KEYWORDS,
                "With equal votes, {value}.",
                {
                    "go by the order of sorted()": "sorted(counts)",
                    "go by the reverse order of sorted()": "sorted(counts, reverse=True)",
                    "go by who was first voted for": "counts",
                },
            ),
        ),
        draw_ballots,
    ),
    Function(
        "longest_streak(values)",
        "finds the longest streak in a list of numbers, a run of neighbours that go on from one another.",
        """
def longest_streak(values):
    runs = [[0]]
    for i in range(1, len(values)):
        if values[i] $kind values[i - 1]:
            runs[-1].append(i)
        else:
            runs.append([i])
    length = max(map(len, runs))
    run = [run for run in runs if len(run) == length][$ties]
    return $output
""",
        (
            Detail(
                "kind",
                words(
                    "streak, kind, equal, strictly, goes on, count, increase, decrease, rise, fall, "
                    "consecutive, larger, smaller, ascending, descending, grow, define, definition, "
                    "-longest streaks, -streaks ... length, -several streaks, -multiple streaks, -two streaks, "
                    "-equal length, -equal streaks, -more than one streak, -length of ... streak, "
                    "-longest streak, -return ... streak, -count from, -counting from, -streaks ... long, "
                    "-streak ... returned, -streak ... represented"
                ),
                "In a streak, each number {value}.",
                {
                    "is larger than the one before": ">",
                    "is at least as large as the one before": ">=",
                    "is smaller than the one before": "<",
                },
            ),
            Detail(
                "ties",
                words(
                    "ties, tie, several, same length, more than one, multiple, two streaks, equally long, "
                    "equal length, tiebreak, which one, as long"
                ),
                "If several are longest, take {value}.",
                {"the first of them": "0", "the last of them": "-1"},
            ),
            Detail(
                "output",
                words(
                    "output, result, return, format, index, indices, position, look like, length or, "
                    "numbers or, values, report"
                ),
                "Return {value}.",
                {
                    "its numbers as a list": "[values[i] for i in run]",
                    "the positions of its start and its end, counting from 0": "[run[0], run[-1]]",
                    "the positions of its start and its end, counting from 1": "[run[0] + 1, run[-1] + 1]",
                    "the position of its start, counting from 0, and its length": "[run[0], len(run)]",
                },
            ),
        ),
        draw_streaks,
    ),
    Function(
        "compare_prices(old, new)",
        "compares two dictionaries of products and prices and returns a dictionary of products and changes.",
        """
def compare_prices(old, new):
    changes = {key: $change for key in old if key in new$same}
    for key in old:
        if key not in new:
            $gone
    return changes
""",
        (
            Detail(
                "change",
                words(
                    "change, difference, sign, output, format, percent, percentage, minus, expressed, "
                    "both prices, absolute, relative, subtract, calculated, computed, -not change, "
                    "-did not change, -no change, -without a change, -not changed, -didn't change, "
                    "-don't change, -doesn't change"
                ),
                "A change is {value}.",
                {
                    "the new price minus the old": "new[key] - old[key]",
                    "the old price minus the new": "old[key] - new[key]",
                    "a list of the old and the new price": "[old[key], new[key]]",
                },
            ),
            Detail(
                "same",
                words(
                    "unchanged products, unchanged, equal, same, not change, no change, without a change, "
                    "no difference, didn't change, don't change, identical"
                ),
                "Products whose price is the same {value}.",
                {"are listed like the others": "", "are left out": " and old[key] != new[key]"},
            ),
            Detail(
                "gone",
                words(
                    "gone, missing, removed, added, only in, no longer, discontinued, disappear, only ... old, "
                    "only ... new, absent, only appear, appear in, just one, in one of, in both, new product"
                ),
                "Products that are only in the old prices {value}, and those only in the new ones are not listed.",
                {
                    "do not appear": "pass",
                    "are listed with None": "changes[key] = None",
                    "are listed with the text gone": 'changes[key] = "gone"',
                },
            ),
        ),
        draw_catalogues,
    ),
]
