"""The same hour of two services in 60 blocks and in one: what many small blocks cost a reader.

python -m benchmarks.small_blocks [--scale 1] [--rounds 5]
"""

from __future__ import annotations

from .asking import as_json, ask_flamegraph, cpu_tree, open_store
from .corpus import TICKS, Shape, open_corpus, service_name
from .measure import argument_parser, interleaved, report

_SERVICES, _BLOCKS = 2, 60


def main() -> None:
    """Measure the flame graph of the CPU service among them."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    shapes = [Shape(options.scale, "time", _SERVICES, ticks) for ticks in (TICKS // _BLOCKS, TICKS)]
    many_path, one_path = map(open_corpus, shapes)
    many, one, tree = open_store(many_path), open_store(one_path), cpu_tree(service_name(0))
    assert ask_flamegraph(many, tree) == ask_flamegraph(one, tree)
    costs = interleaved(
        options.rounds,
        {
            "one": lambda: as_json(ask_flamegraph(one, tree)),
            "many": lambda: as_json(ask_flamegraph(many, tree)),
            "one_cold": lambda: as_json(ask_flamegraph(open_store(one_path), tree)),
            "many_cold": lambda: as_json(ask_flamegraph(open_store(many_path), tree)),
        },
    )
    blocks = many.blocks.live_blocks()
    rows = [part.samples for block in blocks for part in block.meta.parts if part.part == 0]
    figures: dict[str, object] = {f"{name}_ms": 1e3 * cost.wall_s for name, cost in costs.items()}
    figures |= {"blocks": len(blocks), "rows": sum(last - first for first, last in rows)}
    figures["many_to_one"] = costs["many"].wall_s / costs["one"].wall_s
    figures["many_to_one_cold"] = costs["many_cold"].wall_s / costs["one_cold"].wall_s
    figures["many_to_one_cpu"] = costs["many"].cpu_s / costs["one"].cpu_s
    figures["many_to_one_cold_cpu"] = costs["many_cold"].cpu_s / costs["one_cold"].cpu_s
    report("small_blocks", figures)


if __name__ == "__main__":
    main()
