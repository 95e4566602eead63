# Commands that ask. Names: 1 to 32 characters, lower case, no spaces; descriptions: at most 100 characters.
asking-find-name = find
asking-find-description = Find where a piece of map art was posted in this server
asking-image-name = image
asking-image-description = A picture of the map art; a screenshot will do
asking-link-name = link
asking-link-description = Instead: the link to a message of this server, or to a picture on Discord
asking-private-name = private
asking-private-description = Whether you alone see the answer
asking-menu-name = Find this map
asking-text-name = find-text
asking-text-description = Find map art by describing it in words
asking-query-name = query
asking-query-description = What it shows; -word or -"two words" leaves out what shows that
asking-channel-name = channel
asking-channel-description = Look only in this channel, forum or category
asking-author-name = author
asking-author-description = Look only at what this person posted
asking-after-name = after
asking-after-description = Posted on or after this date: 2024, 2024-03 or 2024-03-31
asking-before-name = before
asking-before-description = Posted before this date: 2024, 2024-03 or 2024-03-31

asking-not-here = Searching works in a server that MapSeek was added to; ask there.
asking-image-or-link = Give me either a picture or a link: one of the two options, not both.
asking-not-an-image = That file is not an image. Attach a PNG, JPEG, WebP, GIF or BMP picture.
asking-link-unknown = I cannot use that link. Give me the link to a message of this server, or to a picture on Discord (cdn.discordapp.com or media.discordapp.net).
asking-link-no-picture = That link does not lead to a picture. Give me the link to a PNG, JPEG, WebP, GIF or BMP picture.
asking-link-missing = I cannot find that message: it is not in this server, it was deleted, or you or I may not read it from here.
asking-link-later = Discord did not show me that message. Please try again in a few minutes.
asking-message-without-picture = There is no picture in that message.
asking-picture = Picture { $number } of { $count }: looking for it …
asking-no-words = Say what the picture shows, and not only what it does not show.
asking-no-date = “{ $typed }” is not a date that I understand. Write 2024, 2024-03 or 2024-03-31.
asking-dates-crossed = No picture was posted in that time: “after” must be earlier than “before”.
asking-channel-unreadable = There is nothing in { $channel } that I may show here.
asking-too-many-searches = That was a lot of questions in a short time. Please ask again { $when }.
asking-too-many-presses = That was a little too fast. Please press again { $when }.
asking-button-unknown = This button is of an older version of MapSeek and no longer works. Please ask again.
asking-voted =
    { $right ->
        [yes] Noted: this is it. Thank you! Press “Not it” if you change your mind.
       *[no] Noted: this is not it. Thank you! Press “This is it” if you change your mind.
    }

asking-alerts-name = alerts
asking-alerts-description = The pictures that you want to be told of, and how to stop that
asking-alert-noted = I will tell you when it turns up. I write to you directly if you let me, otherwise I mention you here.
asking-alert-cancel = Do not tell me
asking-alert-cancelled = All right, I will not tell you.
asking-alert-not-yours = There is nothing to cancel: this was over already, or somebody else asked for it.
asking-alerts-none = You are waiting for no picture in this server.
asking-alerts-some =
    { $count ->
        [one] You are waiting for one picture in this server:
       *[other] You are waiting for { $count } pictures in this server:
    }
asking-alerts-line = { $number }. asked { $since } in { $channel }
asking-alerts-cancel = Cancel { $number }
asking-alerts-full = You are waiting for { $most } pictures already, and more is not possible. Cancel one of them with /alerts.
