# Commands for the archive. Names: 1 to 32 characters, lower case, no blanks; descriptions: at most 100 characters.
archive-name = archive
archive-description = Manage what MapSeek archives in this server
archive-watch-name = watch
archive-add-name = add
archive-add-description = Archive new posts in a channel, thread, forum or category
archive-remove-name = remove
archive-remove-description = Stop archiving a channel, thread, forum or category. Anything already archived is kept.
archive-list-name = list
archive-list-description = Show which channels are archived
archive-backfill-name = backfill
archive-backfill-description = Archive older posts in a channel
archive-status-name = status
archive-status-description = Show the status of this server's archive
archive-settings-name = settings
archive-settings-description = Show or change MapSeek's settings for this server
archive-channel-name = channel
archive-channel-description = A channel, thread, forum or category
archive-since-name = since
archive-since-description = Only posts since this date: 2024, 2024-03 or 2024-03-31
archive-private-name = private-answers
archive-private-description = Only the member who searched sees the answer, unless they choose otherwise
archive-notice-name = repost-notice
archive-notice-description = What to do when someone posts map art that was posted before
archive-notice-none = Nothing
archive-notice-reaction = Add a reaction
archive-notice-reply = Reply with a link
archive-language-name = language
archive-language-description = Language for messages everyone can see
archive-language-auto = Same as the server's language
archive-language-en = English
archive-language-de = German
archive-member-name = per-member
archive-member-description = Searches per minute for each member
archive-guild-name = per-server
archive-guild-description = Searches per minute for the whole server
archive-once-name = at-once
archive-once-description = Searches that one member can run at the same time

archive-only-in-servers = This only works in servers that MapSeek was added to.
archive-managers-only = You need the Manage Server permission for this.
archive-added = I now archive new posts in { $channel }. To archive older posts too, use /archive backfill.
archive-removed = I no longer archive { $channel }. Anything already archived is kept.
archive-not-watched = { $channel } wasn't on the list. To see the list, use /archive watch list.
archive-watching-all = I archive every channel in this server. The owner of this bot set it up that way.
archive-watching-none = I don't archive any channel yet. Add one with /archive watch add.
archive-watching = I archive { $channels }{ $more ->
    [0] .
   *[other] { " " }and { $more } more.
 }

# The message that shows how older posts are archived.
archive-backfill-title = Older posts
archive-backfill-running = Archiving older posts in { $channel }, oldest first.
archive-backfill-paused = Paused in { $channel }.
archive-backfill-cancelled = Cancelled in { $channel }. Anything already archived is kept.
archive-backfill-finished = Done! The older posts in { $channel } are archived.
archive-backfill-counts = { $messages ->
    [one] { $messages } message read
   *[other] { $messages } messages read
 }, { $images ->
    [one] { $images } picture found
   *[other] { $images } pictures found
 }
archive-backfill-pace = { $rate ->
    [0] Less than 1 message
    [one] { $rate } message
   *[other] { $rate } messages
 } per second, about { $left } left
archive-backfill-beginning = Starting…
archive-backfill-unreadable = { $count ->
    [one] I skipped 1 channel that I can't read: { $channels }
   *[other] I skipped { $count } channels that I can't read: { $channels }
 }
archive-backfill-moved = See this message for the progress: { $link }
archive-backfill-silent = I'm still archiving, but I can't send messages in this channel. To see the progress, use /archive status.
archive-backfill-active = I'm not done with the older posts in { $channel } yet. Use the buttons under that message, or see the progress with /archive status.
archive-backfill-unknown = I can't find this any more. To start again, use /archive backfill.
archive-backfill-nothing = I can't read anything in { $channel }. Give me the permissions "View Channel" and "Read Message History" there.
archive-backfill-bad-date = That isn't a date in the past. Write it like this: 2024, 2024-03 or 2024-03-31.
archive-percent = { $percent }%
archive-duration = { $unit ->
    [days] { $count ->
        [one] 1 day
       *[other] { $count } days
    }
    [hours] { $count ->
        [one] 1 hour
       *[other] { $count } hours
    }
    [minutes] { $count ->
        [one] 1 minute
       *[other] { $count } minutes
    }
   *[seconds] { $count ->
        [one] 1 second
       *[other] { $count } seconds
    }
 }
archive-button-pause = Pause
archive-button-resume = Resume
archive-button-cancel = Cancel
archive-state-running = running
archive-state-paused = paused

# Status.
archive-status-title = This server's archive
archive-status-images = { $count ->
    [one] **{ $count }** picture archived
   *[other] **{ $count }** pictures archived
 }
archive-status-stored = **{ $megabytes } MB** stored for all servers together
archive-status-failures = { $count ->
    [0] No failures
    [one] **{ $count }** failure: the owner of this bot can look into it
   *[other] **{ $count }** failures: the owner of this bot can look into them
 }
archive-status-unread = { $count ->
    [one] **{ $count }** message of this server that I couldn't read
   *[other] **{ $count }** messages of this server that I couldn't read
 }: `mapseek failures list --stage record` shows the owner of this bot what is wrong
archive-status-stages = In progress
archive-status-idle = Everything is up to date.
archive-status-lag = { $stage } ({ $lane }): { $pending } waiting{ $failures ->
    [0] { "" }
   *[other] , { $failures } failed
 }
archive-status-backfills = Archiving older posts
archive-status-unreadable = Channels that I can't read: I need "View Channel" and "Read Message History" there
archive-status-channels = Latest post seen
archive-status-seen = { $channel }: { $when }
archive-status-more = …and { $count } more

# Settings.
archive-settings-title = Settings for this server
archive-shown-private = { $private ->
    [yes] Only the member who searched sees the answer, unless they choose otherwise
   *[no] Everyone in the channel sees the answer, unless the member who searched chooses otherwise
 }
archive-shown-notice = When map art is posted again: { $notice }
archive-shown-language = Language for messages everyone can see: { $language }
archive-shown-member = { $count ->
    [one] { $count } search per minute for each member
   *[other] { $count } searches per minute for each member
 }
archive-shown-guild = { $count ->
    [one] { $count } search per minute for the whole server
   *[other] { $count } searches per minute for the whole server
 }
archive-shown-once = { $count ->
    [one] { $count } search at the same time for each member
   *[other] { $count } searches at the same time for each member
 }
