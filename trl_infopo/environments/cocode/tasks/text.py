# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Functions of text."""

from ..._keywords import words
from . import CASE_KEYWORDS, ORDER_KEYWORDS, Detail, Function


WORDS = ["river", "stone", "Apple", "green", "Tiger", "lamp", "cloud", "Music", "winter", "Piano", "candle", "Garden"]


def draw_title(rng):
    words = rng.sample(WORDS, 3) + [str(rng.randrange(10, 99))] + rng.sample(WORDS, 2)
    return ["  ".join(words[:2]) + ", " + " ".join(words[2:]) + "!"]


def draw_names(rng):
    first = rng.sample(["Ludwig", "Vincent", "Charles", "Maria", "Leonardo", "Anna"], 2)
    last = rng.sample(["Berg", "Gogh", "Silva", "Vinci", "Klein", "Moor"], 2)
    return [f"{first[0]} {first[1]} {rng.choice(['van', 'de', 'von', 'da'])} {last[0]} {last[1]}"]


def draw_headline(rng):
    small = rng.sample(["the", "of", "and", "in", "a"], 3)
    words = rng.sample([word.lower() for word in WORDS], 4)
    acronym = rng.choice(["NASA", "UNO", "BBC"])
    return [f"{small[0]} {words[0]} {small[1]} {acronym} {words[1]}-{words[2]} {small[2]} {words[3]}"]


def draw_number(rng):
    return [" ".join(str(rng.randrange(1000, 9999)) for _ in range(rng.choice([3, 4])))]


def draw_prose(rng):
    words = rng.choices(["Red", "red", "blue", "Sea", "sea", "a", "A", "of", "sky", "Sky", "moon"], k=13)
    return [" ".join(["Sea", "sea", "Red", "of", "a", "of", *words])]


def draw_items(rng):
    return [rng.sample([word.lower() for word in WORDS], rng.choice([3, 4])) + ["", rng.choice(WORDS).lower()]]


def draw_secret(rng):
    return [f"{rng.choice(WORDS)} {rng.randrange(100, 999)} {rng.choice(WORDS)}", rng.randrange(1, 5)]


def draw_pairs(rng):
    a, b, c = rng.sample(["size", "Color", "weight", "Shape", "Price"], 3)
    numbers = rng.sample(range(10, 99), 3)
    return [f"{a}={numbers[0]}; {b.upper()} = {rng.choice(WORDS)};{c}= {numbers[1]} ;{a}={numbers[2]}"]


def draw_table(rng):
    words = rng.sample(WORDS, 3)
    return [[[words[0], rng.randrange(1, 9)], [words[1][:3], rng.randrange(100, 999)], [words[2] + "s", None]]]


def draw_censored(rng):
    word = rng.choice(["red", "art", "tea"])
    longer = {"red": "hundred", "art": "party", "tea": "steam"}[word]
    parts = [word, word.upper(), longer, *rng.sample(WORDS, 2)]
    return [" ".join(rng.sample(parts, 5)), word]


def draw_runs(rng):
    text = "".join(rng.choice("xyz") * rng.choice([1, 2, 3]) for _ in range(3))
    return [text + "aAAb" + text.upper()[:2]]


def draw_identifiers(rng):
    words = [word.lower() for word in WORDS]
    first, second, third, fourth = rng.sample(words, 4)
    return [[f"_{first}_{second}", f"{third}_id", f"{fourth}_url_{first}"]]


