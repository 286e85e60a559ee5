"""The server's own profile: where its threads are, looked at many times a second, as profiles of tenant `_self`.

Wall-clock stacks of every thread of the main process, counted and pushed like any other profile.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from types import FrameType

from ...schema.errors import FlameduckError
from ...schema.profile import Upload
from .ingester import Ingester

TENANT = "_self"
SERVICE = "flameduck"

_RATE_HZ = 50
_PUSH_S = 15
_DEEPEST = 200

log = logging.getLogger(__name__)


class SelfProfiler:
    """A thread that samples the others."""

    def __init__(self, ingester: Ingester, push_s: float = _PUSH_S) -> None:
        self._ingester = ingester
        self._push_s = push_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="self-profile", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was sampled since the last push is pushed."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._push(*self._sample())

    def _sample(self) -> tuple[int, Counter[str]]:
        """When a round began, in nanoseconds, and how often each stack was seen in it."""
        begun_ns, give_up = time.time_ns(), time.monotonic() + self._push_s
        stacks: Counter[str] = Counter()
        own = threading.get_ident()
        while time.monotonic() < give_up and not self._stopped.wait(1 / _RATE_HZ):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    stacks[_folded(names.get(ident, "thread"), frame)] += 1
        return begun_ns, stacks

    def _push(self, begun_ns: int, stacks: Counter[str]) -> None:
        if not stacks:
            return
        text = "".join(f"{stack} {count}\n" for stack, count in stacks.items())
        upload = Upload(
            text.encode(),
            {"service_name": SERVICE, "__name__": "wall"},
            "self-profile",
            begun_ns,
            input_format="folded",
            sample_rate_hz=_RATE_HZ,
        )
        try:
            for refused in self._ingester.push(TENANT, [upload]).result():
                log.warning("the own profile was refused: %s", refused.reason)
        except FlameduckError as error:
            log.warning("the own profile was not stored: %s", error)


def _folded(thread: str, frame: FrameType | None) -> str:
    """A stack from its root to its leaf, as folded text has it."""
    names: list[str] = []
    while frame is not None and len(names) < _DEEPEST:
        code = frame.f_code
        names.append(
            f"{frame.f_globals.get('__name__', '')}.{code.co_qualname}".replace(";", ":").replace(" ", "_")
        )
        frame = frame.f_back
    return ";".join([thread.replace(";", ":").replace(" ", "_"), *reversed(names)])
