"""Tokens and passwords: what they open, how they are kept, and that they are never shown."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher

from flameduck.engine.services import access
from flameduck.engine.services.access import load_access, new_token
from flameduck.schema.errors import RequestError, SettingsError
from flameduck.schema.tenant import checked_tenant
from tests.running_server import RunningServer, free_port, running_server

PASSWORD = "correct horse battery"
NO_TENANTS = [
    *("", ".", "..", "a/b", "../a", "a\\b", "a b", "ä", "x" * 129, "a\n", "a\x00"),
    *("_head", "_HEAD", "server.json", ".server.json.12"),
]


def token_entry(name: str, token: str, tenants: str = '["acme"]', scopes: str = '["write"]') -> str:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f'[[tokens]]\nname = "{name}"\nsha256 = "{digest}"\ntenants = {tenants}\nscopes = {scopes}\n'


def user_entry(name: str, password: str, scopes: str = '["read"]') -> str:
    # Fewer rounds than in earnest.
    hashed = PasswordHasher(time_cost=1, memory_cost=1024).hash(password)
    return f'[[users]]\nname = "{name}"\nargon2 = "{hashed}"\ntenants = ["acme"]\nscopes = {scopes}\n'


def loaded(tmp_path: Path, text: str) -> access.Access:
    file = tmp_path / "access.toml"
    file.write_text(text)
    return load_access(str(file))


def test_a_token_opens_what_its_entry_says(tmp_path: Path) -> None:
    secret, digest = new_token()
    assert len(secret) >= 43
    assert digest == hashlib.sha256(secret.encode()).hexdigest()
    found = loaded(tmp_path, token_entry("agents", secret)).of_token(secret)
    assert found is not None
    assert found.may("write", "acme")
    assert not found.may("read", "acme")
    assert not found.may("write", "other")
    assert not found.any_tenant
    assert found.only_tenant == "acme"


@pytest.mark.parametrize("token", ["", "x", "SECRET", "secret ", "secr\udcffet", "a" * 100_000])
def test_another_token_opens_nothing(tmp_path: Path, token: str) -> None:
    assert loaded(tmp_path, token_entry("agents", "secret")).of_token(token) is None


def test_tokens_are_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry is compared, also behind the one that fits, and by `compare_digest` alone."""
    known = loaded(tmp_path, "".join(token_entry(f"t{number}", f"secret{number}") for number in range(5)))
    compared = []
    real = hmac.compare_digest

    def counted(left: bytes, right: bytes) -> bool:
        compared.append(len(left))
        return bool(real(left, right))

    monkeypatch.setattr(hmac, "compare_digest", counted)
    for token in ("secret0", "secret4", "wrong"):
        known.of_token(token)
    assert compared == [32] * 15


def test_a_password_opens_what_its_entry_says(tmp_path: Path) -> None:
    known = loaded(tmp_path, user_entry("grafana", PASSWORD))
    for _ in range(2):
        found = known.of_password("grafana", PASSWORD)
        assert found is not None
        assert found.may("read", "acme")
    for user, password in (("grafana", "wrong"), ("nobody", PASSWORD), ("", ""), ("grafana", "")):
        assert known.of_password(user, password) is None


def test_a_right_password_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = loaded(tmp_path, user_entry("grafana", PASSWORD))
    assert known.of_password("grafana", PASSWORD) is not None
    monkeypatch.setattr(known, "_hasher", None)
    assert known.of_password("grafana", PASSWORD) is not None
    assert PASSWORD not in repr(vars(known))


def test_an_unknown_user_takes_as_long_as_a_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = loaded(tmp_path, user_entry("grafana", PASSWORD))
    verified = []

    class Counting:
        def verify(self, hashed: str, password: str) -> bool:
            verified.append(hashed)
            return bool(PasswordHasher().verify(hashed, password))

    monkeypatch.setattr(known, "_hasher", Counting())
    assert known.of_password("nobody", "x") is None
    assert known.of_password("grafana", "x") is None
    assert len(verified) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[tokens]]", "tokens[0].name must be a text"),
        ('[[tokens]]\nname = "a:b"', "tokens[0].name must be a text"),
        ('[[tokens]]\nname = "a"', "tokens[0].tenants must be a list"),
        ('[[tokens]]\nname = "a"\ntenants = [".."]\nscopes = ["read"]', "tokens[0].tenants: tenant '..'"),
        ('[[tokens]]\nname = "a"\ntenants = ["_HEAD"]\nscopes = ["read"]', "another meaning"),
        (
            '[[tokens]]\nname = "a"\ntenants = ["x"]\nscopes = ["root"]',
            "tokens[0].scopes must be a list of write, read",
        ),
        (
            '[[tokens]]\nname = "a"\ntenants = ["x"]\nscopes = ["read"]\nsha256 = "s3cr3t"',
            "must be 64 hex digits",
        ),
        (
            '[[tokens]]\nname = "a"\ntenants = ["x"]\nscopes = ["read"]\ntoken = "s3cr3t"',
            "unknown field 'token'",
        ),
        (
            '[[users]]\nname = "a"\ntenants = ["x"]\nscopes = ["read"]\nargon2 = "s3cr3t"',
            "is not an argon2 hash",
        ),
        ("[[people]]", "unknown table 'people'"),
        ("tokens = 1", "tokens must be an array of tables"),
        ('a = "', "access.toml: "),
    ],
)
def test_a_bad_file_names_the_entry_and_no_secret(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text)
    assert reason in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NO_TENANTS)
