# Commands that care for the archive. Names: 1 to 32 characters, lower case, no blanks; descriptions: at most 100 characters.
archive-name = archive
archive-description = What MapSeek archives on this server
archive-watch-name = watch
archive-add-name = add
archive-add-description = Archive what is posted from now on in a channel, a thread, a forum or a whole category
archive-remove-name = remove
archive-remove-description = Stop archiving a place; what is archived already stays
archive-list-name = list
archive-list-description = Which channels are archived
archive-backfill-name = backfill
archive-backfill-description = Archive what was posted in the past
archive-status-name = status
archive-status-description = How the archive of this server is doing
archive-settings-name = settings
archive-settings-description = Show or change how MapSeek behaves on this server
archive-channel-name = channel
archive-channel-description = A channel, a thread, a forum or a category
archive-since-name = since
archive-since-description = Only what was posted since this date: 2024, 2024-03 or 2024-03-31
archive-private-name = private-answers
archive-private-description = Whether only the asker sees an answer, unless they choose otherwise
archive-notice-name = repost-notice
archive-notice-description = What to do when somebody posts map art that was posted before
archive-notice-none = Nothing
archive-notice-reaction = A quiet reaction
archive-notice-reply = A reply with a link
archive-language-name = language
archive-language-description = In which language to speak where everybody reads it
archive-language-auto = As Discord says
archive-language-en = English
archive-language-de = German
archive-member-name = per-member
archive-member-description = Searches that a member may make in a minute
archive-guild-name = per-server
archive-guild-description = Searches that the whole server may make in a minute
archive-once-name = at-once
archive-once-description = Searches of one member that may be under way at the same time

archive-only-in-servers = This works on a server that MapSeek was added to.
archive-managers-only = Only members who may manage this server can do that.
archive-added = Watching { $channel } from now on. To archive what was posted there before, use /archive backfill.
archive-removed = No longer watching { $channel }. What is archived already stays.
archive-not-watched = { $channel } was not on the list. See /archive watch list for what is.
archive-watching-all = Every channel of this server is watched: whoever runs this bot decided so.
archive-watching-none = No channel is watched yet. Add one with /archive watch add.
archive-watching = Watched: { $channels }{ $more ->
    [0] .
   *[other] { " " }and { $more } more.
 }

# The message of a back-fill.
archive-backfill-title = Back-fill
archive-backfill-running = Reading the past of { $channel }, oldest posts first.
archive-backfill-paused = Paused in { $channel }.
archive-backfill-cancelled = Cancelled in { $channel }. What was archived so far stays.
archive-backfill-finished = Done: the past of { $channel } is archived.
archive-backfill-counts = { $messages ->
    [one] { $messages } message
   *[other] { $messages } messages
 } read, { $images ->
    [one] { $images } image
   *[other] { $images } images
 } found
archive-backfill-pace = { $rate } messages a second, about { $left } left
archive-backfill-beginning = Just beginning …
archive-backfill-unreadable = { $count ->
    [one] One channel that I may not read is left out: { $channels }
   *[other] { $count } channels that I may not read are left out: { $channels }
 }
archive-backfill-moved = It goes on in this message: { $link }
archive-backfill-silent = It goes on, but I may not write in this channel, so it cannot be shown here any longer. /archive status says how far it is.
archive-backfill-active = { $channel } has a back-fill that is not finished. Pause, resume or cancel that one; /archive status says how far it is.
archive-backfill-unknown = This back-fill is no longer known. Start it again with /archive backfill.
archive-backfill-nothing = There is nothing in { $channel } that I may read. Give me "View Channel" and "Read Message History" there.
archive-backfill-bad-date = That is no date in the past. Write it as 2024, 2024-03 or 2024-03-31.
archive-duration = { $unit ->
    [days] { $count } days
    [hours] { $count } hours
    [minutes] { $count } minutes
   *[seconds] { $count ->
        [one] one second
       *[other] { $count } seconds
    }
 }
archive-button-pause = Pause
archive-button-resume = Resume
archive-button-cancel = Cancel
archive-state-running = running
archive-state-paused = paused

# Status.
archive-status-title = The archive of this server
archive-status-images = { $count ->
    [one] **{ $count }** image archived
   *[other] **{ $count }** images archived
 }
archive-status-stored = **{ $megabytes } MB** stored, for all servers together
archive-status-failures = { $count ->
    [0] No failures
    [one] **One** failure: whoever runs this bot can look into it
   *[other] **{ $count }** failures: whoever runs this bot can look into them
 }
archive-status-stages = At work
archive-status-idle = Everything is up to date.
archive-status-lag = { $stage } ({ $lane }): { $pending } waiting{ $failures ->
    [0] { "" }
   *[other] , { $failures } failed
 }
archive-status-backfills = Back-fills
archive-status-unreadable = Channels that I may not read: give me "View Channel" and "Read Message History" there
archive-status-channels = Last post seen
archive-status-seen = { $channel }: { $when }
archive-status-more = … and { $count } more

# Settings.
archive-settings-title = Settings of this server
archive-shown-private = Answers are seen by { $private ->
    [yes] the asker alone
   *[no] everybody in the channel
 }, unless the asker chooses otherwise
archive-shown-notice = When map art is posted again: { $notice }
archive-shown-language = Language: { $language }
archive-shown-member = { $count ->
    [one] One search
   *[other] { $count } searches
 } a minute for each member
archive-shown-guild = { $count ->
    [one] One search
   *[other] { $count } searches
 } a minute for the whole server
archive-shown-once = { $count ->
    [one] One search
   *[other] { $count } searches
 } of a member at the same time
