"""Records posts: live posts, history, back-fills, high-water marks and removals."""
