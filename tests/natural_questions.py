# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Questions as people and language models ask them, with the fact that each must reveal: it, and no other."""

# Function and detail, and what asks for it
COCODE = """
split_bill tip
    Should I add a tip before splitting the bill?
    Is gratuity included?
    Do you want to leave a tip, and how much?
    Should a service charge be added?
split_bill leftover
    What if the bill cannot be divided evenly?
    Who pays the extra cents?
    How should I distribute the remainder?
    What happens with the cents that are left over?
split_bill format
    Should the shares be integers or strings?
    Should I return the shares in cents or in dollars?
    How should each share be formatted?
    Do you want a dollar sign?
discount_prices rounding
    How should the new prices be rounded?
    Should I round up or down?
    What about fractions of a cent?
    What if the discounted price is not a whole number of cents?
discount_prices minimum
    Can a price become zero, or is there a lower limit?
    Is there a minimum price?
    How low may a price go?
    Should prices be capped from below?
discount_prices order
    Should the result be sorted?
    In which order do you want the prices?
    Do I keep the original order?
average_score missing
    What should I do with missing scores?
    How do I treat None values?
    Should None be skipped or counted as zero?
    Should I ignore the missing values?
average_score outliers
    Should I drop the lowest score?
    Are there outliers to remove?
    Should extreme values be excluded?
    Do you want to discard the best or the worst score?
average_score rounding
    How should the result be rounded?
    How many decimal places do you want?
    Should the average be an integer or a float?
    To what precision should I compute it?
rank_scores direction
    Is a higher score better?
    Do the most points get the first place?
    Who is first: the one with the highest or the lowest points?
    Should I rank in ascending or descending order?
rank_scores ties
    How should ties be handled?
    What if two people have the same number of points?
    Do tied players share a rank?
    After a tie, is the next rank skipped?
rank_scores start
    Do ranks start at 0 or 1?
    Should the ranking be zero-based?
    What number does the first rank have?
    Does counting begin with one?
histogram edges
    Into which bin does a value on the boundary go?
    Are the bins inclusive on the left or on the right?
    What if a value lies exactly on an edge?
    Is the upper end of a bin exclusive?
histogram empty
    Should I include bins without values?
    What about empty bins?
    Do you want bins with a count of zero listed?
    Should bins that contain nothing be skipped?
histogram label
    How should the bins be labelled?
    What should the label look like?
    Is the label the start of the bin or its midpoint?
    What do I call each bin?
clean_readings bounds
    Are the limits inclusive?
    Is a reading equal to the limit plausible?
    What if a value is exactly at the boundary?
    Do the lowest and the highest value count as plausible?
clean_readings implausible
    What should I do with readings outside the range?
    How should implausible values be handled?
    Should invalid readings be removed or replaced?
    What happens to out-of-range readings?
clean_readings rounding
    Should the readings be rounded?
    How many decimals should I keep?
    To what precision do you want the values?
clean_readings order
    In what order should they be returned?
    Should the list be reversed?
    Do you want the newest first?
    Should I sort the readings?
convert_temperatures unit
    What unit are the temperatures in?
    Are the inputs in Fahrenheit?
    Which scale do your values use?
    What do I convert from?
convert_temperatures rounding
    How should I round the results?
    How many digits after the decimal point?
    Should they be rounded to whole degrees?
    Should the values be rounded up?
convert_temperatures format
    Should I return numbers or strings?
    Do you want the degree symbol included?
    What format should the output have?
    Should each one be a float, or text with a unit sign?
make_change coins
    Which coins are available?
    What denominations should I use?
    What currency is it?
    What are the values of the coins?
make_change rounding
    Should the amount be rounded first?
    Do I round the amount before paying?
    Should it be paid exactly?
make_change output
    What should the function return?
    Should I return a list of coins or the counts?
    In which order should the coins be listed?
    Do you want the number of coins only?
moving_average start
    What should happen at the beginning, where there are not enough values?
    How do I handle the first few values?
    What if the window is not full?
    What about incomplete windows?
moving_average rounding
    Should the average be rounded?
    Do you want the mean or the median?
    How many decimal places?
    What kind of smoothing should I apply?
normalize_weights target
    What should the weights sum to?
    Should they add up to 1 or to 100?
    What is the target of the scaling?
    What should the total be?
normalize_weights negative
    How do I handle negative weights?
    What if a weight is negative?
    Can weights be below zero?
    Should I take the absolute value?
normalize_weights rounding
    To how many decimals should I round?
    What precision do you need?
    How should the weights be rounded?
running_balance start
    What is the initial balance?
    Where does the balance start?
    What is the starting value?
    Is there an opening balance?
running_balance zero
    What if an amount is zero?
    How should zero amounts be handled?
    Does a 0 reset the balance?
    What does an amount of nothing mean?
running_balance negative
    How should negative amounts be treated?
    Can an amount be negative?
    What about withdrawals?
    Do amounts below zero get subtracted?
grade_quiz right
    How many points is a correct answer worth?
    What does a right answer score?
    How many points are awarded for each one?
grade_quiz blank
    What about unanswered questions?
    How should blank answers be scored?
    What if an answer is empty?
    Do skipped questions cost anything?
grade_quiz case
    Is the comparison case-sensitive?
    Does capitalization matter?
    Should "a" match "A"?
    Do lowercase letters match uppercase ones?
slugify separator
    Which character should separate the words?
    What goes between the words?
    Should I use hyphens or underscores?
    How should the words be joined?
slugify case
    Should the slug be lowercase?
    Should I keep the capital letters?
    Do I convert it to lower case?
    Should all letters be small?
slugify digits
    Should numbers be kept?
    What about words that are digits?
    Do I drop numeric words?
    Are numbers allowed in the slug?
initials middle
    Should middle names be included?
    Do you want only the first and last name?
    Which words of the name should I use?
    Should every name give an initial?
initials particles
    What about particles like "van" or "de"?
    How should lowercase words such as "von" be treated?
    What if a word is not capitalized?
    Do small words count?
initials format
    Should there be dots after the letters?
    How should the initials be separated?
    Do you want periods or spaces?
    What format should the initials have?
shorten mark
    What should mark the cut?
    Should I append an ellipsis?
    Which suffix should be added?
    What indicator should be added at the end?
    How do I show that the text was shortened?
shorten counting
    Does the limit include the ellipsis?
    Does the mark count towards the limit?
    Is the marker part of the maximum length?
    Should the total length stay within the limit?
shorten cut
    Can I cut in the middle of a word?
    Should words be kept whole?
    Where exactly may I cut?
    Should I cut at word boundaries?
title_case small
    Should small words like "of" be capitalized?
    What about articles and prepositions?
    How do I treat short words such as "and"?
    Are there words that stay in lower case?
title_case acronyms
    What about acronyms?
    How should words in all caps be treated?
    What do I do with abbreviations such as NASA?
    Should words in upper case stay as they are?
title_case hyphens
    How do I handle hyphenated words?
    What about words with a hyphen?
    Should both parts of a compound be capitalized?
mask_number shown
    How many digits should remain visible?
    Which digits should be shown?
    Should I keep the last four?
    What part of the number stays readable?
mask_number mask
    What character should I use for masking?
    What should hidden digits be replaced with?
    Which symbol should I use for the hidden ones?
    Should I put asterisks?
mask_number spaces
    Should the spaces be kept?
    What about the gaps between groups?
    Do I remove the whitespace?
    Should the grouping stay?
count_words case
    Should counting be case-sensitive?
    Are "The" and "the" the same word?
    Do I ignore case?
    Should I convert everything to lowercase?
count_words short
    Should short words be ignored?
    Is there a minimum word length?
    Do I skip stop words?
    Are one-letter words counted?
count_words order
    How should the result be sorted?
    In what order do you want the pairs?
    Should the most frequent word come first?
    Alphabetically or by frequency?
join_items last
    Should there be an Oxford comma?
    What goes before the last item?
    Should I use "and" or "or"?
    Which conjunction should I use?
join_items empty
    What about empty strings?
    How do I treat blank items?
    Should empty ones be skipped?
join_items quotes
    Should the items be quoted?
    Do you want quotation marks around each item?
    Single or double quotes?
encrypt direction
    In which direction do I shift?
    Should letters be shifted forward or backward?
    Do I shift to the left or to the right?
    Is "a" turned into "b"?
encrypt case
    What about capital letters?
    Should the case be preserved?
    Do I convert to lowercase first?
    How are uppercase letters handled?
encrypt digits
    What about digits?
    Should numbers be shifted too?
    How do I handle numeric characters?
parse_settings case
    Are keys case-sensitive?
    Should keys be lowercased?
    Do I preserve the case of the keys?
parse_settings numbers
    Should numeric values be converted to int?
    What type should the values have?
    Do numbers stay strings?
    Should I parse digits as integers?
parse_settings repeated
    What if a key appears more than once?
    How do I handle duplicate keys?
    Which value wins if a key is repeated?
    What if the same key occurs again?
format_table alignment
    How should the first column be aligned?
    Should names be left-aligned?
    What about the alignment of the text?
    Do you want the names flush left?
format_table separator
    What should separate the columns?
    What goes between the columns?
    Which separator do you want?
    Should there be a vertical bar?
format_table missing
    What if a number is None?
    How do I show missing values?
    What should I print for None?
    What about empty cells?
censor mask
    What should the word be replaced with?
    How should I hide it?
    Should I use asterisks?
    What replacement text do you want?
censor matching
    Should I also censor it as part of longer words?
    Only whole words, or substrings too?
    What if the word is inside another word?
    What about partial matches?
censor case
    Is the match case-sensitive?
    Should capitalized occurrences be hidden as well?
    Does upper or lower case matter?
compress order
    Does the count come before or after the letter?
    Should the letter or the count come first?
    What about a single letter: do you want the 1?
    Is a count of one written?
compress case
    Are upper and lower case letters the same?
    Is it case-sensitive?
    Should "A" and "a" count as one run?
    Do I treat capital letters differently?
compress separator
    Should there be a separator between the runs?
    What goes between the groups?
    Do you want a comma or a space between them?
    Should the runs be separated?
camel_case first
    Should the first letter be capitalized?
    Do you want PascalCase or lower camel case?
    Does the first word start with a capital?
    Upper or lower camel case?
camel_case acronyms
    How should acronyms be written?
    What about words like "id" or "url"?
    Should abbreviations be in capitals?
    Do you want ID or Id?
camel_case leading
    What about leading underscores?
    Should an underscore at the beginning be kept?
    What if the name starts with an underscore?
merge_intervals touching
    Should touching intervals be merged?
    What if two intervals are adjacent?
    Do [1,2] and [2,3] get merged?
    Do intervals that share an endpoint overlap?
    Are the intervals closed, so that [1, 3] and [3, 5] merge?
merge_intervals reversed
    What if start is greater than end?
    How do I handle reversed intervals?
    What if an interval is invalid?
    Can the end come before the start?
merge_intervals output
    In what order should they be returned?
    What format should the result have?
    Should the result be sorted?
    What should I return for each interval?
unique case
    Is the comparison case-sensitive?
    Are "Ann" and "ann" the same?
    Does capitalization matter?
    Should case be ignored?
unique keep
    Which of the duplicates should I keep?
    Should I keep the first or the last occurrence?
    Which copy stays?
    Do I remove all copies of a repeated name?
unique order
    Should the original order be preserved?
    In which order should the names be returned?
    Do you want it sorted?
group_by_age width
    How wide is each group?
    How many years does a group span?
    What size should the age groups be?
    What is the range of a group?
group_by_age start
    Where do the groups begin?
    At which age does the first group start?
    Where are the boundaries?
    How should the groups be aligned?
group_by_age content
    What should the values of the dictionary be?
    Should I list the names or count them?
    What should each group contain?
    Should the names be sorted?
top_scores ties
    How should I handle ties?
    What if several people share the last place?
    What if two scores are equal?
    What happens when two players have identical scores?
    Can I return more than n if there is a tie?
top_scores order
    In what order should they be listed?
    Should the best be first?
    Ascending or descending?
    Should I sort from highest to lowest?
top_scores output
    Should I return the names only or the pairs?
    What should the result look like?
    What format do you want?
    Should scores be part of the output?
split_chunks rest
    What if the last chunk is too small?
    What about the remaining items?
    Should I pad the last chunk?
    What if the list is not evenly divisible?
split_chunks inside
    Should the items within each chunk be reversed?
    What should each chunk look like?
    Are the chunks lists or tuples?
    What type is a chunk?
split_chunks order
    In what order should the chunks be?
    Should the chunks be sorted?
    Which chunk comes first?
interleave start
    Which list goes first?
    Do I start with the first list?
    Which one should I begin with?
interleave rest
    What if the lists have different lengths?
    What happens when one list runs out?
    What if one is longer than the other?
    What do I do with the remaining items?
interleave output
    What should the output look like?
    Should the result be a flat list or a list of pairs?
    What do I return?
    Should I return tuples?
flatten depth
    How deep should I flatten?
    Should all levels be flattened?
    Is it recursive?
    Only one level, or completely?
flatten none
    What about None?
    Should None values be removed?
    How do I treat null values?
flatten duplicates
    Should duplicates be removed?
    What if a number appears several times?
    Do I keep repeated items?
    Should the result be unique?
sum_by_category case
    Are categories case-sensitive?
    Should "Food" and "food" be merged?
    How are different spellings treated?
    Do I ignore upper and lower case?
sum_by_category small
    Is there a minimum total?
    What about small totals?
    Is there a threshold below which a category is dropped?
    Should I hide categories with low amounts?
sum_by_category order
    How should the pairs be sorted?
    In which order do you want the categories?
    Should I sort them alphabetically?
fill_orders shortage
    What if there is not enough stock?
    What if the quantity exceeds the stock?
    Can an order be partially filled?
    May the stock become negative?
fill_orders unknown
    What if an item is not in stock at all?
    How do I handle unknown items?
    What if someone orders an item that does not exist?
fill_orders empty
    What about items that are used up?
    Should items with zero left be removed?
    Do I keep items whose count is 0?
    What if an item is sold out afterwards?
turn_grid direction
    Clockwise or counterclockwise?
    In which direction should I rotate it?
    By how many degrees?
    Do I turn it to the left or to the right?
turn_grid mirror
    Should it be mirrored?
    Do you want it flipped?
    Is there any reflection?
turn_grid output
    What should I return?
    Should the result be a list of lists or strings?
    How should the output be formatted?
    What type should each row have?
pair_players pairing
    How should the players be paired?
    Who plays against whom?
    Should the best play against the worst?
    How do I match them?
pair_players bye
    What if the number of players is odd?
    Who gets a bye?
    Who sits out?
    What if there is an uneven number?
pair_players alone
    How should the player without a match be listed?
    Should the player who is left alone be shown?
    How do I represent someone with no match?
count_votes case
    Are names case-sensitive?
    Should "ann" and "Ann" count as the same person?
    How about different spelling?
    Does capitalization matter?
count_votes blank
    How do I handle blank votes?
    What about empty ballots?
    Should empty votes be counted?
count_votes ties
    What if two candidates have the same number of votes?
    How should ties be ordered?
    How do I break ties?
    What about equal votes?
longest_streak kind
    Must the numbers be strictly increasing?
    What counts as a streak?
    Are equal neighbours allowed?
    Should the numbers rise or fall?
longest_streak ties
    What if there are several longest streaks?
    If two streaks have the same length, which one do I take?
    How do I break ties?
    What if more than one is longest?
longest_streak output
    What should I return?
    Should I return the length or the numbers?
    What should the output look like?
    Do you want the indices or the values?
compare_prices change
    How should the change be expressed?
    Is it new minus old?
    Should I give the difference in percent?
    Do you want both prices or the difference?
compare_prices same
    What about products whose price did not change?
    Should unchanged products be included?
    Do I list products with the same price?
compare_prices gone
    What about products that are no longer sold?
    What if a product is missing from one of them?
    How do I handle removed or new products?
    What if a product is only in the old prices?
format_durations units
    How should the units be written?
    Should I use abbreviations or full words?
    Do you want "h" or "hours"?
    Which format do you want?
format_durations separator
    What goes between the parts?
    Should there be a comma between them?
    How should the parts be separated?
format_durations zero
    Should parts that are zero be shown?
    Do I leave out zero minutes?
    What if a part is 0?
    Should I omit zeros?
format_durations rounding
    How do I round fractions of a second?
    What about fractional seconds?
    Should the seconds be rounded?
    Do I truncate the decimals?
clock_times style
    Do you want 24-hour or 12-hour format?
    Should I use AM and PM?
    Are leading zeros needed?
    How should the times be formatted?
clock_times overflow
    What if the minutes exceed a day?
    How should times on the next day be shown?
    What happens after midnight?
    What if it is more than 24 hours?
working_days ends
    Should the start and end dates be included?
    Is the end inclusive?
    Are both dates part of the range?
working_days weekend
    Which days count as working days?
    What are the weekend days?
    Is Saturday a working day?
    Which days are off?
working_days order
    In which order should the days be listed?
    Should the list be sorted?
    Earliest first?
    Ascending or descending?
date_labels format
    How should the dates be formatted?
    Does the day or the month come first?
    Which separator should I use?
    What should the labels look like?
date_labels year
    Should the year have two or four digits?
    Is the year shown?
    How do I write the year?
date_labels order
    Should the dates be sorted?
    In what order do you want them?
    Chronologically, or as given?
days_until past
    What about dates in the past?
    What if the date has already passed?
    Should it be negative for earlier dates?
days_until count
    Does today count?
    Is tomorrow 1 or 0 days away?
    Should the current day be included?
days_until order
    In which order should the numbers be returned?
    Should the result be sorted?
    Do I keep the order of the input?
free_slots pause
    Do you need a break after each meeting?
    Should there be a buffer between meetings?
    Is there a pause after meetings?
free_slots minimum
    What is the minimum length of a slot?
    How long must a slot be?
    Is there a minimum slot duration?
    Should short slots be dropped?
    How short may a gap be?
free_slots output
    How should the slots be returned?
    What format should each slot have?
    Should I give the end or the duration?
    Do you want lists or strings?
paid_minutes lunch
    Is there a lunch break to deduct?
    Are breaks paid?
    Should I subtract a pause?
    How long is the unpaid break?
paid_minutes normal
    When does overtime start?
    How many hours are a normal shift?
    What is the threshold for overtime?
    After how many minutes does overtime begin?
paid_minutes rate
    At what rate is overtime paid?
    How much more is overtime worth?
    What is the overtime multiplier?
    What factor applies to the extra minutes?
expand_ranges last
    Is the last number included?
    Are ranges inclusive?
    Does 1-3 include 3?
    Is the end of a range exclusive?
expand_ranges backwards
    What if start is greater than end?
    What about ranges that go backwards?
    How do I handle reversed ranges like 5-2?
    What if the first number is larger than the second?
expand_ranges duplicates
    Should duplicates be removed?
    What if ranges overlap?
    Should the result be sorted?
    Do I list a number twice?
shorten_ranges pairs
    Should two consecutive numbers become a range?
    What about runs of only two?
    How long must a run be to become a range?
    What is the minimum length of a range?
shorten_ranges dash
    Which symbol should mark a range?
    What goes between the start and the end of a range?
    Should I use a hyphen for ranges?
shorten_ranges separator
    How should the parts be separated?
    What goes between the ranges?
    Should I use a comma?
    Which delimiter do you want?
plan_dates first
    Is the start date included?
    Does the first date equal the start?
    What is the first date?
    Should I begin with the start itself?
plan_dates weekend
    What if a date falls on a weekend?
    Should weekends be skipped?
    What about Saturdays and Sundays?
    Are weekend dates moved?
sum_work rounding
    Should minutes be rounded?
    How should each entry be rounded before adding?
    Do I round up to full hours?
    Is there any rounding to quarters of an hour?
sum_work unit
    Should the totals be in hours or minutes?
    What unit should the totals have?
    How should the total time be formatted?
sum_work order
    How should the tasks be sorted?
    In what order do you want the pairs?
    Alphabetical order or order of appearance?
time_spans inclusive
    Is the last minute included?
    Does the end minute count?
    Are the ends inclusive?
time_spans unit
    Should the duration be in minutes or hours?
    In which unit do you want the result?
    How should the durations be formatted?
time_spans overnight
    What about shifts over midnight?
    How should overnight shifts be handled?
    What if a shift ends on the next day?
    What do I return for night shifts?
"""

