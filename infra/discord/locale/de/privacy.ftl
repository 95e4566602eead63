# Befehle. Namen: 1 bis 32 Zeichen, klein, ohne Leerzeichen; Beschreibungen: höchstens 100 Zeichen.
privacy-name = datenschutz
privacy-description = Was MapSeek über dich speichert, wie lange, und wie du es löschst
privacy-forget-name = vergiss
privacy-forget-description = Lösche Bilder aus dem Archiv
privacy-me-name = mich
privacy-me-description = Lösche alles, was du auf diesem Server gepostet hast, samt Stimmen und Benachrichtigungen
privacy-message-name = nachricht
privacy-message-description = Lösche die Bilder einer Nachricht (für ihren Autor und für Moderatoren)
privacy-message-option-name = nachricht
privacy-message-option-description = Der Link oder die ID der Nachricht

# /vergiss mich
privacy-me-sure =
    { $count ->
        [0] Im Archiv ist kein Bild, das du auf diesem Server gepostet hast.
        [one] Im Archiv ist **1 Bild**, das du auf diesem Server gepostet hast.
       *[other] Im Archiv sind **{ $count } Bilder**, die du auf diesem Server gepostet hast.
    } Willst du alles, was du hier bis jetzt gepostet hast, aus dem Archiv löschen, mit deinen Stimmen und Benachrichtigungen? Das lässt sich nicht rückgängig machen. Deine Nachrichten auf Discord bleiben erhalten.
privacy-button-yes = Ja, alles löschen
privacy-button-no = Nein, behalten
privacy-me-forgotten = Fertig! Deine Bilder erscheinen nicht mehr in der Suche. Innerhalb von etwa 10 Minuten sind sie aus dem Speicher gelöscht. Deine Stimmen und Benachrichtigungen sind auch gelöscht. Was du ab jetzt postest, archiviere ich wieder. Wenn du das nicht möchtest, frag die Leute, die diesen Server verwalten.
privacy-me-kept = OK, nichts wurde geändert.
privacy-not-yours = Diese Frage war für jemand anderen. Deine eigenen Bilder löschst du mit /vergiss mich.

# /vergiss nachricht
privacy-message-unknown = Das ist keine Nachricht auf diesem Server. Gib mir den Link der Nachricht („Nachrichtenlink kopieren“) oder ihre ID.
privacy-message-none = Ich kann hier nichts für dich löschen. Im Archiv ist kein Bild dieser Nachricht, oder dir fehlt in ihrem Kanal die Berechtigung „Nachrichten verwalten“.
privacy-message-forgotten =
    { $count ->
        [one] Fertig! Das Bild dieser Nachricht erscheint nicht mehr in der Suche. Innerhalb von etwa 10 Minuten ist es aus dem Speicher gelöscht.
       *[other] Fertig! Die { $count } Bilder dieser Nachricht erscheinen nicht mehr in der Suche. Innerhalb von etwa 10 Minuten sind sie aus dem Speicher gelöscht.
    } Die Nachricht auf Discord bleibt erhalten.

# /datenschutz: jeder Text höchstens 1.024 Zeichen, der erste 4.096.
privacy-title = Was MapSeek über dich speichert
privacy-kept =
    MapSeek archiviert jedes **Bild**, das in den Kanälen gepostet wird, die die Verwalter dieses Servers ausgewählt haben. Gespeichert werden das Bild, eine kleine Kopie davon, Zahlen, die sein Aussehen beschreiben, sein Dateiname und seine Größe, wann und wo es gepostet wurde, und ID und Name des Mitglieds, das es gepostet hat. Der Text von Nachrichten wird nicht gespeichert.
    Das alles bleibt, bis es gelöscht wird.
privacy-asking-title = Wenn du suchst, abstimmst oder dich benachrichtigen lässt
privacy-asking =
    Deine **Suchen** (wer gesucht hat, wann, und mit welchem Bild oder welchen Worten) bleiben 7 Tage gespeichert. Das Bild kann einen Tag länger bleiben.
    Deine **Stimmen** („Das ist es“, „Das ist es nicht“) zeigen uns, wie gut die Suche ist. Sie bleiben mit deiner ID und dem Bild oder den Worten deiner Suche gespeichert, bis du sie löschst. Deine **Benachrichtigungen** bleiben mit deiner ID, deinem Namen und dem Bild gespeichert, auch wenn sie vorbei sind. Beides löschst du mit `/vergiss mich`.
    Aufzeichnungen über **Fehler** können dieselben Angaben enthalten. Sie bleiben 30 Tage gespeichert.
privacy-removal-title = Wie du es löschst
privacy-removal =
    Lösch einfach **die Nachricht** auf Discord, oder nimm das Bild heraus. Das Bild erscheint nicht mehr in der Suche und ist innerhalb von etwa 10 Minuten aus dem Speicher gelöscht. Dasselbe passiert, wenn ein Kanal gelöscht oder der Bot vom Server entfernt wird.
    `/vergiss mich` löscht alles, was du auf diesem Server gepostet hast. `/vergiss nachricht` löscht die Bilder einer Nachricht (für ihren Autor und für Moderatoren). Gelöschte Bilder kommen nie zurück: Nur ein paar IDs bleiben, um das sicherzustellen.
privacy-readers-title = Wer es sehen kann
privacy-readers = Nur Mitglieder dieses Servers können seine Bilder finden, und nur in Kanälen, die sie lesen können. Der Betreiber dieses Bots hat Zugriff auf seinen Speicher.
