"""All settings with their defaults and meanings. They come from the environment (`MAPSEEK_*`) or from a `.env` file."""

import os
import stat
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts.errors import MapSeekError

PRIVATE_UMASK = 0o077
"""The rights of other users, which no file and no folder of an archive has: folders are 0700, files 0600."""

WordSet = Annotated[frozenset[str], NoDecode]


def _with_alias(name: str) -> AliasChoices:
    """Accept a setting that other tools use without our prefix under both names."""
    return AliasChoices(f"MAPSEEK_{name}", name)


class Settings(BaseSettings):
    """The configuration of one process."""

    model_config = SettingsConfigDict(
        env_prefix="MAPSEEK_", env_file=".env", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(default_factory=lambda: user_data_path("mapseek"), description="Folder of the log, blobs and catalogue.")

    nats_url: str | None = Field(
        None, validation_alias=_with_alias("NATS_URL"), description="A NATS server; default: the embedded one."
    )
    nats_user: str | None = Field(None, description="The user at that server: with Compose, the role of the process.")
    nats_password: SecretStr | None = Field(None, description="The user's password.")
    nats_nkey: Path | None = Field(None, description="A file with the seed of the user's NKey, instead of a password.")
    nats_creds: Path | None = Field(None, description="The user's .creds file, instead of a password.")
    nats_tls_ca: Path | None = Field(
        None, description="A file with the certificates that vouch for the server's; default: the system's."
    )
    nats_tls_cert: Path | None = Field(None, description="A file with our own certificate, if the server asks for one.")
    nats_tls_key: Path | None = Field(None, description="A file with the key of that certificate.")
    nats_port: int = Field(0, ge=0, le=65535, description="Port of the embedded NATS server; 0 takes a free one.")

    discord_token: SecretStr | None = Field(None, validation_alias=_with_alias("DISCORD_TOKEN"), description="The bot's token.")
    discord_api: str | None = Field(None, description="Another Discord REST endpoint (the simulator's).")
    channels: WordSet = Field(
        frozenset(),
        description="Channels archived besides watched ones: channel or category ids, separated by commas, or `all`.",
    )
    cdn_origins: WordSet = Field(frozenset(), description="Origins trusted for downloads besides Discord's (the simulator's).")
    max_file_bytes: int = Field(25 * 1024 * 1024, gt=0, description="Larger images are rejected.")
    max_pixels: int = Field(50_000_000, gt=0, description="Images with more pixels are rejected.")
    max_cpu_s: int = Field(15, ge=1, le=3600, description="Images that take more seconds of CPU time to read are rejected.")

    model: str = Field("mapseek-small", description="An open_clip model name. An existing archive keeps its model.")
    pretrained: str | None = Field(
        None,
        description="A pretrained tag of that model, or a checkpoint file. Default: the weights that ship with it, or random ones.",
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field("auto", description="Where the model runs.")
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field("auto", description="The model's number format; auto: by device.")
    batch_size: int = Field(16, ge=1, le=1024, description="The largest number of images in one model batch.")
    batch_wait_ms: float = Field(5, ge=0, description="How long a batch waits for more images.")

    catalogue: Literal["sqlite", "mongodb"] = Field("sqlite", description="Where documents are stored.")
    vectors: Literal["embedded", "atlas"] = Field("embedded", description="Where vectors are searched; atlas needs mongodb.")
    mongodb_uri: SecretStr | None = Field(None, validation_alias=_with_alias("MONGODB_URI"), description="The MongoDB server.")
    mongodb_database: str = Field("mapseek", description="The MongoDB database.")

    workers: int = Field(8, ge=1, le=256, description="Messages that a stage processes at once in the archive lane.")
    search_workers: int = Field(4, ge=1, le=256, description="Messages that a stage processes at once in the search lane.")

    http_host: str = Field("127.0.0.1", description="Where /metrics, /healthz and /readyz listen.")
    http_port: int = Field(9477, ge=0, le=65535, description="Their port; 0 takes a free one.")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, JSON otherwise.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The lowest level that is logged.")

    @field_validator("channels", "cdn_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return frozenset(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("channels")
    @classmethod
    def _known_channels(cls, value: frozenset[str]) -> frozenset[str]:
        wrong = sorted(word for word in value if word != "all" and not word.isdigit())
        if wrong:
            raise ValueError(f"{wrong[0]!r} is neither a channel id nor `all`")
        return value


def load_settings(**overrides: object) -> Settings:
    """Read the settings. Raises MapSeekError with one sentence about the first wrong setting."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]).upper().removeprefix("MAPSEEK_")
        raise MapSeekError(f"The setting MAPSEEK_{name} is wrong: {first['msg'].removeprefix('Value error, ')}.") from None


def require_token(settings: Settings) -> str:
    """Return the bot's token. Raises MapSeekError if it is not set."""
    token = settings.discord_token.get_secret_value().strip() if settings.discord_token else ""
    if not token:
        raise MapSeekError("DISCORD_TOKEN is not set: copy the bot's token from the Discord developer portal (Bot page) into it.")
    return token


def get_data_folder(settings: Settings) -> Path:
    """Return the absolute path of the data folder, which need not exist."""
    return settings.data_dir.expanduser().absolute()


def ensure_data_folder(settings: Settings) -> Path:
    """Return the data folder, created if it is missing, and private to its owner with everything in it.

    From then on, every file that this process and its children make is private, also elsewhere. Raises MapSeekError if the folder
    cannot be written, or cannot be made private.
    """
    os.umask(PRIVATE_UMASK)
    folder = get_data_folder(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _is_open_to_others(folder):
            _close_to_others(folder)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MapSeekError(
            f"The data folder {folder} cannot be written ({error.strerror}): correct its permissions or set MAPSEEK_DATA_DIR."
        ) from None
    return folder


def _is_open_to_others(folder: Path) -> bool:
    """Tell whether other users have a right on the folder or on something directly in it, as an earlier version left them."""
    return any(_has_rights_of_others(path) for path in (folder.resolve(), *folder.iterdir()))


def _has_rights_of_others(path: Path) -> bool:
    """Tell whether other users have a right on a file or a folder. A symlink has no rights of its own, and vanished files none."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISLNK(mode) and bool(mode & PRIVATE_UMASK)


def _close_to_others(folder: Path) -> None:
    """Take the rights of other users from a folder and everything below it.

    What is deep down comes first, so that a walk that is interrupted is made again at the next start. Symlinks are not followed.
    Raises MapSeekError if that is not possible, or if the folder is one that all users share, such as /tmp.
    """
    if folder.stat().st_mode & stat.S_ISVTX:
        raise MapSeekError(f"The data folder {folder} is shared by all users: set MAPSEEK_DATA_DIR to a folder of MapSeek's own.")
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            _take_rights_of_others(Path(parent, name))
    _take_rights_of_others(folder.resolve())


def _take_rights_of_others(path: Path) -> None:
    if not _has_rights_of_others(path):
        return
    reason: str | None = "its file system keeps no permissions"
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~PRIVATE_UMASK)
    except FileNotFoundError:
        return
    except OSError as error:
        reason = error.strerror
    if _has_rights_of_others(path):
        raise MapSeekError(
            f"{path} cannot be made private ({reason}): give it to the user that runs MapSeek, or set MAPSEEK_DATA_DIR."
        )
