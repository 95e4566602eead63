# Commands. Names: 1 to 32 characters, lower case, no spaces; descriptions: at most 100 characters.
privacy-name = privacy
privacy-description = What MapSeek stores about you, for how long, and how to delete it
privacy-forget-name = forget
privacy-forget-description = Delete pictures from the archive
privacy-me-name = me
privacy-me-description = Delete everything you posted in this server from the archive, with your votes and alerts
privacy-message-name = message
privacy-message-description = Delete the pictures of one message (for its author and moderators)
privacy-message-option-name = message
privacy-message-option-description = The message's link or ID

# /forget me
privacy-me-sure =
    { $count ->
        [0] The archive has no pictures you posted in this server.
        [one] The archive has **1 picture** you posted in this server.
       *[other] The archive has **{ $count } pictures** you posted in this server.
    } Do you want to delete everything you've posted here until now from the archive, with your votes and alerts? This can't be undone. Your messages on Discord are kept.
privacy-button-yes = Yes, delete everything
privacy-button-no = No, keep it
privacy-me-forgotten = Done! Your pictures no longer appear in searches. They're deleted from storage within about 10 minutes. Your votes and alerts are deleted too. I'll archive what you post from now on. If you don't want that, ask the people who manage this server.
privacy-me-kept = OK, nothing was changed.
privacy-not-yours = This question was for someone else. To delete your own pictures, use /forget me.

# /forget message
privacy-message-unknown = That isn't a message in this server. Give me the message's link (“Copy Message Link”) or its ID.
privacy-message-none = I can't delete anything for you here. The archive has no picture of that message, or you don't have the Manage Messages permission in its channel.
privacy-message-forgotten =
    { $count ->
        [one] Done! The picture of that message no longer appears in searches. It's deleted from storage within about 10 minutes.
       *[other] Done! The { $count } pictures of that message no longer appear in searches. They're deleted from storage within about 10 minutes.
    } The message on Discord is kept.

# /privacy: each text at most 1,024 characters, the first 4,096.
privacy-title = What MapSeek stores about you
privacy-kept =
    MapSeek archives every **picture** posted in the channels that this server's managers chose. It stores the picture, a small copy of it, numbers that describe what it looks like, its file name and size, when and where it was posted, and the ID and name of the member who posted it. It doesn't store the text of messages.
    All of this is kept until it's deleted.
privacy-asking-title = When you search, vote or set an alert
privacy-asking =
    Your **searches** (who searched, when, and with which picture or words) are kept for 7 days. The picture may be kept for one more day.
    Your **votes** (“This is it”, “Not it”) show us how good the search is. They're kept with your ID and the picture or words you searched with, until you delete them. Your **alerts** are kept with your ID, your name and the picture, even after they're over. To delete both, use `/forget me`.
    Records of **failures** can contain the same details. They're kept for 30 days.
privacy-removal-title = How to delete it
privacy-removal =
    Just **delete the message** on Discord, or remove the picture from it. The picture no longer appears in searches, and it's deleted from storage within about 10 minutes. The same happens when a channel is deleted, or when the bot is removed from the server.
    `/forget me` deletes everything you posted in this server. `/forget message` deletes the pictures of one message (for its author and moderators). Deleted pictures never come back: only a few IDs are kept, to make sure of that.
privacy-readers-title = Who can see it
privacy-readers = Only members of this server can find its pictures, and only in channels they can read. The owner of this bot has access to its storage.
