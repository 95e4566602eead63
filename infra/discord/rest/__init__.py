"""Discord's REST API with the bot's token, from any process, within limits that all processes share."""
