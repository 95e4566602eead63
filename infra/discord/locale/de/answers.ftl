# Was jemand liest, der wartet.
answers-step-fetching = Das Bild wird geholt …
answers-step-reading = Das Bild wird gelesen …
answers-step-comparing = Vergleich mit dem Archiv …

# Überschriften.
answers-match = Gefunden: zuerst gepostet von { $author }
answers-possible = Das könnte es sein: zuerst gepostet von { $author }
answers-words = Bestes Ergebnis für deine Worte: zuerst gepostet von { $author }
answers-further = Weiteres Ergebnis: zuerst gepostet von { $author }
answers-posts = { $count ->
    [one] Einmal
   *[other] { $count }-mal
 } gepostet
answers-none = Kein Treffer
answers-error = Danach konnte nicht gesucht werden

# Was über ein Werk gesagt wird.
answers-similar = Zu **{ $percent } %** ähnlich, { $verdict ->
    [match] ein Treffer
   *[possible] vielleicht ein Treffer
 }
answers-sure = Zu **{ $percent } %** sicher, { $verdict ->
    [match] ein Treffer
   *[possible] vielleicht ein Treffer
 }
answers-similar-words = Passt zu deinen Worten: **{ $percent } %**
answers-unmeasured = Vielleicht ein Treffer
answers-unmeasured-words = Vielleicht das, was du suchst
answers-only-post = Gepostet von **{ $author }** am { $date } ({ $ago }) in { $channel }
answers-first-post = Zuerst gepostet von **{ $author }** am { $date } ({ $ago }) in { $channel }
answers-best-post = Das Bild unten wurde am { $date } von **{ $author }** in { $channel } gepostet, { $link }
answers-go-to-message = zur Nachricht
answers-again = Außerdem { $count ->
    [one] einmal
   *[other] { $count }-mal
 } gepostet
answers-file = Datei: { $filename }
answers-post = { $date }: **{ $author }** in { $channel }, { $link }
answers-picture = Die Map-Art, wie { $author } sie gepostet hat

# Warum es gefunden wurde.
answers-why = Woher weißt du das?
answers-why-picture = Das Bild der Frage neben der Map-Art, die { $author } gepostet hat, und was beide gemeinsam haben
answers-why-undrawn = Dazu gibt es kein Bild: Womit gefragt wurde, wird eine Woche lang aufbewahrt und nur dem gezeigt, der gefragt hat.

# Unter einer Antwort.
answers-result-of = Ergebnis { $number } von { $count }
answers-page-of = Seite { $number } von { $count }
answers-untrained = untrainiertes Modell: dieses Ergebnis taugt nur zur Vorführung

# Knöpfe.
answers-button-previous = Zurück
answers-button-next = Weiter
answers-button-back = Zum Ergebnis
answers-button-posts = { $count }-mal gepostet
answers-button-right = Das ist es
answers-button-wrong = Das ist es nicht
answers-button-go = Zum Post
answers-button-go-first = Zum ersten Post
answers-button-why = Woher weißt du das?
answers-button-alert = Sag mir, wenn es auftaucht

# Wenn es nichts zu zeigen gibt.
answers-none-image = Nichts, was du auf diesem Server lesen kannst, sieht aus wie dieses Bild.
answers-none-text = Nichts, was du auf diesem Server lesen kannst, passt zu diesen Worten.
answers-too-old = Diese Suche ist zu alt. Bitte frage noch einmal.
answers-rejected-not-allowed = Von dort kann das Bild nicht geholt werden. Hänge es an, oder verlinke ein Bild oder eine Nachricht auf Discord.
answers-rejected-gone = Das Bild ist nicht mehr da. Bitte hänge es noch einmal an.
answers-rejected-too-large = Die Datei des Bildes ist zu groß. Eine kleinere Kopie oder ein Screenshot genügt.
answers-rejected-empty = Die Datei ist leer.
answers-rejected-not-an-image = Die Datei ist kein Bild im Format PNG, JPEG, WebP, GIF oder BMP.
answers-rejected-damaged = Das Bild ist beschädigt und kann nicht gelesen werden.
answers-rejected-too-many-pixels = Das Bild hat zu viele Pixel. Eine kleinere Kopie oder ein Screenshot genügt.
answers-rejected-no-text = Das Modell dieses Bots versteht keine Worte, anders als etwa ViT-B-32. Bitte frage mit einem Bild.
answers-rejected-internal = Bei uns ist etwas schiefgegangen. Bitte versuche es später noch einmal.
