"""Spoil inputs of one format, read each alone, and hold the reader to what it promises.

`python -m tests.fuzz.readers folded 0 100` reads mutants 0 to 99; the number tells the mutant. Prints one line of
JSON. A mutant may be read or refused; it may not raise, hang, or be refused without a reason of one line.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from random import Random

from flameduck.engine.formats.inflate import inflate
from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.schema.profile import RULES, Upload
from tests.engine.formats.examples import EXAMPLES, Example
from tests.fuzz.mutations import MUTATIONS, mutant

LIMITS = DecodeLimits(max_inflated_bytes=32 << 20)
LONGEST_BYTES = 200_000
"""Longer recordings are passed over: spoiling them again and again would take most of the time."""
START_NS = 1_700_000_000_000_000_000


def load_corpus(example: Example) -> list[bytes]:
    """Good inputs, inflated and none too long."""
    raws = [inflate(raw, LIMITS.max_inflated_bytes) for raw in example.corpus()]
    return [raw for raw in raws if len(raw) <= LONGEST_BYTES] or [example.good]


def main(name: str, first: int, count: int) -> None:
    """Read some mutants of a format and print what was seen."""
    example = EXAMPLES[name]
    corpus = load_corpus(example)
    # What is imported on first use is no fault of the first mutant.
    decode_and_normalise([Upload(corpus[0], {}, "good", START_NS, input_format=name)], LIMITS)
    reasons: Counter[str] = Counter()
    slowest_s, slowest = 0.0, first
    # What is read first waits for imports.
    decode_and_normalise([Upload(example.good, {}, "good", START_NS, input_format=name)], LIMITS)
    for number in range(first, first + count):
        chance = Random(f"{name} {number}")
        data = mutant(corpus, MUTATIONS[example.kind], chance)
        rules = chance.choice(RULES)
        upload = Upload(data, {}, f"mutant-{number}", START_NS, rules=rules, input_format=name)
        begun = time.monotonic()
        print(f"mutant {number}", file=sys.stderr)
        outcome = decode_and_normalise([upload], LIMITS)
        seconds = time.monotonic() - begun
        slowest_s, slowest = max((slowest_s, slowest), (seconds, number))
        for refused in outcome.refused:
            assert refused.reason, number
            assert "\n" not in refused.reason, (number, refused.reason)
            reasons[" ".join(refused.reason.split()[:3])] += 1
    said = {
        "mutants": count,
        "refused": reasons.total(),
        "slowest_s": round(slowest_s, 2),
        "slowest": slowest,
    }
    print(json.dumps(said | {"reasons": dict(reasons.most_common(20))}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
