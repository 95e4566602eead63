"""Errors as Discord words them: an HTTP status, a JSON error code and, for a refused form, where it is wrong."""

from collections.abc import Sequence
from typing import Any

JSON = dict[str, Any]
"""A payload as Discord sends or takes it."""


class ApiError(Exception):
    """A request that Discord refuses. `body` is the JSON it answers with."""

    def __init__(self, status: int, code: int, message: str, *, errors: JSON | None = None) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.body: JSON = {"message": message, "code": code}
        if errors is not None:
            self.body["errors"] = errors


def unauthorized() -> ApiError:
    """No token, or not the bot's."""
    return ApiError(401, 0, "401: Unauthorized")


def unknown(what: str) -> ApiError:
    """Something that is not, or is no longer, there: `unknown("Message")`."""
    codes = {
        "Application": 10002,
        "Channel": 10003,
        "Member": 10007,
        "Message": 10008,
        "User": 10013,
        "Emoji": 10014,
        "Webhook": 10015,
        "Interaction": 10062,
    }
    return ApiError(404, codes[what], f"Unknown {what}")


def missing_access() -> ApiError:
    """The bot may not see what it asks for."""
    return ApiError(403, 50001, "Missing Access")


def invalid_form(path: Sequence[str | int], code: str, message: str) -> ApiError:
    """One field of a body that breaks a rule: `invalid_form(["embeds", 0, "title"], "BASE_TYPE_MAX_LENGTH", ...)`."""
    errors: JSON = {"_errors": [{"code": code, "message": message}]}
    for key in reversed(path):
        errors = {str(key): errors}
    return ApiError(400, 50035, "Invalid Form Body", errors=errors)
