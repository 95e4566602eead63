"""The work: one file a stage, each a plain function from a fact to facts."""
