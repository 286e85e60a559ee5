"""What a stored hour takes: bytes a row of samples, bytes a profile by file.

python -m benchmarks.size [--scale 1] [--order service|time]
"""

from __future__ import annotations

from .asking import open_store
from .corpus import Shape, corpus_parser, open_corpus
from .measure import report


def main() -> None:
    """Add up the sizes in the blocks' metadata, after comparing them with the files."""
    parser = corpus_parser(__doc__)
    options = parser.parse_args()
    store = open_corpus(Shape(options.scale, options.order))
    metas = [block.meta for block in open_store(store).blocks.live_blocks()]
    sizes: dict[str, int] = {}
    for meta in metas:
        for name, file in meta.files.items():
            sizes[name] = sizes.get(name, 0) + file.size_bytes
    assert sum(sizes.values()) == sum(path.stat().st_size for path in store.rglob("*.parquet"))
    profiles, samples = sum(meta.profiles for meta in metas), sum(meta.samples for meta in metas)
    report(
        "size",
        {
            "order": options.order,
            "scale": options.scale,
            "blocks": len(metas),
            "profiles": profiles,
            "samples": samples,
            "bytes_per_sample": sizes["samples.parquet"] / samples,
            "bytes_per_profile": sum(sizes.values()) / profiles,
            "by_file": {name: round(size / profiles, 1) for name, size in sorted(sizes.items())},
        },
    )


if __name__ == "__main__":
    main()
