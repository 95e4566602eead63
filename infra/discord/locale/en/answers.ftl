# What a waiting asker is told.
answers-step-fetching = Fetching the picture …
answers-step-reading = Reading the picture …
answers-step-comparing = Comparing with the archive …

# Headlines.
answers-match = Found it: first posted by { $author }
answers-possible = This may be it: first posted by { $author }
answers-words = Best result for your words: first posted by { $author }
answers-further = Another result: first posted by { $author }
answers-posts = Posted { $count ->
    [one] once
   *[other] { $count } times
 }
answers-none = No match
answers-error = This could not be searched

# What is said of a piece.
answers-similar = **{ $percent } %** similar, { $verdict ->
    [match] a match
   *[possible] possibly a match
 }
answers-sure = **{ $percent } %** sure, { $verdict ->
    [match] a match
   *[possible] possibly a match
 }
answers-similar-words = Fits your words: **{ $percent } %**
answers-unmeasured = Possibly a match
answers-unmeasured-words = Possibly what you are looking for
answers-only-post = Posted by **{ $author }** on { $date } ({ $ago }) in { $channel }
answers-first-post = First posted by **{ $author }** on { $date } ({ $ago }) in { $channel }
answers-best-post = The picture below was posted by **{ $author }** on { $date } in { $channel }, { $link }
answers-go-to-message = go to the message
answers-again = Also posted { $count ->
    [one] once
   *[other] { $count } times
 }
answers-file = File: { $filename }
answers-post = { $date }: **{ $author }** in { $channel }, { $link }
answers-picture = The map art as { $author } posted it

# Why it was found.
answers-why = How do you know?
answers-why-picture = What was asked with beside the map art that { $author } posted, and what they have in common
answers-why-undrawn = There is no picture to show for it: what was asked with is kept for a week, and shown to nobody but the one who asked.

# Below an answer.
answers-result-of = Result { $number } of { $count }
answers-page-of = Page { $number } of { $count }
answers-untrained = untrained model: this result is of demo quality

# Buttons.
answers-button-previous = Previous
answers-button-next = Next
answers-button-back = Back to the result
answers-button-posts = Posted { $count } times
answers-button-right = This is it
answers-button-wrong = Not it
answers-button-go = Go to the post
answers-button-go-first = Go to the first post
answers-button-why = How do you know?
answers-button-alert = Tell me if it turns up

# When there is nothing to show.
answers-none-image = Nothing that you can read in this server looks like this picture.
answers-none-text = Nothing that you can read in this server fits these words.
answers-too-old = This search is too old. Please ask again.
answers-rejected-not-allowed = The picture cannot be fetched from there. Attach it, or link to a picture or a message on Discord.
answers-rejected-gone = The picture is no longer there. Please attach it again.
answers-rejected-too-large = The picture's file is too large. A smaller copy or a screenshot will do.
answers-rejected-empty = The file is empty.
answers-rejected-not-an-image = The file is not a PNG, JPEG, WebP, GIF or BMP picture.
answers-rejected-damaged = The picture is damaged and cannot be read.
answers-rejected-too-many-pixels = The picture has too many pixels. A smaller copy or a screenshot will do.
answers-rejected-no-text = The model that this bot uses does not understand words, as ViT-B-32 for one would. Please ask with a picture.
answers-rejected-internal = Something went wrong on our side. Please try again later.
