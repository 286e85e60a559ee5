"""Who may do what: bearer tokens and passwords from a file, hashed, mapped to tenants and scopes.

    [[tokens]]
    name = "agents"
    sha256 = "…"                 # of the token, hex: tokens are long and random, so a fast hash will do
    tenants = ["acme"]           # ["*"]: any
    scopes = ["write"]           # write, read, admin

    [[users]]
    name = "grafana"
    argon2 = "$argon2id$…"       # of the password
    tenants = ["acme"]
    scopes = ["read"]

The door to argon2.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import tomllib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ...schema.errors import RequestError, SettingsError
from ...schema.tenant import checked_tenant

SCOPES = ("write", "read", "admin")
ANY_TENANT = "*"

_CACHED = 10_000


@dataclass(frozen=True)
class Grant:
    """What one credential allows."""

    name: str
    tenants: frozenset[str]
    scopes: frozenset[str]

    def may(self, scope: str, tenant: str) -> bool:
        """Whether it allows `scope` on a tenant's data."""
        return scope in self.scopes and (self.any_tenant or tenant in self.tenants)

    @property
    def any_tenant(self) -> bool:
        """Whether it is about all tenants."""
        return ANY_TENANT in self.tenants

    @property
    def only_tenant(self) -> str:
        """The one tenant it is about; empty where there are several."""
        return next(iter(self.tenants)) if len(self.tenants) == 1 and not self.any_tenant else ""


class Access:
    """The credentials of a file. Safe for several threads."""

    def __init__(self, tokens: Mapping[bytes, Grant], users: Mapping[str, tuple[str, Grant]]) -> None:
        self._tokens = tokens
        self._users = users
        self._hasher = PasswordHasher()
        # A password that was right is remembered by a digest that is worth nothing outside of this process.
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._lock = Lock()
        self._nobody = self._hasher.hash(secrets.token_hex())

    def of_token(self, token: str) -> Grant | None:
        """What a bearer token allows; None for one that is not known. Takes the same time for any."""
        # What a header holds that is not text becomes a token that nobody has.
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = None
        for known, grant in self._tokens.items():
            if hmac.compare_digest(known, digest):
                found = grant
        return found

    def of_password(self, user: str, password: str) -> Grant | None:
        """What a user may with a password; None for a wrong one. Takes 0.1 s when it is new: not for an event loop."""
        hashed, grant = self._users.get(user, (self._nobody, None))
        digest = hmac.digest(self._key, f"{user}\0{password}".encode(), "sha256")
        with self._lock:
            if self._known.get(digest) == hashed:
                self._known.move_to_end(digest)
                return grant
        try:
            self._hasher.verify(hashed, password)
            if grant is None:
                return None
        except (VerificationError, InvalidHashError):
            return None
        with self._lock:
            self._known[digest] = hashed
            while len(self._known) > _CACHED:
                self._known.popitem(last=False)
        return grant


def load_access(path: str) -> Access:
    """The credentials in a file. Raises `SettingsError` that names the entry and what is wrong, never a secret."""
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    tokens: dict[bytes, Grant] = {}
    users: dict[str, tuple[str, Grant]] = {}
    for number, entry in enumerate(_entries(document, "tokens", path)):
        grant = checked_grant(entry, f"{path}: tokens[{number}]", "sha256")
        tokens[_digest(entry.get("sha256"), f"{path}: tokens[{number}].sha256")] = grant
    for number, entry in enumerate(_entries(document, "users", path)):
        grant = checked_grant(entry, f"{path}: users[{number}]", "argon2")
        hashed = entry.get("argon2")
        if not isinstance(hashed, str) or not hashed.startswith("$argon2"):
            raise SettingsError(f"{path}: users[{number}].argon2 is not an argon2 hash")
        if grant.name in users:
            raise SettingsError(f"{path}: users[{number}].name: {grant.name!r} is there twice")
        users[grant.name] = hashed, grant
    return Access(tokens, users)


def new_token() -> tuple[str, str]:
    """A token, and its hash for the file."""
    token = secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()


def hash_password(password: str) -> str:
    """The hash of a password for the file."""
    return PasswordHasher().hash(password)


def checked_grant(entry: Mapping[str, Any], where: str, secret: str = "") -> Grant:
    """What an entry allows; `secret` is the field of its hash. Raises `SettingsError` that names the field."""
    unknown = entry.keys() - {"name", "tenants", "scopes", secret}
    if secret and unknown:
        raise SettingsError(f"{where}: unknown field {min(unknown)!r}")
    name, tenants, scopes = entry.get("name"), entry.get("tenants"), entry.get("scopes")
    if not isinstance(name, str) or not name or not name.isprintable() or ":" in name:
        raise SettingsError(f"{where}.name must be a text without colons and control characters")
    if not isinstance(tenants, list) or not tenants:
        raise SettingsError(f"{where}.tenants must be a list of names, or of '*'")
    if not isinstance(scopes, list) or not scopes or not set(scopes) <= set(SCOPES):
        raise SettingsError(f"{where}.scopes must be a list of {', '.join(SCOPES)}")
    for tenant in tenants:
        try:
            if tenant != ANY_TENANT:
                checked_tenant(str(tenant))
        except RequestError as error:
            raise SettingsError(f"{where}.tenants: {error}") from None
    return Grant(name, frozenset(map(str, tenants)), frozenset(scopes))


def _entries(document: Mapping[str, Any], kind: str, path: str) -> Sequence[Mapping[str, Any]]:
    unknown = document.keys() - {"tokens", "users"}
    if unknown:
        raise SettingsError(f"{path}: unknown table {min(unknown)!r}; expected tokens and users")
    found = document.get(kind, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SettingsError(f"{path}: {kind} must be an array of tables")
    return found


def _digest(text: object, where: str) -> bytes:
    try:
        digest = bytes.fromhex(str(text))
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise SettingsError(f"{where} must be 64 hex digits")
    return digest
