"""Names of Java frames: what the JVM and native libraries number anew in every process is taken out of them.

Without that, one lambda would be another function in every process. The patterns are those that Pyroscope applies
(github.com/grafana/jfr-parser, Apache-2.0, read for facts), so that its profiles and ours merge.
"""

from __future__ import annotations

import re
from functools import lru_cache

_RULES = tuple(
    (re.compile(pattern, re.ASCII), replacement)
    for pattern, replacement in (
        # jdk/internal/reflect/GeneratedMethodAccessor31
        (r"(jdk/internal/reflect/GeneratedMethodAccessor)\d+", r"\1_"),
        # Order$$Lambda$669.0x0000000800fd7318, Order$$Lambda.0x00007ffa600c4da0, Order$$Lambda$14/1234
        (r"(.+\$\$Lambda)(?:\$?\d*[./](?:0x)?[\da-f]+|\d+)", r"\1_"),
        # /tmp/libzstd-jni-1.5.1-16931311898282279136.so (deleted)
        (r"(?:\.?/tmp/)?libzstd-jni-\d+\.\d+\.\d+-\d+\.so(?: \(deleted\))?", "libzstd-jni-_.so"),
        # ./tmp/amazonCorrettoCryptoProviderNativeLibraries.7382c2f79097f415/libcrypto.so (deleted)
        (
            r"(?:\.?/tmp/)?(?:lib)?amazonCorrettoCryptoProvider(?:NativeLibraries\.)?[\da-f]{16}"
            r"(?:/libcrypto|/libamazonCorrettoCryptoProvider)?\.so(?: \(deleted\))?",
            "libamazonCorrettoCryptoProvider_.so",
        ),
        # The profiler inside one release of the Java agent; of other releases the checksum stays in the name.
        (
            r"(?:\.?/tmp/)?libasyncProfiler-(?:linux-arm64|linux-musl-x64|linux-x64|macos)"
            r"-17b9a1d8156277a98ccc871afa9a8f69215f92\.so(?: \(deleted\))?",
            "libasyncProfiler-_.so",
        ),
    )
)
_TELLING = ("Lambda", "GeneratedMethodAccessor", ".so")


@lru_cache(maxsize=65_536)
def stable_name(symbol: str) -> str:
    """The name of a class, a library or a method without what differs from process to process."""
    if not any(word in symbol for word in _TELLING):
        return symbol
    for pattern, replacement in _RULES:
        found = pattern.fullmatch(symbol)
        if found is not None:
            return found.expand(replacement)
    return symbol
