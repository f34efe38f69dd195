# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The requests of users of [`ClarifyEnv`]: domains, their topics, and the sentences of users about each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """
    One thing that a user can have a wish about.

    Attributes:
        values (`tuple[str, ...]`):
            What the wish can be. No two topics of a domain share a value, so that a bare value says its topic.
        sentence (`str`):
            How a user says the wish, with `{value}` in it.
        keywords (`tuple[str, ...]`):
            Words with which a message asks for it, besides the topic's name.
    """

    values: tuple[str, ...]
    sentence: str
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class Domain:
    """
    One kind of request.

    Attributes:
        business (`str`):
            The business that the agent works for.
        needs (`tuple[str, ...]`):
            What the user asks for, in different words.
        topics (`dict[str, Topic]`):
            What a proposal can settle, by name.
    """

    business: str
    needs: tuple[str, ...]
    topics: dict[str, Topic]


WEEKDAYS = ("Monday", "Tuesday", "Thursday", "Friday", "Sunday")
MONTHS = ("January", "April", "June", "August", "October")
# Not "how much" alone, which also asks for other things
VERBS = ("can", "could", "may", "might", "do", "would", "should", "is", "are", "will")
HOW_MUCH = tuple(f"how much {verb}" for verb in VERBS)
COLOURS = ("red", "blue", "green", "black", "white")

DOMAINS = {
    "travel": Domain(
        business="a travel agency",
        needs=("a trip", "a holiday", "a few days away from home"),
        topics={
            "destination": Topic(
                ("Rome", "Oslo", "Lima", "Cairo", "Tokyo"),
                "I want to go to {value}.",
                ("where", "city", "country", "place"),
            ),
            "month": Topic(MONTHS, "I want to leave in {value}.", ("when", "date", "dates", "season")),
            "budget": Topic(
                ("300", "500", "800", "1200", "2000"),
                "I can spend {value} euros.",
                ("price", "spend", "cost", "money", *HOW_MUCH),
            ),
            "transport": Topic(
                ("train", "plane", "bus", "car", "ship"),
                "I want to go by {value}.",
                ("transportation", "travel by", "like to travel", "want to travel", "getting there", "get there"),
            ),
            "lodging": Topic(
                ("hotel", "hostel", "campsite", "bungalow", "cabin"),
                "I want to sleep in a {value}.",
                ("accommodation", "sleep", "room"),
            ),
            "company": Topic(
                ("partner", "parents", "friends", "children", "colleagues"),
                "I am going with my {value}.",
                ("who", "whom", "companions", "alone"),
            ),
            "activity": Topic(
                ("hiking", "diving", "shopping", "surfing", "sightseeing"),
                "I want to go {value}.",
                ("activities", "interests", "what to do", "plans"),
            ),
        },
    ),
    "table": Domain(
        business="a service that books tables in restaurants",
        needs=("a table", "a restaurant", "a place to eat out"),
        topics={
            "cuisine": Topic(
                ("Italian", "Indian", "Mexican", "Thai", "Greek"),
                "I feel like {value} food.",
                ("food", "kind of restaurant", "kitchen", "dish", "dishes"),
            ),
            "day": Topic(WEEKDAYS, "It must be on {value}.", ("when", "date", "weekday")),
            "time": Topic(
                ("five", "six", "seven", "eight", "nine"), "We come at {value} o'clock.", ("when", "hour", "what time")
            ),
            "guests": Topic(
                ("two", "three", "four", "ten", "twelve"),
                "We are {value} people.",
                ("people", "persons", "how many", "party", "group"),
            ),
            "seating": Topic(
                ("terrace", "window", "bar", "fireplace", "entrance"),
                "We would like to sit at the {value}.",
                ("seat", "seats", "sit", "indoors", "outdoors"),
            ),
            "atmosphere": Topic(
                ("quiet", "lively", "romantic", "formal", "traditional"),
                "It should be a {value} place.",
                ("ambience", "mood", "style"),
            ),
            "diet": Topic(
                ("vegan", "vegetarian", "halal", "kosher", "gluten-free"),
                "The food must be {value}.",
                ("dietary", "allergy", "allergies", "restrictions"),
            ),
        },
    ),
    "gift": Domain(
        business="a gift shop",
        needs=("a gift", "a present", "something to give away"),
        topics={
            "recipient": Topic(
                ("mother", "brother", "boss", "teacher", "neighbour"),
                "It is for my {value}.",
                ("who", "whom", "person"),
            ),
            "occasion": Topic(
                ("birthday", "wedding", "graduation", "retirement", "Christmas"),
                "It is a {value} present.",
                ("event", "celebration", "why"),
            ),
            "price": Topic(
                ("10", "20", "40", "60", "100"),
                "It can cost {value} euros.",
                ("budget", "spend", "cost", "money", *HOW_MUCH),
            ),
            "hobby": Topic(
                ("gardening", "cooking", "chess", "painting", "running"),
                "They love {value}.",
                ("hobbies", "interests", "likes", "like to do"),
            ),
            "material": Topic(
                ("wood", "silver", "leather", "glass", "wool"),
                "It should be made of {value}.",
                ("materials", "made of"),
            ),
            "colour": Topic(COLOURS, "It should be {value}.", ("color", "colours", "colors")),
            "delivery": Topic(
                ("courier", "post", "bicycle", "drone", "van"),
                "I want it delivered by {value}.",
                ("deliver", "delivered", "shipping", "ship", "send"),
            ),
        },
    ),
    "appointment": Domain(
        business="a medical centre",
        needs=("an appointment", "a doctor", "someone who can see me"),
        topics={
            "specialist": Topic(
                ("dentist", "dermatologist", "cardiologist", "neurologist", "paediatrician"),
                "I have to see a {value}.",
                ("speciality", "specialty", "doctor", "kind of doctor", "symptoms", "the problem", "your problem"),
            ),
            "day": Topic(WEEKDAYS, "I am free on {value}.", ("when", "date", "weekday")),
            "time": Topic(
                ("eight", "nine", "ten", "two", "four"),
                "I can come at {value} o'clock.",
                ("when", "hour", "what time"),
            ),
            "language": Topic(
                ("English", "Spanish", "Arabic", "Polish", "Turkish"), "I speak {value}.", ("languages", "speak")
            ),
            "area": Topic(
                ("station", "harbour", "campus", "airport", "stadium"),
                "It should be near the {value}.",
                ("where", "location", "place", "district"),
            ),
            "payment": Topic(
                ("card", "cash", "cheque", "invoice", "voucher"),
                "I pay by {value}.",
                ("pay", "insurance", "insured", "bill"),
            ),
            "reminder": Topic(
                ("email", "letter", "telephone", "text", "fax"),
                "Remind me by {value}.",
                ("remind", "reminders", "contact", "reach you"),
            ),
        },
    ),
    "flat": Domain(
        business="an estate agency",
        needs=("a flat", "a new home", "somewhere to live"),
        topics={
            "district": Topic(
                ("station", "harbour", "campus", "river", "park"),
                "I want to live near the {value}.",
                ("where", "area", "location", "neighbourhood", "neighborhood"),
            ),
            "rooms": Topic(
                ("one", "two", "three", "four", "five"),
                "The flat must have {value} rooms.",
                ("room", "bedroom", "bedrooms", "size", "how big", "how many"),
            ),
            "rent": Topic(
                ("500", "700", "900", "1200", "1500"),
                "I can pay {value} euros a month.",
                ("budget", "price", "pay", "cost", *HOW_MUCH),
            ),
            "floor": Topic(
                ("ground", "second", "third", "fourth", "top"),
                "It should be on the {value} floor.",
                ("storey", "story", "level"),
            ),
            "month": Topic(MONTHS, "I want to move in {value}.", ("when", "date", "move", "move in")),
            "pet": Topic(
                ("dog", "cat", "parrot", "rabbit", "hamster"),
                "I have a {value}.",
                ("pets", "animal", "animals"),
            ),
            "extra": Topic(
                ("balcony", "garage", "garden", "lift", "fireplace"),
                "It must have a {value}.",
                ("extras", "features", "amenities", "else"),
            ),
        },
    ),
    "laptop": Domain(
        business="a computer shop",
        needs=("a laptop", "a new computer", "a notebook to carry around"),
        topics={
            "purpose": Topic(
                ("gaming", "writing", "programming", "drawing", "teaching"),
                "I need it for {value}.",
                ("use", "used", "what for", "tasks", "work with", "for work", "work on"),
            ),
            "price": Topic(
                ("400", "600", "900", "1300", "1900"),
                "I can spend {value} euros.",
                ("budget", "spend", "cost", "money", *HOW_MUCH),
            ),
            "system": Topic(
                ("Windows", "Linux", "macOS", "ChromeOS", "FreeBSD"),
                "It must run {value}.",
                ("operating system", "os", "software"),
            ),
            "screen": Topic(
                ("12", "13", "14", "15", "17"),
                "I want a screen of {value} inches.",
                ("display", "inches", "size", "how big"),
            ),
            "memory": Topic(
                ("8", "16", "32", "64", "128"), "It needs {value} gigabytes of memory.", ("ram", "gigabytes")
            ),
            "keyboard": Topic(
                ("German", "French", "British", "Spanish", "Danish"),
                "The keyboard must be {value}.",
                ("keys", "layout", "language"),
            ),
            "colour": Topic(COLOURS, "It should be {value}.", ("color", "colours", "colors")),
        },
    ),
}
