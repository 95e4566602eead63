"""The stages, one file each. A stage is a plain function from a fact to the facts that follow from it."""
