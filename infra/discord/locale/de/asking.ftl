# Befehle, die etwas fragen. Namen: 1 bis 32 Zeichen, klein, ohne Leerzeichen; Beschreibungen: höchstens 100 Zeichen.
asking-find-name = finden
asking-find-description = Finde, wo eine Map-Art auf diesem Server gepostet wurde
asking-image-name = bild
asking-image-description = Ein Bild der Map-Art; ein Screenshot genügt
asking-link-name = link
asking-link-description = Stattdessen: der Link zu einer Nachricht dieses Servers oder zu einem Bild auf Discord
asking-private-name = privat
asking-private-description = Ob nur du die Antwort siehst
asking-menu-name = Diese Karte finden
asking-text-name = finden-text
asking-text-description = Finde Map-Art, indem du sie beschreibst
asking-query-name = suche
asking-query-description = Was zu sehen ist; -Wort oder -"zwei Worte" lässt weg, was das zeigt
asking-channel-name = kanal
asking-channel-description = Suche nur in diesem Kanal, diesem Forum oder dieser Kategorie
asking-author-name = person
asking-author-description = Suche nur unter dem, was diese Person gepostet hat
asking-after-name = ab
asking-after-description = Gepostet ab diesem Datum: 2024, 2024-03 oder 2024-03-31
asking-before-name = vor
asking-before-description = Gepostet vor diesem Datum: 2024, 2024-03 oder 2024-03-31

asking-not-here = Gesucht wird auf einem Server, auf dem MapSeek ist; frag bitte dort.
asking-image-or-link = Gib mir entweder ein Bild oder einen Link: eine der beiden Optionen, nicht beide.
asking-not-an-image = Diese Datei ist kein Bild. Hänge ein Bild als PNG, JPEG, WebP, GIF oder BMP an.
asking-link-unknown = Mit diesem Link kann ich nichts anfangen. Gib mir den Link zu einer Nachricht dieses Servers oder zu einem Bild auf Discord (cdn.discordapp.com oder media.discordapp.net).
asking-link-no-picture = Dieser Link führt zu keinem Bild. Gib mir den Link zu einem Bild als PNG, JPEG, WebP, GIF oder BMP.
asking-link-missing = Ich finde diese Nachricht nicht: Sie ist nicht auf diesem Server, sie wurde gelöscht, oder du oder ich dürfen sie von hier aus nicht lesen.
asking-link-later = Discord hat mir diese Nachricht nicht gezeigt. Bitte versuch es in ein paar Minuten noch einmal.
asking-message-without-picture = In dieser Nachricht ist kein Bild.
asking-picture = Bild { $number } von { $count }: Ich suche danach …
asking-no-words = Sag mir, was auf dem Bild zu sehen ist, und nicht nur, was nicht.
asking-no-date = „{ $typed }“ ist kein Datum, das ich verstehe. Schreib 2024, 2024-03 oder 2024-03-31.
asking-dates-crossed = In dieser Zeit wurde kein Bild gepostet: „ab“ muss früher sein als „vor“.
asking-channel-unreadable = In { $channel } ist nichts, was ich hier zeigen darf.
asking-too-many-searches = Das waren viele Fragen in kurzer Zeit. Bitte frag { $when } noch einmal.
asking-too-many-presses = Das war etwas zu schnell. Bitte drück { $when } noch einmal.
asking-button-unknown = Dieser Knopf stammt von einer älteren Version von MapSeek und geht nicht mehr. Bitte frag noch einmal.
asking-voted =
    { $right ->
        [yes] Notiert: Das ist es. Danke! Drück „Das ist es nicht“, wenn du deine Meinung änderst.
       *[no] Notiert: Das ist es nicht. Danke! Drück „Das ist es“, wenn du deine Meinung änderst.
    }

asking-alerts-name = wartend
asking-alerts-description = Die Bilder, über die du Bescheid bekommen willst, und wie du das beendest
asking-alert-noted = Ich sage dir Bescheid, wenn es auftaucht. Ich schreibe dir direkt, wenn du das zulässt, sonst erwähne ich dich hier.
asking-alert-cancel = Kein Bescheid
asking-alert-cancelled = In Ordnung, ich sage dir nicht Bescheid.
asking-alert-not-yours = Hier gibt es nichts zu beenden: Das war schon vorbei, oder jemand anderes hat darum gebeten.
asking-alerts-none = Du wartest auf kein Bild auf diesem Server.
asking-alerts-some =
    { $count ->
        [one] Du wartest auf ein Bild auf diesem Server:
       *[other] Du wartest auf { $count } Bilder auf diesem Server:
    }
asking-alerts-line = { $number }. gefragt { $since } in { $channel }
asking-alerts-cancel = { $number } beenden
asking-alerts-full = Du wartest schon auf { $most } Bilder, mehr geht nicht. Beende eines davon mit /wartend.
