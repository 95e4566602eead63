# Messages that the bot sends by itself.
notices-repost = This map art was posted here before: { $link }
notices-alert-direct = The map art you were looking for was posted: { $link }
notices-alert-mention = { $member }, the map art you were looking for was posted: { $link }
notices-alert-mention-elsewhere = { $member }, the map art you were looking for was posted. Search for it again to see where.
