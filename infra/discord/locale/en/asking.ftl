# Search commands. Names: 1 to 32 characters, lower case, no spaces; descriptions: at most 100 characters.
asking-find-name = find
asking-find-description = Find out who posted a piece of map art first, and where in this server
asking-image-name = image
asking-image-description = A picture of the map art (a screenshot is fine)
asking-link-name = link
asking-link-description = Or a link to a message in this server, or to a picture on Discord
asking-private-name = private
asking-private-description = Only you see the answer
asking-menu-name = Find this map
asking-text-name = find-text
asking-text-description = Find map art by describing it
asking-query-name = query
asking-query-description = What the picture shows. Use -word or -"two words" to leave something out
asking-channel-name = channel
asking-channel-description = Search only in this channel, forum or category
asking-author-name = author
asking-author-description = Search only posts from this person
asking-after-name = after
asking-after-description = Only posts on or after this date: 2024, 2024-03 or 2024-03-31
asking-before-name = before
asking-before-description = Only posts before this date: 2024, 2024-03 or 2024-03-31

asking-not-here = This only works in servers that MapSeek was added to.
asking-image-or-link = Add a picture or a link (just one).
asking-not-an-image = That file isn't a picture. Attach a PNG, JPEG, WebP, GIF or BMP.
asking-link-unknown = I can't use that link. Use a link to a message in this server, or to a picture on Discord (cdn.discordapp.com or media.discordapp.net).
asking-link-no-picture = That link doesn't lead to a picture. Use a link to a PNG, JPEG, WebP, GIF or BMP.
asking-link-missing = I can't find that message. It's deleted, it's in another server, or one of us can't read it from here.
asking-link-later = Discord didn't show me that message. Please try again in a few minutes.
asking-message-without-picture = There's no picture in that message.
asking-message-unreadable = That message can't be read. Attach the picture instead.
asking-picture = Searching for picture { $number } of { $count }…
asking-no-words = Describe what the picture shows, not only what it doesn't show.
asking-no-date = I don't understand the date “{ $typed }”. Write it like this: 2024, 2024-03 or 2024-03-31.
asking-dates-crossed = The date in “after” must be earlier than the date in “before”.
asking-channel-unreadable = There's nothing in { $channel } that I can show here.
asking-too-many-searches = That's a lot of searches in a short time. Please try again { $when }.
asking-too-many-presses = That was a bit too fast. Please try again { $when }.
asking-button-unknown = This button is from an older version of MapSeek and no longer works. Please search again.
asking-voted =
    { $right ->
        [yes] Thanks! You said: this is it. If you change your mind, press “Not it”.
       *[no] Thanks! You said: not it. If you change your mind, press “This is it”.
    }

asking-alerts-name = alerts
asking-alerts-description = Show or cancel your alerts
asking-alert-noted = Alert set. I'll send you a DM, or mention you here if your DMs are closed.
asking-alert-cancel = Cancel alert
asking-alert-cancelled = Alert cancelled.
asking-alert-not-yours = There's nothing to cancel. This alert is over, or it isn't yours.
asking-alerts-none = You have no alerts in this server.
asking-alerts-some =
    { $count ->
        [one] You have 1 alert in this server:
       *[other] You have { $count } alerts in this server:
    }
asking-alerts-line = Alert { $number }: set { $since } in { $channel }
asking-alerts-picture = The picture of alert { $number }
asking-alerts-picture-gone = I no longer have this picture.
asking-alerts-cancel = Cancel alert { $number }
asking-alerts-full = You already have { $most } alerts, and that's the limit. To cancel one, use /alerts.
