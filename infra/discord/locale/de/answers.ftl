# Was Mitglieder sehen, während sie warten.
answers-step-fetching = Das Bild wird geladen …
answers-step-reading = Das Bild wird gelesen …
answers-step-comparing = Das Archiv wird durchsucht …

# Überschriften.
answers-match = Gefunden: zuerst gepostet von { $author }
answers-possible = Möglicher Treffer: zuerst gepostet von { $author }
answers-words = Bestes Ergebnis: zuerst gepostet von { $author }
answers-further = Weiteres Ergebnis: zuerst gepostet von { $author }
answers-posts = { $count ->
    [one] Einmal gepostet
   *[other] { $count }-mal gepostet
 }
answers-none = Kein Treffer
answers-error = Suche fehlgeschlagen

# Über eine Map-Art.
answers-similar = { $verdict ->
    [match] Treffer: zu **{ $percent }{"\u00A0"}%** ähnlich
   *[possible] Möglicher Treffer: zu **{ $percent }{"\u00A0"}%** ähnlich
 }
answers-sure = { $verdict ->
    [match] Treffer: **{ $percent }{"\u00A0"}%**
   *[possible] Möglicher Treffer: **{ $percent }{"\u00A0"}%**
 }
answers-similar-words = Passt zu deinen Worten: **{ $percent }{"\u00A0"}%**
answers-unmeasured = Möglicher Treffer
answers-unmeasured-words = Vielleicht suchst du das hier
answers-only-post = Gepostet von **{ $author }** am { $date } ({ $ago }) in { $channel }
answers-first-post = Zuerst gepostet von **{ $author }** am { $date } ({ $ago }) in { $channel }
answers-best-post = Das { $spoiler ->
    [yes] verdeckte Bild
   *[no] Bild unten
 } hat **{ $author }** am { $date } in { $channel } gepostet, { $link }
answers-go-to-message = zum Beitrag
answers-again = { $count ->
    [one] Noch einmal gepostet
   *[other] Noch { $count }-mal gepostet
 }
answers-file = Datei: { $filename }
answers-post = { $date }: **{ $author }** in { $channel }, { $link }
answers-picture = Die Map-Art, die { $author } gepostet hat

# Warum es gefunden wurde. Was auf dem Bild steht (asked bis difference), hat nur ASCII-Buchstaben.
answers-why = Warum dieser Treffer?
answers-why-picture = Dein Bild neben der Map-Art, die { $author } gepostet hat, und was sie gemeinsam haben
answers-why-asked = Dein Bild
answers-why-archived = Archiviertes Bild
answers-why-straightened = Dein Bild, entzerrt
answers-why-difference = Unterschied (schwarz: keiner)
answers-why-undrawn = Dazu gibt es kein Bild. Ich behalte gesuchte Bilder eine Woche lang und zeige sie nur dem Mitglied, das gesucht hat.

# Unter einer Antwort.
answers-result-of = Ergebnis { $number } von { $count }
answers-page-of = Seite { $number } von { $count }
answers-untrained = untrainiertes Modell: nur zur Vorführung

# Knöpfe.
answers-button-previous = Zurück
answers-button-next = Weiter
answers-button-back = Zum Ergebnis
answers-button-posts = { $count ->
    [one] Einmal gepostet
   *[other] { $count }-mal gepostet
 }
answers-button-right = Das ist es
answers-button-wrong = Das ist es nicht
answers-button-go = Zum Beitrag
answers-button-why = Warum dieser Treffer?
answers-button-alert = Benachrichtige mich, wenn es gepostet wird

# Wenn es nichts zu zeigen gibt.
answers-none-image = Ich habe dieses Bild in keinem Kanal gefunden, den du hier sehen kannst.
answers-none-text = Ich habe in keinem Kanal, den du hier sehen kannst, etwas gefunden, das zu deinen Worten passt.
answers-too-old = Diese Suche ist zu alt. Bitte such noch einmal.
answers-rejected-not-allowed = Von dieser Seite kann ich keine Bilder laden. Häng das Bild an, oder verlinke ein Bild oder eine Nachricht auf Discord.
answers-rejected-gone = Dieses Bild ist nicht mehr da. Bitte häng es noch einmal an.
answers-rejected-too-large = Diese Datei ist zu groß. Versuch es mit einer kleineren Kopie oder einem Screenshot.
answers-rejected-empty = Diese Datei ist leer.
answers-rejected-not-an-image = Diese Datei ist kein Bild im Format PNG, JPEG, WebP, GIF oder BMP.
answers-rejected-damaged = Dieses Bild ist beschädigt. Ich kann es nicht lesen.
answers-rejected-too-many-pixels = Dieses Bild hat zu viele Pixel. Versuch es mit einer kleineren Kopie oder einem Screenshot.
answers-rejected-too-costly = Dieses Bild zu lesen kostet zu viel Zeit oder Speicher. Versuch es mit einem Screenshot davon.
answers-rejected-no-text = Das Modell dieses Bots versteht keine Worte. Bitte such mit einem Bild.
answers-rejected-internal = Bei uns ist etwas schiefgegangen. Bitte versuch es später noch einmal.
