# Warum etwas gefunden wurde.
reasons-file = Genau dieselbe Datei.
reasons-copy = { $exact ->
    [yes] Genaue Kopie.
   *[no] Kopie desselben Bildes.
 }
reasons-same = Dasselbe Bild{ $manner ->
    [mirrored] , gespiegelt
    [turned] , um { $turn } Grad gedreht
    [both] , gespiegelt und um { $turn } Grad gedreht
   *[plain] {""}
 }{ $angle ->
    [yes] , schräg gesehen
   *[no] {""}
 }{ $by ->
    [points] : { $points ->
        [one] 1 Punkt stimmt
       *[other] { $points } Punkte stimmen
     } überein
    [overlay] : übereinandergelegt sehen beide gleich aus
   *[hash] {""}
 }.
reasons-part = { $percent }{"\u00A0"}% der Map-Art sind zu sehen.
reasons-panel = Zeigt { $height ->
    [one] Zeile { $row }
   *[other] Zeilen { $row }
 }, { $width ->
    [one] Spalte { $column }
   *[other] Spalten { $column }
 } von { $columns }x{ $rows } Karten.
reasons-vector = Nur die Farben und das Motiv sind ähnlich.
