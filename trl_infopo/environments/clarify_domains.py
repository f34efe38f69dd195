# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The requests of users of [`ClarifyEnv`]: domains, their topics, and the sentences of users about each."""

from dataclasses import dataclass

from ._keywords import words


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
            What asks for it besides the topic's name, as in a [`~trl_infopo.users.Fact`].
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
                words(
                    "where, city, country, place, -where ... stay, -where ... sleep, -where ... night, "
                    "-place to stay, -place to sleep"
                ),
            ),
            "month": Topic(
                MONTHS,
                "I want to leave in {value}.",
                words("when, date, season, time of year, time of the year, depart, how soon"),
            ),
            "budget": Topic(
                ("300", "500", "800", "1200", "2000"),
                "I can spend {value} euros.",
                words("price, spend, cost, money, afford, expensive, -spend the night, -spend your") + HOW_MUCH,
            ),
            "transport": Topic(
                ("train", "plane", "bus", "car", "ship"),
                "I want to go by {value}.",
                words(
                    "transportation, travel by, like to travel, want to travel, getting there, get there, "
                    "how ... travel, how ... go, fly, drive, take the train, vehicle, -when ... travel, "
                    "-where ... travel, -who ... travel, -whom ... travel, -how many ... travel, "
                    "-how long ... travel, -how much ... travel, -how ... going?"
                ),
            ),
            "lodging": Topic(
                ("hotel", "hostel", "campsite", "bungalow", "cabin"),
                "I want to sleep in a {value}.",
                words("accommodation, sleep, room, stay, overnight, night, -how long ... stay, -how many nights"),
            ),
            "company": Topic(
                ("partner", "parents", "friends", "children", "colleagues"),
                "I am going with my {value}.",
                words(
                    "who, whom, companions, alone, how many, accompany, with anyone, with someone, join you, "
                    "-how many days, -how many nights, -how many weeks, -how many rooms"
                ),
            ),
            "activity": Topic(
                ("hiking", "diving", "shopping", "surfing", "sightseeing"),
                "I want to go {value}.",
                words(
                    "interests, interested, what to do, plans, like to do, want to do, plan to do, "
                    "anything planned, do there, enjoy, excursion, sights, hobby"
                ),
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
                words(
                    "food, kind of restaurant, kitchen, dish, meal, craving, like to eat, want to eat, "
                    "mood to eat, like eating, -food restrictions, -food allergy"
                ),
            ),
            "day": Topic(
                WEEKDAYS, "It must be on {value}.", words("when, date, weekday, -time of day, -time of the day")
            ),
            "time": Topic(
                ("five", "six", "seven", "eight", "nine"),
                "We come at {value} o'clock.",
                words("when, hour, what time, arrive, arrival, how early, how late"),
            ),
            "guests": Topic(
                ("two", "three", "four", "ten", "twelve"),
                "We are {value} people.",
                words("people, persons, how many, party, group, who, join you, -who ... vegetarian, -who ... vegan"),
            ),
            "seating": Topic(
                ("terrace", "window", "bar", "fireplace", "entrance"),
                "We would like to sit at the {value}.",
                words("seat, sit, indoor, outdoor, inside, outside, table at the, table by the, table near"),
            ),
            "atmosphere": Topic(
                ("quiet", "lively", "romantic", "formal", "traditional"),
                "It should be a {value} place.",
                words("ambience, ambiance, mood, style, vibe, setting, -mood to eat, -mood for"),
            ),
            "diet": Topic(
                ("vegan", "vegetarian", "halal", "kosher", "gluten-free"),
                "The food must be {value}.",
                words(
                    "dietary, allergy, allergic, restrictions, intolerance, don't eat, can't eat, cannot eat, "
                    "anyone vegetarian, anyone vegan, are you vegetarian, are you vegan"
                ),
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
                words(
                    "who, whom, person, -recipient's, -person's, -the person like, -the person ... interested, "
                    "-does the person, -does the recipient, -is the recipient interested, -in person"
                ),
            ),
            "occasion": Topic(
                ("birthday", "wedding", "graduation", "retirement", "Christmas"),
                "It is a {value} present.",
                words("event, celebration, celebrate, why, birthday, wedding, anniversary"),
            ),
            "price": Topic(
                ("10", "20", "40", "60", "100"),
                "It can cost {value} euros.",
                words("budget, spend, cost, money, expensive, afford, -spend ... time") + HOW_MUCH,
            ),
            "hobby": Topic(
                ("gardening", "cooking", "chess", "painting", "running"),
                "They love {value}.",
                words("interests, interested, likes, like to do, enjoy, free time, passion, spend ... time")
                + tuple(f"what {who} like" for who in ("do they", "does he", "does she", "does the person")),
            ),
            "material": Topic(
                ("wood", "silver", "leather", "glass", "wool"),
                "It should be made of {value}.",
                words("materials, made of, made from, made out of"),
            ),
            "colour": Topic(COLOURS, "It should be {value}.", ("color",)),
            "delivery": Topic(
                ("courier", "post", "bicycle", "drone", "van"),
                "I want it delivered by {value}.",
                words("deliver, ship, send, sent, get it to"),
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
                words(
                    "speciality, specialty, doctor, symptoms, the problem, your problem, brings you, "
                    "bring you, complaint, the reason, pain, hurt, the matter, your issue, the issue, to see?, "
                    "-should the doctor, -doctor ... speak, -doctor ... talk, -the doctor be, -doctor's"
                ),
            ),
            "day": Topic(
                WEEKDAYS, "I am free on {value}.", words("when, date, weekday, -time of day, -time of the day")
            ),
            "time": Topic(
                ("eight", "nine", "ten", "two", "four"),
                "I can come at {value} o'clock.",
                words("when, hour, what time"),
            ),
            "language": Topic(
                ("English", "Spanish", "Arabic", "Polish", "Turkish"),
                "I speak {value}.",
                words("speak, spoken, talk to you, interpreter"),
            ),
            "area": Topic(
                ("station", "harbour", "campus", "airport", "stadium"),
                "It should be near the {value}.",
                words("where, location, place, district, part of, neighbourhood, neighborhood, -where ... hurt"),
            ),
            "payment": Topic(
                ("card", "cash", "cheque", "invoice", "voucher"),
                "I pay by {value}.",
                words("pay, insurance, insured, bill, settle"),
            ),
            "reminder": Topic(
                ("email", "letter", "telephone", "text", "fax"),
                "Remind me by {value}.",
                words("remind, contact, reach you, notify, confirmation"),
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
                words("where, area, location, neighbourhood, neighborhood, part of"),
            ),
            "rooms": Topic(
                ("one", "two", "three", "four", "five"),
                "The flat must have {value} rooms.",
                words(
                    "room, bedroom, size, how big, how large, spacious, how many, -how many pets, "
                    "-how many animals, -how many people"
                ),
            ),
            "rent": Topic(
                ("500", "700", "900", "1200", "1500"),
                "I can pay {value} euros a month.",
                words("budget, price, pay, cost, afford, spend, expensive") + HOW_MUCH,
            ),
            "floor": Topic(
                ("ground", "second", "third", "fourth", "top"),
                "It should be on the {value} floor.",
                words("storey, story, level"),
            ),
            "month": Topic(
                MONTHS,
                "I want to move in {value}.",
                words("when, date, move, how soon, -a month, -per month, -each month"),
            ),
            "pet": Topic(
                ("dog", "cat", "parrot", "rabbit", "hamster"),
                "I have a {value}.",
                words("animal, dog, cat"),
            ),
            "extra": Topic(
                ("balcony", "garage", "garden", "lift", "fireplace"),
                "It must have a {value}.",
                words("extras, features, amenities, else"),
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
                words(
                    "use, what for, tasks, work with, for work, work on, kind of work, work ... do, "
                    "do with it, do on it, need it for, need the laptop for, need a laptop for, want it for, "
                    "application"
                ),
            ),
            "price": Topic(
                ("400", "600", "900", "1300", "1900"),
                "I can spend {value} euros.",
                words("budget, spend, cost, money, expensive, afford") + HOW_MUCH,
            ),
            "system": Topic(
                ("Windows", "Linux", "macOS", "ChromeOS", "FreeBSD"),
                "It must run {value}.",
                words("operating system, os, software"),
            ),
            "screen": Topic(
                ("12", "13", "14", "15", "17"),
                "I want a screen of {value} inches.",
                words("display, inches, size, how big, how large"),
            ),
            "memory": Topic(
                ("8", "16", "32", "64", "128"), "It needs {value} gigabytes of memory.", words("ram, gigabytes")
            ),
            "keyboard": Topic(
                ("German", "French", "British", "Spanish", "Danish"),
                "The keyboard must be {value}.",
                words("keys, layout, language"),
            ),
            "colour": Topic(COLOURS, "It should be {value}.", ("color",)),
        },
    ),
}
