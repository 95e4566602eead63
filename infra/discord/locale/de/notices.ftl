# Nachrichten, die der Bot von selbst schickt.
notices-repost = Diese Map-Art wurde hier schon einmal gepostet: { $link }
notices-alert-direct = Die Map-Art, die du gesucht hast, wurde gepostet: { $link }
notices-alert-mention = { $member }, die Map-Art, die du gesucht hast, wurde gepostet: { $link }
notices-alert-mention-elsewhere = { $member }, die Map-Art, die du gesucht hast, wurde gepostet. Such noch einmal danach, dann siehst du, wo.
