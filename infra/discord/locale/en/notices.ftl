# What the bot says without having been asked.
notices-repost = This map art was posted here before: { $link }
notices-alert-direct = The map art that you were looking for was posted: { $link }
notices-alert-mention = { $member }, the map art that you were looking for was posted: { $link }
notices-alert-mention-elsewhere = { $member }, the map art that you were looking for was posted. Search for it again to see where.