# Nothing that a colleague knows is asked for, whatever the function
COCODE_USELESS = """
Hello! I would be glad to help you with that.
Thank you, that is clear.
Are there any other requirements?
Is there anything else I should know?
Could you give me an example?
Which version of Python do you use?
Should I write tests as well?
Do you want docstrings?
How fast must it be?
What do you need it for?
When do you need it?
What do you mean?
Great, I will write it now.
May I use external libraries?
Who will use this function?
"""

# Domain and topic
CLARIFY = """
travel destination
    Where would you like to go?
    Which city do you want to visit?
    Do you have a destination in mind?
    What country are you thinking of?
    Where are you travelling to?
    Where should the trip take you?
travel month
    When would you like to travel?
    What month do you prefer?
    When do you want to leave?
    What are your travel dates?
    What time of the year would you like to go?
travel budget
    What is your budget?
    How much would you like to spend?
    How much money do you have for this?
    What price range are you looking at?
travel transport
    How would you like to get there?
    Do you prefer to fly or take the train?
    How do you want to travel?
    What means of transport do you prefer?
travel lodging
    Where would you like to stay?
    What kind of accommodation do you prefer?
    Where do you want to sleep?
    Would you like a hotel or a hostel?
travel company
    Who is going with you?
    Are you travelling alone?
    Who will accompany you?
    How many people are travelling?
travel activity
    What would you like to do there?
    What activities are you interested in?
    Do you have anything planned?
    What do you enjoy doing on a holiday?
table cuisine
    What kind of food would you like?
    What would you like to eat?
    Which cuisine do you prefer?
    What are you in the mood to eat?
table day
    On which day would you like to come?
    What date should I book?
    Which day of the week suits you?
table time
    At what time will you arrive?
    What time works for you?
    At what hour would you like the table?
table guests
    How many people will there be?
    How many guests are coming?
    For how many should I book?
    What is the size of your party?
table seating
    Where would you like to sit?
    Do you have a seating preference?
    Indoors or outdoors?
    Would you like a table at the window?
table atmosphere
    What kind of atmosphere do you like?
    What ambiance are you looking for?
    Should it be romantic or lively?
    What mood should the place have?
table diet
    Do you have any dietary restrictions?
    Does anyone have allergies?
    Is anyone vegetarian?
    Are there any dietary requirements?
gift recipient
    Who is the gift for?
    Who will receive it?
    Whom do you want to surprise?
    For whom are you buying it?
gift occasion
    What is the occasion?
    Is it for a birthday?
    What are you celebrating?
    Why are you giving a gift?
gift price
    What is your budget?
    How much do you want to spend?
    What is your price range?
    How expensive may it be?
gift hobby
    What are they interested in?
    What hobbies does the person have?
    What do they like to do?
    What do they enjoy in their free time?
gift material
    What material should it be?
    What should it be made of?
    Do you prefer wood or glass?
gift colour
    Which colour do you prefer?
    Do they have a favourite color?
    In what colour should it be?
gift delivery
    How should it be delivered?
    How would you like it shipped?
    How should we send it?
    What delivery method do you prefer?
appointment specialist
    What brings you in?
    Which kind of doctor do you need?
    What seems to be the problem?
    What are your symptoms?
appointment day
    Which day works for you?
    On what day can you come?
    What date would suit you?
appointment time
    What time do you prefer?
    At what time can you come?
    Is there an hour that suits you best?
appointment language
    Which language do you speak?
    What is your preferred language?
    In which language should the doctor talk to you?
appointment area
    Where should it be?
    Which part of town do you prefer?
    What location is convenient for you?
    In which area would you like it?
appointment payment
    How would you like to pay?
    What is your payment method?
    Do you have insurance?
    Will you be paying by card?
appointment reminder
    How would you like to be reminded?
    How can we contact you?
    Would you like a reminder?
    How should we notify you?
flat district
    Where would you like to live?
    Which neighbourhood do you prefer?
    What location do you have in mind?
    In which part of the city should it be?
flat rooms
    How many rooms do you need?
    How big should the flat be?
    What size are you looking for?
    How many bedrooms would you like?
flat rent
    How much rent can you pay?
    What is your budget?
    What can you afford?
    What is the most you would pay a month?
flat floor
    Which floor do you prefer?
    On what floor should it be?
    Do you mind an upper storey?
flat month
    When do you want to move in?
    From when do you need it?
    What is your move-in date?
    In which month would you like to move?
flat pet
    Do you have any pets?
    Do you have a dog or cat?
    Will any animals live with you?
flat extra
    Are there any features you want?
    Do you need a balcony or garage?
    Any extras you would like?
    Which amenities are important to you?
laptop purpose
    What will you use it for?
    What do you need it for?
    What kind of work will you do on it?
    What is the main purpose?
laptop price
    How much can you spend?
    What is your budget?
    What is your price limit?
    How much should it cost?
laptop system
    Which operating system do you want?
    Windows or Linux?
    What OS do you prefer?
laptop screen
    How big should the screen be?
    What screen size would you like?
    How large a display do you need?
laptop memory
    How much memory do you need?
    How much RAM should it have?
    How many gigabytes?
laptop keyboard
    Which keyboard layout do you need?
    In which language should the keyboard be?
    Do you want a German or French keyboard?
laptop colour
    What colour would you like?
    Do you have a color preference?
    Black or white?
"""

