# What members see while they wait.
answers-step-fetching = Loading the picture…
answers-step-reading = Reading the picture…
answers-step-comparing = Searching the archive…

# Headlines.
answers-match = Found it: first posted by { $author }
answers-possible = Possible match: first posted by { $author }
answers-words = Best result: first posted by { $author }
answers-further = Another result: first posted by { $author }
answers-posts = { $count ->
    [one] Posted once
   *[other] Posted { $count } times
 }
answers-none = No match
answers-error = Search failed

# About a piece of map art.
answers-similar = { $verdict ->
    [match] Match: **{ $percent }%** similar
   *[possible] Possible match: **{ $percent }%** similar
 }
answers-sure = { $verdict ->
    [match] **{ $percent }%** match
   *[possible] Possible match: **{ $percent }%**
 }
answers-similar-words = Fits your words: **{ $percent }%**
answers-unmeasured = Possible match
answers-unmeasured-words = This might be what you're looking for
answers-only-post = Posted by **{ $author }** on { $date } ({ $ago }) in { $channel }
answers-first-post = First posted by **{ $author }** on { $date } ({ $ago }) in { $channel }
answers-best-post = The { $spoiler ->
    [yes] covered picture
   *[no] picture below
 } was posted by **{ $author }** on { $date } in { $channel }, { $link }
answers-go-to-message = go to the post
answers-again = { $count ->
    [one] Posted 1 more time
   *[other] Posted { $count } more times
 }
answers-file = File: { $filename }
answers-post = { $date }: **{ $author }** in { $channel }, { $link }
answers-picture = The map art that { $author } posted

# Why it was found. What is written on the picture (asked to difference) has ASCII letters only.
answers-why = Why this match?
answers-why-picture = Your picture next to the map art that { $author } posted, and what they have in common
answers-why-asked = Your picture
answers-why-archived = Archived picture
answers-why-straightened = Your picture, straightened
answers-why-difference = Difference (black: none)
answers-why-undrawn = There's no picture for this. I keep search pictures for a week, and show them only to the member who searched.

# Below an answer.
answers-result-of = Result { $number } of { $count }
answers-page-of = Page { $number } of { $count }
answers-untrained = untrained model: for demos only

# Buttons.
answers-button-previous = Previous
answers-button-next = Next
answers-button-back = Back to the result
answers-button-posts = { $count ->
    [one] Posted once
   *[other] Posted { $count } times
 }
answers-button-right = This is it
answers-button-wrong = Not it
answers-button-go = Go to the post
answers-button-why = Why this match?
answers-button-alert = Notify me if it's posted

# When there is nothing to show.
answers-none-image = I couldn't find this picture in any channel you can see here.
answers-none-text = I couldn't find anything that fits your words in any channel you can see here.
answers-too-old = This search is too old. Please search again.
answers-rejected-not-allowed = I can't load pictures from that site. Attach the picture, or link to a picture or a message on Discord.
answers-rejected-gone = That picture is gone. Please attach it again.
answers-rejected-too-large = That file is too large. Try a smaller copy or a screenshot.
answers-rejected-empty = That file is empty.
answers-rejected-not-an-image = That file isn't a PNG, JPEG, WebP, GIF or BMP picture.
answers-rejected-damaged = That picture is damaged. I can't read it.
answers-rejected-too-many-pixels = That picture has too many pixels. Try a smaller copy or a screenshot.
answers-rejected-too-costly = That picture takes too much time or memory to read. Try a screenshot of it.
answers-rejected-no-text = This bot's model doesn't understand words. Please search with a picture.
answers-rejected-internal = Something went wrong on our side. Please try again later.
