"""Fetches Apache Kafka's jars to this machine, once, and verifies their checksums.

The jars are in one folder per Kafka version in the user's cache. A folder under its final name is complete:
it is filled under another name, every file's SHA-256 is compared with ``kafka/jars.sha256``, and only then is
it renamed. The next run uses what an interrupted one has fetched. Every start compares the checksums again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from freshet.workers.errors import JarsUnavailable
from freshet.workers.terminal.terminal import Terminal

KAFKA_RESOURCES = Path(__file__).parent
"""The Maven project, the jars' checksums and the broker's log configuration."""

MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"

_CHUNK_BYTES = 1 << 16
_MAVEN_TIMEOUT_S = 900.0
_HTTP_TIMEOUT_S = 15.0
_HTTP_ATTEMPTS = 3
_AT_ONCE = 8
"""Parallel downloads: most jars are small, so that connecting takes longer than fetching."""
_PARTIAL_CONTENT = 206


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar, as Maven repositories name it."""

    path: str
    """Path relative to a repository's root."""
    sha256: str
    """Checksum in hexadecimal."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


@cache
def pinned_jars() -> tuple[Jar, ...]:
    """Read the list of the local broker's jars, from ``kafka/jars.sha256``."""
    lines = (KAFKA_RESOURCES / "jars.sha256").read_text(encoding="ascii").splitlines()
    return tuple(Jar(path, sha256) for sha256, _, path in (line.partition("  ") for line in lines))


@cache
def kafka_version() -> str:
    """The pinned Apache Kafka version."""
    (core,) = (jar for jar in pinned_jars() if jar.path.startswith("org/apache/kafka/kafka_2.13/"))
    return core.path.split("/")[-2]


def default_cache_dir() -> Path:
    """Folder ``$XDG_CACHE_HOME/freshet``, by default ``~/.cache/freshet``."""
    cache_home = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache_home) if cache_home else Path.home() / ".cache") / "freshet"


def jars_dir(cache_dir: Path | None = None) -> Path:
    """Folder for the jars of the pinned version."""
    return (cache_dir or default_cache_dir()) / f"kafka-{kafka_version()}"


def unusable_jars(folder: Path, jars: Sequence[Jar] | None = None) -> list[Jar]:
    """Find the jars that are missing from a folder or differ from their checksums."""
    return [jar for jar in jars or pinned_jars() if not _matches(folder / jar.name, jar)]


def ensure_jars(
    cache_dir: Path | None = None,
    *,
    jars: Sequence[Jar] | None = None,
    maven: str | None = "mvn",
    repository: str = MAVEN_CENTRAL,
) -> Path:
    """Fetch the pinned jars that are missing, by HTTPS or else by Maven, and return their folder.

    Args:
        cache_dir: Folder with one folder per Kafka version; by default the user's cache.
        jars: Jars to fetch; by default the pinned ones.
        maven: Program for jars that HTTPS did not fetch, which knows its user's mirror; ``None``: none.
        repository: Root address of a Maven repository.

    Raises:
        JarsUnavailable: Neither way worked; the text says why, and the ways out.
    """
    wanted = pinned_jars() if jars is None else jars
    folder = jars_dir(cache_dir)
    if not unusable_jars(folder, wanted):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder.with_name(folder.name + ".lock")):
            if unusable_jars(folder, wanted):
                _fill(folder, wanted, maven, repository)
    except OSError as error:
        raise JarsUnavailable(
            f"Kafka's jars cannot be kept in {folder.parent}: {error}.\n"
            "Set XDG_CACHE_HOME to a folder that can be written, or use another Kafka: --bootstrap-servers."
        ) from error
    return folder