CLARIFY_USELESS = """
Hello! How can I help you?
Thank you for your patience.
I will see what I can find.
Could you tell me more?
Do you have any preferences?
What is your name?
How are you today?
Is that correct?
May I ask you some questions?
Great, thank you!
"""

# Wish, `-` for any, and the topics
HELPDESK = """
- customer
    What is your email address?
    Could you please tell me your name and zip code?
    Who am I speaking with?
    Can you identify yourself?
    Under which account was it bought?
    May I have your e-mail, please?
    How can I verify your identity?
    Please provide the email associated with your account.
- order
    Which order is it?
    What is your order number?
    Could you give me the order ID?
    Which purchase do you mean?
    Which order are you talking about?
cancel reason
    Why do you want to cancel?
    What is the reason for the cancellation?
    May I ask why you are cancelling it?
    Could you tell me why you wish to cancel your order?
    What made you change your mind?
    Did you order it by mistake?
return reason
    Why would you like to return it?
    What is wrong with it?
    Is it defective?
    What is the reason for the return?
    What seems to be the issue?
    Is there anything wrong with the item?
    Does it work properly?
return item
    Which item would you like to return?
    What would you like to send back?
    What product is it?
    What do you want to return?
    What are you returning?
    Which article is it about?
exchange item
    What would you like to exchange?
    Which item do you want to swap?
    Which product is this about?
    What would you like to swap?
    What are you exchanging?
exchange option
    And what would you like to exchange it for?
    Which replacement would you like?
    Which one would you like instead?
    Which colour or size do you want?
    What would you like to have instead?
    What do you want in return?
    Which variant do you prefer?
    What should we replace it with?
    What do you want to swap it for?
exchange fallback
    That is out of stock. Would you take another one?
    Unfortunately it is sold out. Is there an alternative?
    We have no more of these. What else would you take?
    It is currently unavailable. What would you like instead?
    That one is not available. Which one would you like instead?
address address
    What is the new address?
    Could you please provide the updated address?
    What is the complete address?
    Where should we send it?
    Which address should it be delivered to?
    What should the address be changed to?
    Please tell me the street, city and zip code of the new address.
question question
    What would you like to know?
    What is your question?
    How can I assist you?
    What would you like to find out?
    What can I do for you?
    How may I help you?
    What information do you need?
price item
    Which product are you interested in?
    What item is it?
    What would you like to buy?
    Which product's price would you like to know?
price option
    Which colour do you want?
    In which size?
    Which option are you interested in?
    Which version do you mean?
exchange item option
    What would you like to swap, and what would you like instead?
    What do you want to exchange, and for what?
    Which item is it, and in which colour would you like it?
price item option
    Which product do you mean, and in which option?
"""

HELPDESK_USELESS = """
Hello, thank you for contacting us!
I am sorry to hear that.
One moment, please.
Is there anything else?
Please let me check that for you.
What is your phone number?
Have a nice day!
How are you today?
Is that all right with you?
Thank you for your patience.
Shall I go ahead?
"""


def read_questions(table: str) -> list[tuple[list[str], str]]:
    """The questions of a table, each with the words of the heading above it."""
    questions, heading = [], []
    for line in table.strip().splitlines():
        if line.startswith(" "):
            questions.append((heading, line.strip()))
        else:
            heading = line.split()
    return questions
