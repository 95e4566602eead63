# Befehle für das Archiv. Namen: 1 bis 32 Zeichen, klein, ohne Leerzeichen; Beschreibungen: höchstens 100 Zeichen.
archive-name = archiv
archive-description = Verwalte, was MapSeek auf diesem Server archiviert
archive-watch-name = beobachten
archive-add-name = hinzufügen
archive-add-description = Archiviere neue Beiträge in einem Kanal, Thread, Forum oder einer Kategorie
archive-remove-name = entfernen
archive-remove-description = Archiviere einen Kanal oder eine Kategorie nicht mehr. Schon Archiviertes bleibt erhalten.
archive-list-name = liste
archive-list-description = Zeige, welche Kanäle archiviert werden
archive-backfill-name = nachholen
archive-backfill-description = Archiviere ältere Beiträge in einem Kanal
archive-status-name = status
archive-status-description = Zeige den Stand des Archivs dieses Servers
archive-settings-name = einstellungen
archive-settings-description = Zeige oder ändere die Einstellungen von MapSeek für diesen Server
archive-channel-name = kanal
archive-channel-description = Ein Kanal, Thread, Forum oder eine Kategorie
archive-since-name = seit
archive-since-description = Nur Beiträge seit diesem Datum: 2024, 2024-03 oder 2024-03-31
archive-private-name = private-antworten
archive-private-description = Nur das Mitglied, das sucht, sieht die Antwort, solange es nichts anderes wählt
archive-notice-name = repost-hinweis
archive-notice-description = Was passiert, wenn jemand schon einmal gepostete Map-Art postet
archive-notice-none = Nichts
archive-notice-reaction = Eine Reaktion hinzufügen
archive-notice-reply = Mit einem Link antworten
archive-language-name = sprache
archive-language-description = Sprache für Nachrichten, die alle sehen
archive-language-auto = Wie die Sprache des Servers
archive-language-en = Englisch
archive-language-de = Deutsch
archive-member-name = pro-mitglied
archive-member-description = Suchen pro Minute für jedes Mitglied
archive-guild-name = pro-server
archive-guild-description = Suchen pro Minute für den ganzen Server
archive-once-name = gleichzeitig
archive-once-description = Suchen, die ein Mitglied gleichzeitig starten kann

archive-only-in-servers = Das geht nur auf Servern, zu denen MapSeek hinzugefügt wurde.
archive-managers-only = Dafür brauchst du die Berechtigung „Server verwalten“.
archive-added = Ich archiviere jetzt neue Beiträge in { $channel }. Ältere Beiträge archivierst du mit /archiv nachholen.
archive-removed = Ich archiviere { $channel } nicht mehr. Schon Archiviertes bleibt erhalten.
archive-not-watched = { $channel } stand nicht auf der Liste. Die Liste siehst du mit /archiv beobachten liste.
archive-watching-all = Ich archiviere jeden Kanal auf diesem Server. So hat es der Betreiber dieses Bots eingestellt.
archive-watching-none = Ich archiviere noch keinen Kanal. Füge einen mit /archiv beobachten hinzufügen hinzu.
archive-watching = Ich archiviere { $channels }{ $more ->
    [0] .
   *[other] { " " }und { $more } weitere.
 }

# Die Nachricht, die zeigt, wie ältere Beiträge archiviert werden.
archive-backfill-title = Ältere Beiträge
archive-backfill-running = Ich archiviere ältere Beiträge in { $channel }, die ältesten zuerst.
archive-backfill-paused = Pausiert in { $channel }.
archive-backfill-cancelled = Abgebrochen in { $channel }. Schon Archiviertes bleibt erhalten.
archive-backfill-finished = Fertig! Die älteren Beiträge in { $channel } sind archiviert.
archive-backfill-counts = { $messages ->
    [one] { $messages } Nachricht gelesen
   *[other] { $messages } Nachrichten gelesen
 }, { $images ->
    [one] { $images } Bild gefunden
   *[other] { $images } Bilder gefunden
 }
archive-backfill-pace = { $rate ->
    [0] Weniger als 1 Nachricht
    [one] { $rate } Nachricht
   *[other] { $rate } Nachrichten
 } pro Sekunde, noch etwa { $left }
