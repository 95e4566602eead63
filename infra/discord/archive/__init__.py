"""Recording what is posted: live posts, history, back-fills, marks and removals."""
