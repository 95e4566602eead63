"""What disnake loads: the commands and listeners of the bot, and nothing else."""