archive-backfill-beginning = Es geht los …
archive-backfill-unreadable = { $count ->
    [one] Ich habe 1 Kanal übersprungen, den ich nicht lesen kann: { $channels }
   *[other] Ich habe { $count } Kanäle übersprungen, die ich nicht lesen kann: { $channels }
 }
archive-backfill-moved = Den Fortschritt siehst du in dieser Nachricht: { $link }
archive-backfill-silent = Ich archiviere weiter, kann aber in diesem Kanal keine Nachrichten senden. Den Fortschritt siehst du mit /archiv status.
archive-backfill-active = Ich bin mit den älteren Beiträgen in { $channel } noch nicht fertig. Nutze die Knöpfe unter der Nachricht dazu, oder sieh den Fortschritt mit /archiv status.
archive-backfill-unknown = Ich kann das nicht mehr finden. Starte es mit /archiv nachholen neu.
archive-backfill-nothing = Ich kann in { $channel } nichts lesen. Gib mir dort die Berechtigungen „Kanal ansehen“ und „Nachrichtenverlauf anzeigen“.
archive-backfill-bad-date = Das ist kein Datum in der Vergangenheit. Schreib es so: 2024, 2024-03 oder 2024-03-31.
archive-percent = { $percent }{"\u00A0"}%
archive-duration = { $unit ->
    [days] { $count ->
        [one] 1 Tag
       *[other] { $count } Tage
    }
    [hours] { $count ->
        [one] 1 Stunde
       *[other] { $count } Stunden
    }
    [minutes] { $count ->
        [one] 1 Minute
       *[other] { $count } Minuten
    }
   *[seconds] { $count ->
        [one] 1 Sekunde
       *[other] { $count } Sekunden
    }
 }
archive-button-pause = Pause
archive-button-resume = Fortsetzen
archive-button-cancel = Abbrechen
archive-state-running = läuft
archive-state-paused = pausiert

# Status.
archive-status-title = Das Archiv dieses Servers
archive-status-images = { $count ->
    [one] **{ $count }** Bild archiviert
   *[other] **{ $count }** Bilder archiviert
 }
archive-status-stored = **{ $megabytes }{"\u00A0"}MB** gespeichert für alle Server zusammen
archive-status-failures = { $count ->
    [0] Keine Fehler
    [one] **{ $count }** Fehler: Der Betreiber dieses Bots kann nachsehen
   *[other] **{ $count }** Fehler: Der Betreiber dieses Bots kann nachsehen
 }
archive-status-unread = { $count ->
    [one] **{ $count }** Nachricht dieses Servers, die ich nicht lesen konnte
   *[other] **{ $count }** Nachrichten dieses Servers, die ich nicht lesen konnte
 }: `mapseek failures list --stage record` zeigt dem Betreiber dieses Bots, was daran falsch ist
archive-status-stages = In Arbeit
archive-status-idle = Alles ist auf dem neuesten Stand.
archive-status-lag = { $stage } ({ $lane }): { $pending } warten{ $failures ->
    [0] { "" }
   *[other] , { $failures } fehlgeschlagen
 }
archive-status-backfills = Ältere Beiträge werden archiviert
archive-status-unreadable = Kanäle, die ich nicht lesen kann: Ich brauche dort „Kanal ansehen“ und „Nachrichtenverlauf anzeigen“
archive-status-channels = Neuester gesehener Beitrag
archive-status-seen = { $channel }: { $when }
archive-status-more = … und { $count } weitere

# Einstellungen.
archive-settings-title = Einstellungen für diesen Server
archive-shown-private = { $private ->
    [yes] Nur das Mitglied, das sucht, sieht die Antwort, solange es nichts anderes wählt
   *[no] Alle im Kanal sehen die Antwort, solange das Mitglied, das sucht, nichts anderes wählt
 }
archive-shown-notice = Wenn Map-Art noch einmal gepostet wird: { $notice }
archive-shown-language = Sprache für Nachrichten, die alle sehen: { $language }
archive-shown-member = { $count ->
    [one] { $count } Suche pro Minute für jedes Mitglied
   *[other] { $count } Suchen pro Minute für jedes Mitglied
 }
archive-shown-guild = { $count ->
    [one] { $count } Suche pro Minute für den ganzen Server
   *[other] { $count } Suchen pro Minute für den ganzen Server
 }
archive-shown-once = { $count ->
    [one] { $count } Suche gleichzeitig für jedes Mitglied
   *[other] { $count } Suchen gleichzeitig für jedes Mitglied
 }
