# Befehle rund um das Archiv. Namen: 1 bis 32 Zeichen, klein, ohne Leerzeichen; Beschreibungen: höchstens 100 Zeichen.
archive-name = archiv
archive-description = Was MapSeek auf diesem Server archiviert
archive-watch-name = beobachten
archive-add-name = hinzufügen
archive-add-description = Archiviere ab jetzt, was in einem Kanal, Thread, Forum oder einer Kategorie gepostet wird
archive-remove-name = entfernen
archive-remove-description = Archiviere dort nichts mehr; was schon archiviert ist, bleibt
archive-list-name = liste
archive-list-description = Welche Kanäle archiviert werden
archive-backfill-name = nachholen
archive-backfill-description = Archiviere, was früher gepostet wurde
archive-status-name = status
archive-status-description = Wie es dem Archiv dieses Servers geht
archive-settings-name = einstellungen
archive-settings-description = Zeige oder ändere, wie sich MapSeek auf diesem Server verhält
archive-channel-name = kanal
archive-channel-description = Ein Kanal, ein Thread, ein Forum oder eine Kategorie
archive-since-name = seit
archive-since-description = Nur, was seit diesem Datum gepostet wurde: 2024, 2024-03 oder 2024-03-31
archive-private-name = private-antworten
archive-private-description = Ob nur der Fragende eine Antwort sieht, wenn er nichts anderes wählt
archive-notice-name = repost-hinweis
archive-notice-description = Was geschieht, wenn jemand schon gepostete Map-Art postet
archive-notice-none = Nichts
archive-notice-reaction = Eine stille Reaktion
archive-notice-reply = Eine Antwort mit Link
archive-language-name = sprache
archive-language-description = In welcher Sprache gesprochen wird, wo es alle lesen
archive-language-auto = Wie Discord es sagt
archive-language-en = Englisch
archive-language-de = Deutsch
archive-member-name = pro-mitglied
archive-member-description = Wie oft ein Mitglied in der Minute suchen darf
archive-guild-name = pro-server
archive-guild-description = Wie oft der ganze Server in der Minute suchen darf
archive-once-name = gleichzeitig
archive-once-description = Wie viele Suchen eines Mitglieds zur selben Zeit laufen dürfen

archive-only-in-servers = Das geht auf einem Server, auf dem MapSeek ist.
archive-managers-only = Das dürfen nur Mitglieder, die diesen Server verwalten dürfen.
archive-added = Ab jetzt beobachte ich { $channel }. Was dort früher gepostet wurde, holst du mit /archiv nachholen ins Archiv.
archive-removed = { $channel } beobachte ich nicht mehr. Was schon archiviert ist, bleibt.
archive-not-watched = { $channel } stand nicht auf der Liste. Was darauf steht, zeigt /archiv beobachten liste.
archive-watching-all = Alle Kanäle dieses Servers werden beobachtet: So hat es entschieden, wer diesen Bot betreibt.
archive-watching-none = Noch wird kein Kanal beobachtet. Füge einen mit /archiv beobachten hinzufügen hinzu.
archive-watching = Beobachtet: { $channels }{ $more ->
    [0] .
   *[other] { " " }und { $more } weitere.
 }

# Die Nachricht einer Nachholung.
archive-backfill-title = Nachholen
archive-backfill-running = Ich lese die Vergangenheit von { $channel }, die ältesten Beiträge zuerst.
archive-backfill-paused = Angehalten in { $channel }.
archive-backfill-cancelled = Abgebrochen in { $channel }. Was schon archiviert ist, bleibt.
archive-backfill-finished = Fertig: Die Vergangenheit von { $channel } ist archiviert.
archive-backfill-counts = { $messages ->
    [one] { $messages } Nachricht
   *[other] { $messages } Nachrichten
 } gelesen, { $images ->
    [one] { $images } Bild
   *[other] { $images } Bilder
 } gefunden
archive-backfill-pace = { $rate } Nachrichten pro Sekunde, noch etwa { $left }
archive-backfill-beginning = Es geht gerade los …
archive-backfill-unreadable = { $count ->
    [one] Ein Kanal, den ich nicht lesen darf, fehlt: { $channels }
   *[other] { $count } Kanäle, die ich nicht lesen darf, fehlen: { $channels }
 }
archive-backfill-moved = Es geht in dieser Nachricht weiter: { $link }
archive-backfill-silent = Es geht weiter, aber ich darf in diesem Kanal nicht schreiben und kann es hier nicht länger zeigen. /archiv status sagt, wie weit es ist.
archive-backfill-active = In { $channel } wird schon nachgeholt. Halte das an, setze es fort oder brich es ab; /archiv status sagt, wie weit es ist.
archive-backfill-unknown = Diese Nachholung kenne ich nicht mehr. Starte sie mit /archiv nachholen neu.
archive-backfill-nothing = In { $channel } gibt es nichts, was ich lesen darf. Gib mir dort "Kanal ansehen" und "Nachrichtenverlauf anzeigen".
archive-backfill-bad-date = Das ist kein Datum in der Vergangenheit. Schreib es als 2024, 2024-03 oder 2024-03-31.
archive-duration = { $unit ->
    [days] { $count } Tage
    [hours] { $count } Stunden
    [minutes] { $count } Minuten
   *[seconds] { $count ->
        [one] eine Sekunde
       *[other] { $count } Sekunden
    }
 }
archive-button-pause = Anhalten
archive-button-resume = Fortsetzen
archive-button-cancel = Abbrechen
archive-state-running = läuft
archive-state-paused = angehalten

# Status.
archive-status-title = Das Archiv dieses Servers
archive-status-images = { $count ->
    [one] **{ $count }** Bild archiviert
   *[other] **{ $count }** Bilder archiviert
 }
archive-status-stored = **{ $megabytes } MB** gespeichert, für alle Server zusammen
archive-status-failures = { $count ->
    [0] Keine Fehler
    [one] **Ein** Fehler: Wer diesen Bot betreibt, kann nachsehen
   *[other] **{ $count }** Fehler: Wer diesen Bot betreibt, kann nachsehen
 }
archive-status-stages = In Arbeit
archive-status-idle = Alles ist auf dem neuesten Stand.
archive-status-lag = { $stage } ({ $lane }): { $pending } warten{ $failures ->
    [0] { "" }
   *[other] , { $failures } gescheitert
 }
archive-status-backfills = Nachholungen
archive-status-unreadable = Kanäle, die ich nicht lesen darf: Gib mir dort "Kanal ansehen" und "Nachrichtenverlauf anzeigen"
archive-status-channels = Zuletzt gesehener Beitrag
archive-status-seen = { $channel }: { $when }
archive-status-more = … und { $count } weitere

# Einstellungen.
archive-settings-title = Einstellungen dieses Servers
archive-shown-private = Antworten sieht { $private ->
    [yes] nur der Fragende
   *[no] der ganze Kanal
 }, wenn der Fragende nichts anderes wählt
archive-shown-notice = Wenn Map-Art noch einmal gepostet wird: { $notice }
archive-shown-language = Sprache: { $language }
archive-shown-member = { $count ->
    [one] Eine Suche
   *[other] { $count } Suchen
 } pro Minute für jedes Mitglied
archive-shown-guild = { $count ->
    [one] Eine Suche
   *[other] { $count } Suchen
 } pro Minute für den ganzen Server
archive-shown-once = { $count ->
    [one] Eine Suche
   *[other] { $count } Suchen
 } eines Mitglieds zur selben Zeit
