"""Pictures inside HTML pages that refer to nothing outside themselves."""

import base64


def data_uri(data: bytes, kind: str) -> str:
    """What stands for a picture's address; `kind` is png, jpeg or webp."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
