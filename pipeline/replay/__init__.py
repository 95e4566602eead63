"""The past once more: a generation is built from it, or a stage goes through a part of it again."""
