"""Reading what a member asks: pictures, links, words, dates; who may see what; quotas."""