def test_no_tenant_is_called_so(name: str) -> None:
    with pytest.raises(RequestError, match=r"^tenant "):
        checked_tenant(name)


@pytest.mark.parametrize("name", ["a", "anonymous", "_self", "A-b_c.d", "...", ".a", "x" * 128])
def test_a_tenant_may_be_called_so(name: str) -> None:
    assert checked_tenant(name) == name


def run_cli(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flameduck.cli", *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def test_the_command_makes_entries_that_work(tmp_path: Path) -> None:
    made = run_cli("access", "token", "agents", "--tenant", "acme", "--scope", "write", "--scope", "read")
    secret = made.stderr.strip().rpartition(" ")[2]
    assert secret not in made.stdout
    typed = run_cli("access", "password", "grafana", "--tenant", "acme", given=f"{PASSWORD}\n")
    assert PASSWORD not in typed.stdout + typed.stderr
    known = loaded(tmp_path, made.stdout + typed.stdout)
    by_token, by_password = known.of_token(secret), known.of_password("grafana", PASSWORD)
    assert by_token is not None
    assert by_token.scopes == {"write", "read"}
    assert by_password is not None
    assert by_password.scopes == {"read"}
    assert run_cli("access", "token", "x", "--tenant", "..").stderr.startswith(
        "flameduck: x.tenants: tenant '..'"
    )
    assert run_cli("access", "password", "x", given="\n").returncode == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    chain, private = folder / "chain.pem", folder / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=flameduck"
    command = [*words.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(chain), "-keyout", str(private)]
    subprocess.run(command, check=True, capture_output=True)
    return chain, private


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> Iterator[RunningServer]:
    """A server with TLS, a token and a user."""
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "access.toml"
    both = '["write", "read"]'
    file.write_text(
        token_entry("agents", "the-token", '["anonymous"]', both)
        + user_entry("grafana", PASSWORD, both).replace("acme", "anonymous")
    )
    chain, private = certificate
    words = ["--access-file", str(file), "--tls-certificate", str(chain), "--tls-key", str(private)]
    with running_server(
        folder / "store", *words, "--slow-ms", "0", certificate=str(chain), FLAMEDUCK_LOG_LEVEL="debug"
    ) as server:
        yield server


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_credentials_over_tls(guarded: RunningServer) -> None:
    for headers, status in (
        ({"Authorization": "Bearer the-token"}, 200),
        ({"Authorization": "bearer  the-token"}, 200),
        (basic("grafana", PASSWORD), 200),
        (basic("anything", "the-token"), 200),
        (basic("grafana", "wrong-password"), 401),
        ({"Authorization": "Bearer wrong-token"}, 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Digest x"}, 401),
        ({}, 401),
    ):
        assert guarded.http.get("/api/v1/profiles", headers=headers).status_code == status, headers


def test_without_tls_there_is_no_answer(guarded: RunningServer) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(guarded.url.replace("https", "http") + "/ready", timeout=10)
    with pytest.raises(httpx.ConnectError):
        httpx.get(guarded.url + "/ready", timeout=10, verify=ssl.create_default_context())


def test_the_command_line_with_a_token_over_tls(
    guarded: RunningServer, certificate: tuple[Path, Path]
) -> None:
    command = [sys.executable, "-m", "flameduck.cli", "types", "--store", guarded.url]
    environment = {**os.environ, "SSL_CERT_FILE": str(certificate[0])}
    for token, code in (("the-token", 0), ("another-token", 2)):
        done = subprocess.run(
            command,
            env={**environment, "FLAMEDUCK_TOKEN": token},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert token not in done.stdout + done.stderr


def test_no_secret_is_logged_or_answered(guarded: RunningServer) -> None:
    """The server logs every request here, since all are slow."""
    secrets = ("the-token", PASSWORD, "wrong-password", "wrong-token")
    shown = []
    for headers in ({"Authorization": "Bearer wrong-token"}, basic("grafana", "wrong-password")):
        reply = guarded.http.post("/api/v1/sql", json={"query": "x"}, headers=headers)
        shown += [reply.text, str(reply.headers)]
    reply = guarded.http.post("/api/v1/sql", json={"query": "SELEC"}, headers=basic("grafana", PASSWORD))
    shown += [reply.text, str(reply.headers)]
    reply = guarded.http.get(
        "/api/v1/profiles?token=the-token", headers={"Authorization": "Bearer the-token"}
    )
    assert reply.status_code == 200
    log = guarded.log.read_text()
    records = [json.loads(line) for line in log.splitlines()]
    slow = [record for record in records if record["message"] == "request was slow"]
    assert {"method", "route", "status", "seconds", "request_id", "time", "level"} <= slow[-1].keys()
    for secret in secrets:
        assert secret not in log
        assert not any(secret in text for text in shown)


def test_half_of_tls_is_refused(tmp_path: Path) -> None:
    words = ["serve", "--store", str(tmp_path / "s"), "--http-port", str(free_port()), "--otlp-port", "0"]
    done = run_cli(*words, "--tls-key", "x.pem")
    assert (done.returncode, done.stderr) == (2, "flameduck: tls_certificate and tls_key go together\n")
