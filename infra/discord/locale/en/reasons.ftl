# Why something was found.
reasons-file = The very same file.
reasons-copy = { $exact ->
    [yes] Exact copy.
   *[no] Copy of the same picture.
 }
reasons-same = Same picture{ $manner ->
    [mirrored] , mirrored
    [turned] , turned by { $turn } degrees
    [both] , mirrored and turned by { $turn } degrees
   *[plain] {""}
 }{ $angle ->
    [yes] , seen at an angle
   *[no] {""}
 }{ $by ->
    [points] : { $points ->
        [one] 1 matching point
       *[other] { $points } matching points
     }
    [overlay] : the two look alike when one is laid over the other
   *[hash] {""}
 }.
reasons-part = { $percent }% of the map art is visible.
reasons-panel = Shows { $height ->
    [one] row { $row }
   *[other] rows { $row }
 }, { $width ->
    [one] column { $column }
   *[other] columns { $column }
 } of { $columns }x{ $rows } maps.
reasons-vector = Only the colours and the subject are similar.
