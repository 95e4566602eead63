# Befehle. Namen: 1 bis 32 Zeichen, klein, ohne Leerzeichen; Beschreibungen: höchstens 100 Zeichen.
privacy-name = datenschutz
privacy-description = Was MapSeek von dir speichert, wie lange, und wie du es löschen lässt
privacy-forget-name = vergiss
privacy-forget-description = Bilder aus dem Archiv entfernen lassen
privacy-me-name = mich
privacy-me-description = Alles, was du auf diesem Server gepostet hast, aus dem Archiv entfernen, samt Urteilen und Alarmen
privacy-message-name = nachricht
privacy-message-description = Die Bilder einer Nachricht entfernen; für den Verfasser und für Moderatoren
privacy-message-option-name = nachricht
privacy-message-option-description = Der Link der Nachricht oder ihre ID

# /vergiss mich
privacy-me-sure =
    { $count ->
        [0] Ich habe kein Bild, das du auf diesem Server gepostet hast.
        [one] Ich habe **ein Bild**, das du auf diesem Server gepostet hast.
       *[other] Ich habe **{ $count } Bilder**, die du auf diesem Server gepostet hast.
    } Wenn du auf „Ja“ drückst, verlässt alles, was du hier bis jetzt gepostet hast, das Archiv für immer und kommt nie zurück; auch deine Urteile über Antworten und deine Alarme werden gelöscht. Deine Nachrichten auf Discord bleiben. Das lässt sich nicht rückgängig machen.
privacy-button-yes = Ja, alles vergessen
privacy-button-no = Nein, behalten
privacy-me-forgotten = Erledigt: Deine Bilder verschwinden jetzt aus der Suche und binnen etwa zehn Minuten aus dem Speicher, deine Urteile und Alarme werden gelöscht. Was du ab jetzt postest, wird wieder archiviert; sprich mit der Serververwaltung, wenn du das nicht möchtest.
privacy-me-kept = In Ordnung, es wurde nichts geändert.
privacy-not-yours = Diese Frage galt jemand anderem. Für deine eigenen Bilder gibt es /vergiss mich.

# /vergiss nachricht
privacy-message-unknown = Das ist keine Nachricht dieses Servers. Gib mir den Link der Nachricht („Nachrichtenlink kopieren“) oder ihre ID.
privacy-message-none = Hier kann ich für dich nichts entfernen: Ich habe kein Bild dieser Nachricht, oder dir fehlt in ihrem Kanal die Berechtigung „Nachrichten verwalten“.
privacy-message-forgotten =
    { $count ->
        [one] Erledigt: Das Bild dieser Nachricht verschwindet jetzt aus der Suche
       *[other] Erledigt: Die { $count } Bilder dieser Nachricht verschwinden jetzt aus der Suche
    } und binnen etwa zehn Minuten aus dem Speicher. Die Nachricht auf Discord bleibt.

# /datenschutz: jeder Text höchstens 1.024 Zeichen, der erste 4.096.
privacy-title = Was MapSeek speichert
privacy-kept =
    Aus den Kanälen, die die Verwaltung dieses Servers gewählt hat, archiviert MapSeek jedes **gepostete Bild**: das Bild selbst, eine kleine Kopie, Zahlen, die sein Aussehen beschreiben, Dateiname und Größe, wann und wo es gepostet wurde, und ID und Name der Person, die es gepostet hat. Der Text von Nachrichten wird nicht gespeichert.
    Das bleibt, bis es entfernt wird.
privacy-asking-title = Wenn du fragst, urteilst oder wartest
privacy-asking =
    Deine **Fragen** (wer, wann, mit welchem Bild oder welchen Worten) werden 7 Tage gespeichert, das Bild höchstens einen Tag länger.
    Deine **Urteile** („Das ist es“, „Das ist es nicht“) bleiben auf Dauer mit deiner ID und dem, was gefragt wurde, um die Suche zu messen. Deine **Alarme** bleiben mit deiner ID, deinem Namen und dem Bild, auch wenn sie vorbei sind. `/vergiss mich` löscht beides.
    Aufzeichnungen über **Fehler** können dieselben Angaben 30 Tage lang enthalten.
privacy-removal-title = Wie du es löschen lässt
privacy-removal =
    Am einfachsten: **Lösche die Nachricht** auf Discord oder nimm das Bild heraus: Es verschwindet sofort aus der Suche und binnen etwa zehn Minuten aus dem Speicher. Dasselbe gilt für gelöschte Kanäle, und für den ganzen Server, wenn der Bot entfernt wird.
    `/vergiss mich` entfernt alles, was du auf diesem Server gepostet hast, `/vergiss nachricht` die Bilder einer Nachricht (für den Verfasser und für Moderatoren). Nichts Entferntes kommt zurück. Nur ein paar IDs bleiben, damit das so ist.
privacy-readers-title = Wer es sieht
privacy-readers = Nur Mitglieder dieses Servers finden seine Bilder, und nur die aus Kanälen, die sie selbst lesen dürfen. Wer den Bot betreibt, hat Zugriff auf seinen Speicher.
