"""Discord: what members post and ask becomes facts, and answers become messages. The only package that knows disnake."""
