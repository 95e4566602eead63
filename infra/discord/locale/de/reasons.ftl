# Warum etwas gefunden wurde.
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
        [one] ein Punkt stimmt
       *[other] { $points } Punkte stimmen
     } überein
    [overlay] : übereinandergelegt stimmen sie überein
   *[hash] {""}
 }.
reasons-part = Davon sind { $percent } % zu sehen.
reasons-panel = Zeile { $row }, Spalte { $column } von { $columns }x{ $rows } Karten.
reasons-vector = Nur Farben und Motiv sind gleich.
