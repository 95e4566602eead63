"""The language of MapSeek: facts, subjects, envelope, ports, errors, Stage. No IO, and no import of another first-party package."""
