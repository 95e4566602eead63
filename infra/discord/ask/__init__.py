"""What members ask with (pictures, links, words, dates), who may see what, and quotas."""
