# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Thirty requests that leave something open, a question about it, and four answers of different worth."""

from typing import NamedTuple


ANSWERS = ("useful", "useless", "off_topic", "rude")


class Dialogue(NamedTuple):
    """
    Attributes:
        request (`str`):
            What the user wants, with something left open.
        question (`str`):
            The agent's question about it.
        useful (`str`):
            An answer that settles it.
        useless (`str`):
            A polite answer that settles nothing.
        off_topic (`str`):
            An answer about something else.
        rude (`str`):
            An answer that is rude, and settles nothing.
        informed (`str`):
            What an agent does next who was told.
        uninformed (`str`):
            What an agent does next who was not.
    """

    request: str
    question: str
    useful: str
    useless: str
    off_topic: str
    rude: str
    informed: str
    uninformed: str


DIALOGUES = (
    Dialogue(
        "Book a table for tonight.",
        "For how many people?",
        "We are seven.",
        "As many as you think is right.",
        "The weather was lovely today.",
        "Stop asking and do your job.",
        "I have booked a table for seven people for tonight.",
        "I have booked a table for two people for tonight.",
    ),
    Dialogue(
        "Find me a flight to Lisbon.",
        "From which city do you leave?",
        "I leave from Helsinki.",
        "It does not matter to me.",
        "My sister likes trains better.",
        "What a stupid question.",
        "Here are flights from Helsinki to Lisbon.",
        "Here are flights from London to Lisbon.",
    ),
    Dialogue(
        "Write a birthday card.",
        "What is the name of the person?",
        "Her name is Ingrid.",
        "Just leave the name out if you like.",
        "I have to buy milk later.",
        "You are useless, I said a birthday card.",
        "Happy birthday, Ingrid! May all your wishes come true.",
        "Happy birthday, my friend! May all your wishes come true.",
    ),
    Dialogue(
        "Set an alarm for tomorrow.",
        "At what time?",
        "At 5:40 in the morning.",
        "Whenever you think is best.",
        "I had pasta for lunch.",
        "How dumb are you?",
        "The alarm is set for 5:40 tomorrow morning.",
        "The alarm is set for 8:00 tomorrow morning.",
    ),
    Dialogue(
        "Order a pizza for me.",
        "Which topping would you like?",
        "Anchovies and pineapple, please.",
        "Anything is fine with me.",
        "My bike has a flat tyre.",
        "Do I have to do everything myself?",
        "I have ordered a pizza with anchovies and pineapple.",
        "I have ordered a pizza with cheese and tomato.",
    ),
    Dialogue(
        "Translate this sentence: The cat sleeps.",
        "Into which language?",
        "Into Italian.",
        "Into any language you know.",
        "Cats are my favourite animals.",
        "Are you serious? Just translate it.",
        "In Italian it is: Il gatto dorme.",
        "In Spanish it is: El gato duerme.",
    ),
    Dialogue(
        "Recommend a film.",
        "Which kind of film do you like?",
        "I like old silent comedies.",
        "I have no preference.",
        "The cinema is next to the bank.",
        "Your questions bore me.",
        "Watch The General, a silent comedy by Buster Keaton.",
        "Watch The Godfather, a drama by Francis Ford Coppola.",
    ),
    Dialogue(
        "Rent a car for me.",
        "For which dates?",
        "From the third to the ninth of October.",
        "The dates are not important.",
        "I like to listen to jazz.",
        "Oh come on, shut up and rent it.",
        "I have rented a car from the third to the ninth of October.",
        "I have rented a car from tomorrow to Friday.",
    ),
    Dialogue(
        "Send an email to my boss.",
        "What should it say?",
        "Say that I am ill and will be back on Thursday.",
        "You will find the right words.",
        "The printer is out of paper.",
        "Think for yourself for once.",
        "Dear boss, I am ill and will be back on Thursday.",
        "Dear boss, I hope that you are well.",
    ),
    Dialogue(
        "Plan my workout.",
        "Which part of the body do you want to train?",
        "My shoulders and my neck.",
        "Whatever you suggest.",
        "My neighbour has a new dog.",
        "This is a waste of my time.",
        "Begin with shoulder presses, then stretch your neck.",
        "Begin with push-ups, then run for ten minutes.",
    ),
    Dialogue(
        "Buy a present for my nephew.",
        "How old is he, and what does he like?",
        "He is four and loves tractors.",
        "Something nice will do.",
        "It is raining again.",
        "Why are you so annoying?",
        "I have bought a toy tractor for a boy of four.",
        "I have bought a book for your nephew.",
    ),
    Dialogue(
        "Reserve a hotel room in Vienna.",
        "What is your budget for a night?",
        "At most 60 euros a night.",
        "I have not thought about it.",
        "I met an old friend yesterday.",
        "None of your business, idiot.",
        "I have reserved a room in Vienna for 58 euros a night.",
        "I have reserved a room in Vienna for 120 euros a night.",
    ),
    Dialogue(
        "Play some music.",
        "Which artist would you like to hear?",
        "Play Nina Simone.",
        "I leave it to you.",
        "My phone is almost empty.",
        "You never get anything right.",
        "Now playing: Feeling Good by Nina Simone.",
        "Now playing: Hey Jude by The Beatles.",
    ),
    Dialogue(
        "Fix my computer.",
        "What is the problem?",
        "The screen stays black after an update.",
        "It just has to be fixed.",
        "The desk is made of oak.",
        "You should know that, you moron.",
        "If the screen is black after the update, start in safe mode and undo the update.",
        "Turn the computer off and on again.",
    ),
    Dialogue(
        "Make an appointment with the doctor.",
        "Which day suits you?",
        "Only Wednesday after four.",
        "Any day is as good as another.",
        "I painted the kitchen yellow.",
        "Just do it already!",
        "You have an appointment on Wednesday at half past four.",
        "You have an appointment on Monday at nine.",
    ),
    Dialogue(
        "Find a recipe for dinner.",
        "Which ingredients do you have?",
        "I have lentils, spinach and coconut milk.",
        "Not sure, the usual things.",
        "The baker closes at six.",
        "Do not bother me with that.",
        "Cook a lentil curry with spinach and coconut milk.",
        "Cook pasta with tomato sauce.",
    ),
    Dialogue(
        "Change my password.",
        "For which account?",
        "For my library account.",
        "You decide.",
        "The bus was late this morning.",
        "Worst service ever.",
        "I have sent a link to change the password of your library account.",
        "I have sent a link to change the password of your email account.",
    ),
    Dialogue(
        "Cancel my order.",
        "What is the order number?",
        "It is 84213.",
        "I do not have it here.",
        "I think the blue one looks better.",
        "Are you too lazy to look it up?",
        "Order 84213 is cancelled.",
        "I have cancelled your last order.",
    ),
    Dialogue(
        "Suggest a name for my dog.",
        "What does the dog look like?",
        "It is tiny, white and very fluffy.",
        "Like a dog, I guess.",
        "The park is closed on Mondays.",
        "Who cares? Just give me a name.",
        "Call it Snowball, as it is tiny, white and fluffy.",
        "Call it Max, a good name for any dog.",
    ),
    Dialogue(
        "Write a function that sorts a list.",
        "In which programming language?",
        "In Haskell.",
        "In whichever you want.",
        "My keyboard is new.",
        "Can you not read my mind?",
        "Here is a function in Haskell that sorts a list.",
        "Here is a function in Python that sorts a list.",
    ),
    Dialogue(
        "Deliver flowers to my mother.",
        "Which flowers does she like?",
        "She loves sunflowers.",
        "All flowers are beautiful.",
        "She lives near the river.",
        "You ask too much, moron.",
        "A bunch of sunflowers is on its way to your mother.",
        "A bunch of roses is on its way to your mother.",
    ),
    Dialogue(
        "Summarize the report.",
        "How long should the summary be?",
        "Exactly three words.",
        "Neither long nor short.",
        "The meeting room is on the second floor.",
        "Stop wasting my time.",
        "Sales fell sharply.",
        "The report says that sales fell in the second quarter, while costs went up.",
    ),
    Dialogue(
        "Find me a place to live.",
        "In which town, and how many rooms?",
        "In Bergen, with two rooms.",
        "I am open to everything.",
        "Moving is a lot of work.",
        "Do I look like a map?",
        "Here is a flat with two rooms in Bergen.",
        "Here is a flat with three rooms in New York.",
    ),
    Dialogue(
        "Teach me something.",
        "What are you interested in?",
        "In how bees make honey.",
        "In all sorts of things.",
        "I slept badly last night.",
        "Forget it, you are hopeless.",
        "Bees make honey from nectar, which they dry in the hive.",
        "The sun is a star at the centre of the solar system.",
    ),
    Dialogue(
        "Call a taxi.",
        "Where should it pick you up?",
        "At the north gate of the zoo.",
        "Where I am, of course.",
        "I forgot my umbrella.",
        "Use your brain, if you have one.",
        "A taxi will pick you up at the north gate of the zoo.",
        "A taxi will pick you up at your home.",
    ),
    Dialogue(
        "Lend me a book.",
        "Which author do you like to read?",
        "Ursula K. Le Guin.",
        "I read all kinds of books.",
        "My glasses are broken.",
        "Why should I tell you?",
        "Here is The Left Hand of Darkness by Ursula K. Le Guin.",
        "Here is Pride and Prejudice by Jane Austen.",
    ),
    Dialogue(
        "Paint my room.",
        "In which colour?",
        "In dark green.",
        "A colour that looks good.",
        "The ladder is in the cellar.",
        "Hurry up and quit talking.",
        "I will paint your room in dark green.",
        "I will paint your room in white.",
    ),
    Dialogue(
        "Convert 100 dollars.",
        "Into which currency?",
        "Into Japanese yen.",
        "Into some other currency.",
        "Banks are open until four.",
        "Ridiculous, just convert it.",
        "100 dollars are about 15,000 Japanese yen.",
        "100 dollars are about 92 euros.",
    ),
    Dialogue(
        "Plan a day in Rome.",
        "What do you want to see?",
        "Only churches with mosaics.",
        "Surprise me.",
        "I speak a little Spanish.",
        "I am sick of your questions.",
        "Begin with the mosaics in the church of Santa Prassede.",
        "Begin with the Colosseum, then walk to the Trevi Fountain.",
    ),
    Dialogue(
        "Remind me to take my medicine.",
        "How often do you take it?",
        "Every six hours.",
        "As the doctor said.",
        "The pharmacy has moved.",
        "Leave me alone with that.",
        "I will remind you to take your medicine every six hours.",
        "I will remind you to take your medicine every morning.",
    ),
)
