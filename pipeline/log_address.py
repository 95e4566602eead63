"""Where the log is and how to log in there, by the settings; and the sentences about settings that cannot be used together."""

import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from contracts.errors import MapSeekError
from infra.nats.connection import LogAddress, parse_public_key, redact_password, split_log_url
from infra.nats.server import read_announced_address
from pipeline.settings import Settings, get_data_folder

_PROOF_SETTINGS = ("nats_password", "nats_nkey", "nats_creds")
_TLS_SETTINGS = ("nats_tls_ca", "nats_tls_cert", "nats_tls_key")
_LOGIN_SETTINGS = ("nats_user", *_PROOF_SETTINGS, *_TLS_SETTINGS)
_CREDS = re.compile(rb"BEGIN NATS USER JWT-*\s+\S+\s.*BEGIN USER NKEY SEED-*\s+(\S+)", re.DOTALL)
"""A .creds file. The group is the seed of the user's NKey."""


def find_log_address(settings: Settings) -> LogAddress | None:
    """Return the address of the log server of the settings, else of the one that runs on the data folder, None if none does.

    Raises MapSeekError if the settings of the login contradict each other, lack something, or name a file that cannot be used.
    """
    if settings.nats_url:
        return _build_log_address(settings, settings.nats_url)
    given = [name for name in _LOGIN_SETTINGS if getattr(settings, name) is not None]
    if given:
        raise MapSeekError(
            f"{_list_settings(given)} {'is' if len(given) == 1 else 'are'} set, but NATS_URL is not: set both or none."
        )
    return read_announced_address(get_data_folder(settings) / "nats")


def _list_settings(names: Sequence[str]) -> str:
    return " and ".join(f"MAPSEEK_{name.upper()}" for name in names)


def _build_log_address(settings: Settings, url: str) -> LogAddress:
    try:
        split_log_url(url)
    except ValueError:
        raise MapSeekError(f"NATS_URL is {redact_password(url)}, which is no address: it is like nats://localhost:4222.") from None
    proofs = [name for name in _PROOF_SETTINGS if getattr(settings, name) is not None]
    if len(proofs) > 1:
        raise MapSeekError(f"{_list_settings(proofs)} are set, but a user has one of them: unset the others.")
    if (proofs == ["nats_password"]) and settings.nats_user is None:
        raise MapSeekError("MAPSEEK_NATS_PASSWORD is set, but MAPSEEK_NATS_USER is not: set both or none.")
    if settings.nats_user is not None and not proofs:
        raise MapSeekError(
            "MAPSEEK_NATS_USER is set, but nothing proves it: set MAPSEEK_NATS_PASSWORD, MAPSEEK_NATS_NKEY or MAPSEEK_NATS_CREDS."
        )
    if "@" in url and proofs:
        raise MapSeekError(f"NATS_URL has a user, and {_list_settings(proofs)} is set too: choose one of them.")
    for name in ("nats_nkey", "nats_creds", *_TLS_SETTINGS):
        if (file := getattr(settings, name)) is not None:
            _refuse_unreadable(name, file)
    password = settings.nats_password.get_secret_value() if settings.nats_password is not None else None
    return LogAddress(url, settings.nats_user, password, settings.nats_nkey, settings.nats_creds, _build_tls(settings))


def _refuse_unreadable(name: str, file: Path) -> None:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise MapSeekError(f"MAPSEEK_{name.upper()} names {file}, which cannot be read ({error.strerror}): correct it.") from None
    if name == "nats_nkey" and parse_public_key(content) is None:
        raise MapSeekError(
            f"MAPSEEK_NATS_NKEY names {file}, which holds no seed of a user's NKey: it is one line that begins with SU."
        )
    if name == "nats_creds" and ((found := _CREDS.search(content)) is None or parse_public_key(found[1]) is None):
        raise MapSeekError(f"MAPSEEK_NATS_CREDS names {file}, which is no .creds file: `nsc generate creds` writes one.")


def _build_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context that the settings ask for, None for the system's certificates. Raises MapSeekError."""
    certificate, key = settings.nats_tls_cert, settings.nats_tls_key
    if (certificate is None) != (key is None):
        raise MapSeekError("Of MAPSEEK_NATS_TLS_CERT and MAPSEEK_NATS_TLS_KEY only one is set: set both or none.")
    if settings.nats_tls_ca is None and certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.nats_tls_ca)
    except (OSError, ValueError):
        raise MapSeekError(f"MAPSEEK_NATS_TLS_CA names {settings.nats_tls_ca}, which holds no certificate: correct it.") from None
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError):
            raise MapSeekError(
                f"MAPSEEK_NATS_TLS_CERT and MAPSEEK_NATS_TLS_KEY name {certificate} and {key}, which are no certificate and its "
                "unencrypted key: correct them."
            ) from None
    return context
