"""Fetch an engine's jars with Maven and compile our launcher, once, into the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from es_rerank.engine.cache import cache_folder, locked
from es_rerank.engine.java import Java
from es_rerank.engine.kinds import Kind
from es_rerank.errors import EngineError

HERE = Path(__file__).parent
COMPILER_VERSION = "3.44.0"
TAIL_LINES = 15
FETCH_TIMEOUT_S = 1800

Report = Callable[[str], None]


def fetch_jars(kind: Kind, java: Java, report: Report) -> Path:
    """The folder of the engine's jars, fetched with Maven where the cache has it not yet."""
    return _fetch(kind.name, kind.version, f"{kind.title} {kind.version}", java, report)


def compile_launcher(kind: Kind, java: Java, jars: Path, report: Report) -> Path:
    """The folder of our launcher's classes, compiled against `jars` where not in the cache yet.

    The compiler is Eclipse's, itself a jar, so that a bare runtime is enough.
    """
    sources = [
        source
        for folder in ("shared", kind.name)
        for source in sorted((HERE / "java" / folder).rglob("*.java"))
    ]
    digest = _digest(*sources)
    classes = cache_folder() / "classes" / f"{kind.name}-{kind.version}-{digest}"
    if classes.is_dir():
        return classes
    compiler = _fetch("compiler", COMPILER_VERSION, "the Java compiler", java, report)
    with locked(classes.parent):
        if classes.is_dir():
            return classes
        with _replacing(classes) as half:
            class_path = os.pathsep.join(str(jar) for jar in sorted(jars.glob("*.jar")))
            release = str(kind.java_minimum)
            done = subprocess.run(
                [
                    str(java.executable),
                    *("-cp", str(next(compiler.glob("ecj-*.jar")))),
                    "org.eclipse.jdt.internal.compiler.batch.Main",
                    *("-source", release, "-target", release, "-nowarn", "-proc:none"),
                    *("-cp", class_path, "-d", str(half)),
                    *map(str, sources),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise EngineError(
                    f"The launcher of {kind.title} did not compile with {java.executable}:\n"
                    + _tail(done.stdout + done.stderr)
                )
    return classes


def _fetch(name: str, version: str, title: str, java: Java, report: Report) -> Path:
    pom = HERE / "maven" / f"{name}.xml"
    jars = cache_folder() / "jars" / f"{name}-{version}-{_digest(pom)}"
    if jars.is_dir():  # it is renamed into place, so it is whole
        return jars
    with locked(jars.parent):
        if jars.is_dir():
            return jars
        mvn = shutil.which("mvn")
        if mvn is None:
            raise EngineError(
                f"{title} is fetched with Maven, and no 'mvn' was found on the PATH. Install it"
                " (Debian and Ubuntu: apt-get install maven; macOS: brew install maven)."
            )
        report(f"Fetching {title} with Maven, once, into {jars} ...")
        with _replacing(jars) as half:
            _run_maven(mvn, pom, half, title, java)
            _unpack_plugins(half)
    return jars


def _run_maven(mvn: str, pom: Path, target: Path, title: str, java: Java) -> None:
    environment = dict(os.environ)
    if "JAVA_HOME" not in environment and shutil.which("java") is None:
        environment["JAVA_HOME"] = str(java.home)
    with tempfile.TemporaryDirectory(prefix="es-rerank-maven-") as folder:
        copy = Path(folder) / "pom.xml"
        shutil.copyfile(pom, copy)  # Maven may write beside the file, and ours may be read-only
        command = [mvn, "-B", "-q", "-f", str(copy), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                timeout=FETCH_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            minutes = FETCH_TIMEOUT_S // 60
            raise EngineError(
                f"Maven did not fetch {title} within {minutes} minutes. Is there a network"
                " connection? Behind a proxy or mirror, name it in ~/.m2/settings.xml."
            ) from None
    if done.returncode != 0 or not any(target.glob("*.jar")):
        raise EngineError(
            f"Maven could not fetch {title}. Is there a network connection? Behind a proxy or"
            f" mirror, name it in ~/.m2/settings.xml. Maven's last words:\n{_tail(done.stdout)}"
        )


def _unpack_plugins(folder: Path) -> None:
    """Replace each plugin's zip by the jars inside it, where the engine does not bring them."""
    for bundle in folder.glob("*.zip"):
        with zipfile.ZipFile(bundle) as archive:
            for member in archive.namelist():
                if member.endswith(".jar") and not (folder / Path(member).name).exists():
                    (folder / Path(member).name).write_bytes(archive.read(member))
        bundle.unlink()


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Fill a folder beside `target`, and rename it to `target` only when that has succeeded.

    The caller holds the lock, so a half-filled folder found here is one that a dead process left.
    """
    for abandoned in target.parent.glob(".half-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    half = Path(tempfile.mkdtemp(prefix=".half-", dir=target.parent))
    try:
        yield half
        half.chmod(0o755)
        half.rename(target)
    finally:
        shutil.rmtree(half, ignore_errors=True)