FUNCTIONS = [
    Function(
        "slugify(title)",
        "turns a title into a slug for a URL: its words, made of letters or digits, with something between them.",
        """
import re
def slugify(title):
    words = re.findall("[A-Za-z0-9]+", title)
    return "$separator".join(word$case for word in words if $digits)
""",
        (
            Detail(
                "separator",
                words(
                    "separator, between, dash, hyphen, underscore, join, separate, connect, replace ... space, "
                    "space, delimiter"
                ),
                "Between words goes {value}.",
                {"a hyphen": "-", "an underscore": "_", "a dot": "."},
            ),
            Detail(
                "case",
                CASE_KEYWORDS + words("small letters, small"),
                "Letters {value}.",
                {"become lower case": ".lower()", "become upper case": ".upper()", "keep their case": ""},
            ),
            Detail(
                "digits",
                words("digits, digit, number, numeric, numeral"),
                "Words made of digits {value}.",
                {"stay in": "True", "are left out": "not word.isdigit()"},
            ),
        ),
        draw_title,
    ),
    Function(
        "initials(name)",
        "returns the initials of a full name, the words of which are separated by spaces.",
        """
def initials(name):
    words = name.split()
    words = $middle
    letters = []
    for word in words:
        if word.islower():
            $particles
        else:
            letters.append(word[0])
    return $format
""",
        (
            Detail(
                "middle",
                words(
                    "middle names, middle, first and last, every word, only the first, which words, "
                    "which names, every name, each name, all names, all words, all the names, second name, "
                    "initial for, -first and last letter"
                ),
                "Of the names, {value}.",
                {
                    "take every word": "words",
                    "leave out the second word": "words[:1] + words[2:]",
                    "leave out the last word": "words[:-1]",
                },
            ),
            Detail(
                "particles",
                words(
                    "particles, particle, van, de, lower, small words, lowercase, uncapitalized, "
                    'not capitalized, "von", prefix, small letter, written small, "of", nobiliary, capital, '
                    "upper, case"
                ),
                "Words in lower case, like van or de, {value}.",
                {
                    "do not give a letter": "pass",
                    "give a small letter": "letters.append(word[0])",
                    "give a capital letter": "letters.append(word[0].upper())",
                },
            ),
            Detail(
                "format",
                words(
                    "format, dot, spaces, separator, punctuation, period, separate, joined, between, "
                    "full stop, written"
                ),
                "Write them {value}.",
                {
                    "with nothing between or after them": '"".join(letters)',
                    "with a dot after each and no spaces": '"".join(letter + "." for letter in letters)',
                    "with a single space between them": '" ".join(letters)',
                },
            ),
        ),
        draw_names,
    ),
    Function(
        "shorten(text, limit)",
        "shortens a text that is longer than a limit, and marks that it was cut.",
        """
def shorten(text, limit):
    if len(text) <= limit:
        return text
    mark = "$mark"
    room = limit - $counting
    cut = text[:room]
    return $cut + mark
""",
        (
            Detail(
                "mark",
                words(
                    "mark, ellipsis, ending, suffix, marker, indicate, indicator, symbol, show that, was shortened, "
                    "was cut, append, dot, sign, signal, -include ... mark, -include ... marker, "
                    "-include ... ellipsis, -include ... suffix, -mark ... count, -marker ... count, "
                    "-ellipsis ... count, -suffix ... count, -count ... mark, -count ... ellipsis, "
                    "-mark ... included, -marker ... included, -ellipsis ... included, -mark part, "
                    "-marker part, -ellipsis part, -limit ... mark, -limit ... ellipsis, -length ... mark, "
                    "-length ... ellipsis"
                ),
                "The mark is {value}.",
                {"three dots": "...", "the text (more)": "(more)", "the text [cut]": "[cut]"},
            ),
            Detail(
                "counting",
                words("length, count, limit, include, part of the, maximum, towards, in addition, on top of, fit"),
                "The mark {value}.",
                {"counts towards the limit": "len(mark)", "comes on top of the limit": "0"},
            ),
            Detail(
                "cut",
                words(
                    "cut, word, boundary, kept whole, middle, break, last space, where ... cut, truncate, "
                    "-mark ... cut, -was cut, -is cut, -indicate ... cut, -show ... cut"
                ),
                "Cut {value}.",
                {
                    "anywhere, even within a word": "cut",
                    "before the last space in what fits, the space included": 'cut.rpartition(" ")[0]',
                },
            ),
        ),
        lambda rng: [" ".join(rng.sample(WORDS, 7)), rng.randrange(17, 30)],
    ),
    Function(
        "title_case(headline)",
        "puts a headline into title case: each word with a capital letter first and small letters after it.",
        """
def title_case(headline):
    def capitalize(word):
        if word.isupper() and len(word) > 1:
            return $acronyms
        parts = [part.capitalize() for part in word.split("-")]
        return $hyphens
    words = [word if $small else capitalize(word) for i, word in enumerate(headline.split())]
    return " ".join(words)
""",
        (
            Detail(
                "small",
                words(
                    'small words, small, short words, articles, prepositions, function words, "of", "the", '
                    '"and", minor words, lower case, lowercase, conjunction, stop words, little words, '
                    "always capitalize, every word, all words, -all words ... caps"
                ),
                "The small words the, of, and, in, a {value}.",
                {
                    "are treated like all others": "False",
                    "stay small wherever they are": 'word in ("the", "of", "and", "in", "a")',
                    "stay small unless they come first": 'i and word in ("the", "of", "and", "in", "a")',
                },
            ),
            Detail(
                "acronyms",
                words(
                    "acronyms, acronym, abbreviations, capitals, upper, uppercase, all caps, all-caps, "
                    "abbreviated, all capital, in capital, initialism"
                ),
                "Words all in capitals {value}.",
                {
                    "do not change": "word",
                    "get small letters after the first": "word.capitalize()",
                    "get dots, like U.N.": '".".join(word) + "."',
                },
            ),
            Detail(
                "hyphens",
                words("hyphens, hyphen, hyphenated, dash, compound, both parts, each part, second part"),
                "In a word with a hyphen, {value}.",
                {
                    "both parts get a capital": '"-".join(parts)',
                    "only the first part gets a capital": "word.capitalize()",
                    "the hyphen becomes a space and each part gets a capital": '" ".join(parts)',
                },
            ),
        ),
        draw_headline,
    ),
    Function(
        "mask_number(number)",
        "hides most of a card number, a text of digits in groups with spaces between.",
        """
def mask_number(number):
    number = $spaces
    digits = [i for i, char in enumerate(number) if char != " "]
    shown = $shown
    return "".join(char if char == " " or i in shown else "$mask" for i, char in enumerate(number))
""",
        (
            Detail(
                "shown",
                words(
                    "visible digits, visible, shown, show, keep, last, first, how many, readable, remain, "
                    "unmasked, reveal, which digits, display, how much, digits ... keep, digits ... stay, "
                    "-keep ... spaces, -show ... spaces, -spaces ... shown, -spaces remain, "
                    "-keep ... grouping, -keep ... groups, -how many ... hidden"
                ),
                "Show {value}.",
                {
                    "the last four digits": "digits[-4:]",
                    "the first four digits": "digits[:4]",
                    "the first two and the last two digits": "digits[:2] + digits[-2:]",
                },
            ),
            Detail(
                "mask",
                words(
                    "mask, character, symbol, replace, hide, hidden, asterisk, star, placeholder, cover, sign, "
                    "-how many ... hidden, -how many ... hide, -how many ... mask, -which ... hidden, "
                    "-which ... hide, -which ... masked, -spaces be hidden, -spaces ... masked"
                ),
                "Put {value} for every other digit.",
                {"a star": "*", "a capital X": "X", "a hash sign": "#"},
            ),
            Detail(
                "spaces",
                words("spaces, space, gaps, whitespace, blank, format, group"),
                "The spaces {value}.",
                {"stay where they are": "number", "are removed": 'number.replace(" ", "")'},
            ),
        ),
        draw_number,
    ),
    Function(
        "count_words(text)",
        "counts the words of a text without punctuation and returns [word, count] pairs.",
        """
def count_words(text):
    words = [word for word in text$case.split() if len(word) >= $short]
    counts = [[word, words.count(word)] for word in dict.fromkeys(words)]
    return $order
""",
        (
            Detail(
                "case",
                CASE_KEYWORDS + words('same word, different words, "the" and "the", the same'),
                "Words that differ in upper and lower case only {value}.",
                {
                    "are different words": "",
                    "are one word, written small": ".lower()",
                    "are one word, written in capitals": ".upper()",
                },
            ),
            Detail(
                "short",
                words(
                    "short words, short, length, minimum, ignore, skip, stop words, single letter, one-letter, "
                    "one letter, how long, letters long, exclude, shortest, common words, all words, "
                    "-ignore case"
                ),
                "Words of {value}.",
                {
                    "any length count": "1",
                    "a single letter do not count": "2",
                    "one or two letters do not count": "3",
                },
            ),
            Detail(
                "order",
                ORDER_KEYWORDS + words("frequent, frequency, most common, come first, by count"),
                "List them {value}.",
                {
                    "as they first appear": "counts",
                    "by alphabet, as sorted() does": "sorted(counts)",
                    "most frequent first, ties in the order of the text": "sorted(counts, key=lambda pair: -pair[1])",
                },
            ),
        ),
        draw_prose,
    ),
    Function(
        "join_items(items)",
        "writes a list of words as part of an English sentence.",
        """
def join_items(items):
    items = [$quotes for item in $empty]
    return ", ".join(items[:-1]) + "$last" + items[-1]
""",
        (
            Detail(
                "last",
                words('last word, last, and, comma, conjunction, final, oxford, "or", connect, joined'),
                "Before the last one comes {value}.",
                {
                    "the word and, without a comma": " and ",
                    "a comma and the word and": ", and ",
                    "the word or, without a comma": " or ",
                    "a comma and the word or": ", or ",
                },
            ),
            Detail(
                "empty",
                words("empty items, empty, blank, missing, null, none, nothing"),
                "Empty texts {value}.",
                {
                    "are left out": "items if item",
                    "are written as a question mark": '[item or "?" for item in items]',
                },
            ),
            Detail(
                "quotes",
                words("quotes, quote, quotation, marks, apostrophe, single or double"),
                "Each item stands {value}.",
                {"in double quotes": "f'\"{item}\"'", "in single quotes": "f\"'{item}'\"", "without quotes": "item"},
            ),
        ),
        draw_items,
    ),
    Function(
        "encrypt(message, shift)",
        "shifts the letters of a message along the alphabet from a to z, around its end, and returns the message.",
        """
def encrypt(message, shift):
    result = ""
    for char in message$case:
        if char.isalpha():
            base = ord("A") if char.isupper() else ord("a")
            char = chr((ord(char) - base $direction shift) % 26 + base)
        elif char.isdigit():
            char = $digits
        result += char
    return result
""",
        (
            Detail(
                "direction",
                words(
                    'direction, forward, backward, left, right, "a" turned, "a" become, "a" turn, "a" map, '
                    "up or down, ahead, towards, which way, negative shift, rotate"
                ),
                "Shift {value}.",
                {"forwards, so that a becomes b": "+", "backwards, so that b becomes a": "-"},
            ),
            Detail(
                "case",
                CASE_KEYWORDS + words("small letters, small"),
                "Letters {value}.",
                {
                    "keep their case": "",
                    "are turned into capitals first": ".upper()",
                    "are turned into small letters first": ".lower()",
                },
            ),
            Detail(
                "digits",
                words("digits, digit, number, numeric, numeral"),
                "Digits {value}.",
                {
                    "stay as they are": "char",
                    "are replaced with a hash sign": '"#"',
                    "are removed": '""',
                    "grow by the shift, 9 being followed by 0": "str((int(char) + shift) % 10)",
                },
            ),
        ),
        draw_secret,
    ),
    Function(
        "parse_settings(text)",
        "reads settings like 'a=1; b=x' into a dictionary, without the spaces around keys and values.",
        """
def parse_settings(text):
    settings = {}
    for part in text.split(";"):
        key, value = [side.strip() for side in part.split("=")]
        key = key$case
        value = $numbers
        $repeated
    return settings
""",
        (
            Detail(
                "case",
                words("case of the keys") + CASE_KEYWORDS,
                "Keys {value}.",
                {"keep their case": "", "become lower case": ".lower()", "become upper case": ".upper()"},
            ),
            Detail(
                "numbers",
                words(
                    "numbers, number, type, digits, int, numeric, integer, string, convert, float, conversion, "
                    "parse ... as"
                ),
                "Values made of digits {value}.",
                {"stay text": "value", "become numbers": "int(value) if value.isdigit() else value"},
            ),
            Detail(
                "repeated",
                words(
                    "repeated keys, duplicate, twice, same key, more than once, again, several times, "
                    "multiple times, repeat, double, two times, overwrite, overwritten, which value, "
                    "occur ... again, first or the last"
                ),
                "If a key comes twice, {value}.",
                {
                    "the first value counts": "settings.setdefault(key, value)",
                    "the last value counts": "settings[key] = value",
                    "its value becomes None": "settings[key] = None if key in settings else value",
                },
            ),
        ),
        draw_pairs,
    ),
    Function(
        "format_table(rows)",
        "returns [name, number] rows as a list of lines of text, each column as wide as its longest entry. The last "
        "column is aligned to the right.",
        """
def format_table(rows):
    cells = [[name, "$missing" if number is None else str(number)] for name, number in rows]
    left = max(len(name) for name, _ in cells)
    right = max(len(number) for _, number in cells)
    return [name.$alignment(left) + "$separator" + number.rjust(right) for name, number in cells]
""",
        (
            Detail(
                "alignment",
                words("alignment, align, left, right, flush, justify, pad, indent, -right-aligned number"),
                "The first column is {value}.",
                {"aligned to the left": "ljust", "aligned to the right too": "rjust"},
            ),
            Detail(
                "separator",
                words(
                    "separator, between, gap, border, separate, vertical bar, pipe, divide, delimiter, divider, space"
                ),
                "Between the columns goes {value}.",
                {
                    "a single space": " ",
                    "a bar with a space on each side": " | ",
                    "a colon and a space": ": ",
                },
            ),
            Detail(
                "missing",
                words("missing numbers, missing, none, empty, null, without a number, no number, blank"),
                "For None write {value}.",
                {"a hyphen": "-", "the text n/a": "n/a", "an empty text": ""},
            ),
        ),
        draw_table,
    ),
    Function(
        "censor(text, word)",
        "hides a word in a text. The words of the text are separated by single spaces.",
        """
import re
def censor(text, word):
    return re.sub($matching, lambda match: $mask, text$case)
""",
        (
            Detail(
                "mask",
                words(
                    "replacement, mask, replace, hide, hidden, asterisk, star, substitute, what ... instead, "
                    "censor ... with, mask ... with, dots, -capitalized ... hidden, -hide capitalized, "
                    "-hide ... as well, -hidden as well, -mask ... as well, -hide ... inside, -hidden inside, "
                    "-hide ... within, -hide ... part, -hidden ... part, -hide ... longer, -hidden ... longer, "
                    "-capitals ... hidden, -hide ... capital, -hide ... case, -hide whole, -hide only whole, "
                    "-case ... hidden"
                ),
                "Replace it with {value}.",
                {
                    "as many stars as it has letters": '"*" * len(match[0])',
                    "its first letter and three dots": 'match[0][0] + "..."',
                    "the text [removed]": '"[removed]"',
                },
            ),
            Detail(
                "matching",
                words(
                    "longer words, whole, inside, part, within, substring, partial, longer, contain, compound, "
                    "occur in"
                ),
                "Inside longer words {value}.",
                {"hide it as well": "re.escape(word)", "let it stand": r'rf"\b{re.escape(word)}\b"'},
            ),
            Detail(
                "case",
                CASE_KEYWORDS,
                "As to case, {value}.",
                {
                    "only hide it when it is written just like the word": ", flags=0",
                    "hide it in capitals, too": ", flags=re.IGNORECASE",
                },
            ),
        ),
        draw_censored,
    ),
    Function(
        "compress(text)",
        "writes each run of a repeated letter as the letter and its count.",
        """
import itertools
def compress(text):
    runs = [(letter, len(list(run))) for letter, run in itertools.groupby(text$case)]
    return "$separator".join($order for letter, count in runs)
""",
        (
            Detail(
                "order",
                words(
                    "order, first, before, after, single, once, count of one, count come, letter come, the 1, "
                    "a 1, ones, count or, letter or, layout, a run of one, one letter, format, "
                    "-order of appearance, -before counting"
                ),
                "Write {value}.",
                {
                    "the letter, then the count, also when it is 1": 'f"{letter}{count}"',
                    "the count, then the letter, also when it is 1": 'f"{count}{letter}"',
                    "the letter, then the count unless it is 1": 'letter + (str(count) if count > 1 else "")',
                    "the count unless it is 1, then the letter": '(str(count) if count > 1 else "") + letter',
                },
            ),
            Detail(
                "case",
                CASE_KEYWORDS + words('"a" and "a", the same letter, differently'),
                "Capital and small letters {value}.",
                {"are different letters": "", "are the same, and all are written small": ".lower()"},
            ),
            Detail(
                "separator",
                words("separator, between, comma, space, separate, delimiter"),
                "Between the runs goes {value}.",
                {"no sign at all": "", "a comma": ",", "a hyphen": "-"},
            ),
        ),
        draw_runs,
    ),
    Function(
        "camel_case(names)",
        "turns a list of names like price_per_unit into names without underscores between the words.",
        """
def camel_case(names):
    result = []
    for name in names:
        words = [$acronyms for word in name.strip("_").split("_")]
        words[0] = $first
        result.append($leading + "".join(words))
    return result
""",
        (
            Detail(
                "first",
                words(
                    "first letter, first, start, begin, pascal, pascalcase, upper camel, lower camel, "
                    "initial letter, upper or lower, capital, capitalize, -starts with an underscore, "
                    "-begin with an underscore, -at the beginning, -at the start, -acronyms ... capital, "
                    "-abbreviations ... capital, -acronyms ... capitalized, -abbreviations ... capitalized, "
                    "-capitalize ... acronyms, -capitalize ... abbreviations, -all capitals"
                ),
                "The first word {value}.",
                {"starts with a capital, too": "words[0]", "is all in small letters": "words[0].lower()"},
            ),
            Detail(
                "acronyms",
                words("acronyms, acronym, id, url, abbreviations, initialism, special words"),
                "The words id and url {value}.",
                {
                    "are written like other words": "word.capitalize()",
                    "are written in capitals": 'word.upper() if word in ("id", "url") else word.capitalize()',
                    "stay in small letters": 'word if word in ("id", "url") else word.capitalize()',
                },
            ),
            Detail(
                "leading",
                words("leading underscores, leading, underscore, private"),
                "An underscore at the start of a name {value}.",
                {"is removed": '""', "is kept": '("_" if name.startswith("_") else "")'},
            ),
        ),
        draw_identifiers,
    ),
]