def _fill(folder: Path, wanted: Sequence[Jar], maven: str | None, repository: str) -> None:
    partial = folder.with_name(folder.name + ".partial")
    if folder.exists():
        shutil.rmtree(partial, ignore_errors=True)
        folder.rename(partial)
    partial.mkdir(exist_ok=True)
    console = Terminal(stderr=True)
    failures: list[str] = []
    missing = _without_damaged(partial, wanted)
    if missing:
        failures += _fetch_by_https(missing, partial, repository, console)
        missing = _without_damaged(partial, missing)
    program = shutil.which(maven) if missing and maven is not None else None
    if program is not None:
        console.print(f"   {failures[-1]}\n   Maven fetches the rest ...", soft_wrap=True, markup=False)
        failures += _fetch_by_maven(program, partial)
        missing = _without_damaged(partial, missing)
    elif maven is not None:
        failures.append("Maven: not installed.")
    if missing:
        raise JarsUnavailable(
            f"{len(missing)} of {len(wanted)} jars of Apache Kafka {kafka_version()} could not be fetched "
            f"(first: {missing[0].name}).\n  " + "\n  ".join(failures) + "\n"
            "What was fetched is kept, and the next try goes on from there. Ways out: check the network or "
            "proxy (https_proxy) and try again; install Maven and configure your mirror in its settings.xml; "
            "use another Kafka with --bootstrap-servers; or run one in a container."
        )
    partial.rename(folder)


def _fetch_by_maven(program: str, partial: Path) -> list[str]:
    """Let Maven copy the dependency tree; return what went wrong, in words."""
    command = [program, "--batch-mode", "--quiet", "--file", str(KAFKA_RESOURCES / "pom.xml")]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial.resolve()}"]
    command += ["-DincludeScope=runtime"]
    try:
        run = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_MAVEN_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"Maven ({program}): {error}"]
    if run.returncode == 0:
        return []
    complaints = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("[ERROR]")]
    return [
        f"Maven ({program}) exited with {run.returncode}: {complaints[0] if complaints else 'no message'}"
    ]


def _fetch_by_https(missing: Sequence[Jar], partial: Path, repository: str, console: Terminal) -> list[str]:
    """Download jars, several at once, until the first failure; return what went wrong, in words."""
    what = f"Apache Kafka {kafka_version()}: fetching {len(missing)} jars"
    if not console.is_terminal:
        console.print(f"{what} ...")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        bar = progress.add_task(what, total=len(missing))
        addresses = {jar: f"{repository.rstrip('/')}/{jar.path}" for jar in missing}
        fetched = {pool.submit(_download, addresses[jar], partial, jar): jar for jar in missing}
        try:
            for one in as_completed(fetched):
                one.result()
                progress.advance(bar)
        except (OSError, ValueError) as error:
            return [f"{addresses[fetched[one]]}: {error}"]
        finally:
            pool.shutdown(cancel_futures=True)
    return []


def _download(address: str, partial: Path, jar: Jar) -> None:
    """Fetch one jar, from where an earlier attempt has stopped.

    Raises:
        OSError: The repository did not deliver.
        ValueError: The file delivered is not the pinned jar.
    """
    unfinished = partial / f"{jar.name}.part"
    for attempt in range(1, _HTTP_ATTEMPTS + 1):
        try:
            _append(address, unfinished)
        except urllib.error.HTTPError as error:
            # 416 and the like: what is on disk cannot be continued.
            unfinished.unlink(missing_ok=True)
            error.close()
            if attempt == _HTTP_ATTEMPTS:
                raise
            continue
        except OSError:
            if attempt == _HTTP_ATTEMPTS:
                raise
            continue
        if _matches(unfinished, jar):
            unfinished.rename(partial / jar.name)
            return
        unfinished.unlink()
    raise ValueError(f"its SHA-256 is not the pinned {jar.sha256}")


def _append(address: str, unfinished: Path) -> None:
    """Append the rest of an address's content to a file, or all of it where the server cannot continue."""
    have = unfinished.stat().st_size if unfinished.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_HTTP_TIMEOUT_S) as response:
        if response.status != _PARTIAL_CONTENT:
            have = 0
        length = response.headers.get("Content-Length")
        with unfinished.open("ab" if have else "wb") as file:
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
    if length and unfinished.stat().st_size != have + int(length):
        raise OSError(f"the connection ended after {unfinished.stat().st_size} of {have + int(length)} bytes")


def _without_damaged(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    """Return the jars still wanted, after deleting damaged files under their names."""
    unusable = unusable_jars(folder, jars)
    for jar in unusable:
        (folder / jar.name).unlink(missing_ok=True)
    return unusable


def _matches(file: Path, jar: Jar) -> bool:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold a lock file, so that two processes never fill one folder; waits for the other."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
