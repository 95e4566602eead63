# Why something was found.
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
        [one] one point agrees
       *[other] { $points } points agree
     }
    [overlay] : they agree when laid over each other
   *[hash] {""}
 }.
reasons-part = { $percent } % of it can be seen.
reasons-panel = Row { $row }, column { $column } of { $columns }x{ $rows } maps.
reasons-vector = Same colours and subject only.
