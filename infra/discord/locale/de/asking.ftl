# Befehle zum Suchen. Namen: 1 bis 32 Zeichen, klein, ohne Leerzeichen; Beschreibungen: höchstens 100 Zeichen.
asking-find-name = finden
asking-find-description = Finde heraus, wer eine Map-Art auf diesem Server zuerst gepostet hat und wo
asking-image-name = bild
asking-image-description = Ein Bild der Map-Art (ein Screenshot genügt)
asking-link-name = link
asking-link-description = Oder ein Link zu einer Nachricht auf diesem Server oder zu einem Bild auf Discord
asking-private-name = privat
asking-private-description = Nur du siehst die Antwort
asking-menu-name = Diese Karte finden
asking-text-name = finden-text
asking-text-description = Finde Map-Art, indem du sie beschreibst
asking-query-name = suche
asking-query-description = Was auf dem Bild zu sehen ist. Mit -Wort oder -"zwei Worte" lässt du etwas weg
asking-channel-name = kanal
asking-channel-description = Suche nur in diesem Kanal, Forum oder dieser Kategorie
asking-author-name = person
asking-author-description = Suche nur Beiträge dieser Person
asking-after-name = ab
asking-after-description = Nur Beiträge ab diesem Datum: 2024, 2024-03 oder 2024-03-31
asking-before-name = vor
asking-before-description = Nur Beiträge vor diesem Datum: 2024, 2024-03 oder 2024-03-31

asking-not-here = Das geht nur auf Servern, zu denen MapSeek hinzugefügt wurde.
asking-image-or-link = Gib ein Bild oder einen Link an (nur eins davon).
asking-not-an-image = Diese Datei ist kein Bild. Häng ein PNG, JPEG, WebP, GIF oder BMP an.
asking-link-unknown = Mit diesem Link kann ich nichts anfangen. Nimm den Link zu einer Nachricht auf diesem Server oder zu einem Bild auf Discord (cdn.discordapp.com oder media.discordapp.net).
asking-link-no-picture = Dieser Link führt zu keinem Bild. Nimm den Link zu einem PNG, JPEG, WebP, GIF oder BMP.
asking-link-missing = Ich kann diese Nachricht nicht finden. Sie ist gelöscht, sie ist auf einem anderen Server, oder einer von uns kann sie von hier aus nicht lesen.
asking-link-later = Discord hat mir diese Nachricht nicht gezeigt. Bitte versuch es in ein paar Minuten noch einmal.
asking-message-without-picture = In dieser Nachricht ist kein Bild.
asking-message-unreadable = Diese Nachricht lässt sich nicht lesen. Häng stattdessen das Bild an.
asking-picture = Bild { $number } von { $count } wird gesucht …
asking-no-words = Beschreib, was auf dem Bild zu sehen ist, nicht nur, was nicht zu sehen ist.
asking-no-date = Ich verstehe das Datum „{ $typed }“ nicht. Schreib es so: 2024, 2024-03 oder 2024-03-31.
asking-dates-crossed = Das Datum bei „ab“ muss früher sein als das bei „vor“.
asking-channel-unreadable = In { $channel } gibt es nichts, was ich hier zeigen kann.
asking-too-many-searches = Das waren viele Suchen in kurzer Zeit. Bitte versuch es { $when } noch einmal.
asking-too-many-presses = Das war etwas zu schnell. Bitte versuch es { $when } noch einmal.
asking-button-unknown = Dieser Knopf ist von einer älteren Version von MapSeek und geht nicht mehr. Bitte such noch einmal.
asking-voted =
    { $right ->
        [yes] Danke! Du hast gesagt: Das ist es. Wenn du deine Meinung änderst, drück „Das ist es nicht“.
       *[no] Danke! Du hast gesagt: Das ist es nicht. Wenn du deine Meinung änderst, drück „Das ist es“.
    }

asking-alerts-name = benachrichtigungen
asking-alerts-description = Zeige oder lösche deine Benachrichtigungen
asking-alert-noted = Benachrichtigung eingerichtet. Ich schicke dir eine DM oder erwähne dich hier, falls deine DMs geschlossen sind.
asking-alert-cancel = Benachrichtigung löschen
asking-alert-cancelled = Benachrichtigung gelöscht.
asking-alert-not-yours = Hier gibt es nichts zu löschen. Diese Benachrichtigung ist vorbei, oder sie gehört jemand anderem.
asking-alerts-none = Du hast keine Benachrichtigungen auf diesem Server.
asking-alerts-some =
    { $count ->
        [one] Du hast 1 Benachrichtigung auf diesem Server:
       *[other] Du hast { $count } Benachrichtigungen auf diesem Server:
    }
asking-alerts-line = Benachrichtigung { $number }: eingerichtet { $since } in { $channel }
asking-alerts-picture = Das Bild zu Benachrichtigung { $number }
asking-alerts-picture-gone = Ich habe dieses Bild nicht mehr.
asking-alerts-cancel = Nummer { $number } löschen
asking-alerts-full = Du hast schon { $most } Benachrichtigungen, mehr geht nicht. Mit /benachrichtigungen kannst du eine löschen.
