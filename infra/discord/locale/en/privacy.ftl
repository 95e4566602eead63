# Commands. Names: 1 to 32 characters, lower case, no spaces; descriptions: at most 100 characters.
privacy-name = privacy
privacy-description = What MapSeek keeps of you, for how long, and how to have it removed
privacy-forget-name = forget
privacy-forget-description = Have pictures removed from the archive
privacy-me-name = me
privacy-me-description = Remove everything that you posted in this server from the archive, with your votes and alerts
privacy-message-name = message
privacy-message-description = Remove the pictures of one message; for its author and for moderators
privacy-message-option-name = message
privacy-message-option-description = The message's link, or its id

# /forget me
privacy-me-sure =
    { $count ->
        [0] I have no picture that you posted in this server.
        [one] I have **one picture** that you posted in this server.
       *[other] I have **{ $count } pictures** that you posted in this server.
    } If you press “Yes”, everything that you posted here until now leaves the archive for good and never comes back, and your votes on answers and your alerts are erased too. Your messages on Discord stay. This cannot be undone.
privacy-button-yes = Yes, forget all of it
privacy-button-no = No, keep it
privacy-me-forgotten = Done: your pictures leave the search now and the storage within about ten minutes, and your votes and alerts are erased. What you post from now on is archived again; ask a manager of the server if you do not want that.
privacy-me-kept = All right, nothing was changed.
privacy-not-yours = This question was for somebody else. Use /forget me for your own pictures.

# /forget message
privacy-message-unknown = That names no message of this server. Give me the message's link (“Copy Message Link”) or its id.
privacy-message-none = There is nothing that I can remove for you: I have no picture of that message, or you lack the permission Manage Messages in its channel.
privacy-message-forgotten =
    { $count ->
        [one] Done: the picture of that message leaves the search now
       *[other] Done: the { $count } pictures of that message leave the search now
    } and the storage within about ten minutes. The message on Discord stays.

# /privacy: each text at most 1,024 characters, the first 4,096.
privacy-title = What MapSeek keeps
privacy-kept =
    From the channels that the managers of this server chose, MapSeek archives every **posted picture**: the picture itself, a small copy, numbers that describe what it looks like, its file name and size, when and where it was posted, and the id and name of who posted it. Text of messages is not kept.
    This stays until it is removed.
privacy-asking-title = When you ask, vote or wait
privacy-asking =
    Your **questions** (who asked, when, with which picture or words) are kept for 7 days, the picture a day longer at most.
    Your **votes** (“This is it”, “Not it”) are kept for good with your id and the picture or the words that were asked with, to measure how good the search is. Your **alerts** are kept with your id, name and picture, also when they are over. `/forget me` erases both.
    Records of **failures** may hold the same details for 30 days.
privacy-removal-title = How to have it removed
privacy-removal =
    Simply **delete the message** on Discord, or take the picture out of it: it leaves the search at once and the storage within about ten minutes. The same goes for deleted channels, and for all of a server when the bot is removed from it.
    `/forget me` removes everything that you posted in this server, `/forget message` the pictures of one message (for its author and for moderators). Nothing that was removed comes back. Only a few ids stay, so that this can be kept.
privacy-readers-title = Who sees it
privacy-readers = Only members of this server find its pictures, and only those from channels that they may read themselves. Whoever runs the bot has access to its storage.
