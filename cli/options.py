"""The options that commands share, as decorators; each packs its group into one frozen value."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .explained import explain_option

if TYPE_CHECKING:
    from ..schema.request import Selection, TreeQuery

DEFAULT_STORE = "flameduck-data"
TABLE_FORMATS = ("table", "json", "ndjson", "csv", "parquet", "arrow")

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Option = Callable[[Any], Any]


@dataclass(frozen=True)
class StoreOptions:
    """Where profiles are: files as positional arguments, else a store."""

    store: str
    tenant: str
    files: tuple[str, ...] = ()
    input_format: str = ""
    raw_names: bool = False


@dataclass(frozen=True)
class SelectOptions:
    """Which profiles: selector, type and range, as typed."""

    query: str
    type: str
    start: str | None
    end: str | None

    def selection(self, now_ns: int | None = None) -> Selection:
        """The selection, with relative times counted from now. Raises `InvalidTime`."""
        from ..schema.request import Selection

        now_ns = time.time_ns() if now_ns is None else now_ns
        return Selection(self.query, self.type, time_ns(self.start, now_ns), time_ns(self.end, now_ns))


@dataclass(frozen=True)
class TreeOptions:
    """How profiles are folded into a call tree; `aggregate` None means that nothing was said."""

    granularity: str
    aggregate: str | None
    delta: bool
    show: str
    hide: str
    focus: str
    ignore: str
    span_ids: tuple[str, ...]
    trace_ids: tuple[str, ...]

    def tree(self, selection: Selection) -> TreeQuery:
        """The tree query over a selection."""
        from ..schema.request import FrameFilter, TreeQuery

        return TreeQuery(
            replace(selection, span_ids=self.span_ids, trace_ids=self.trace_ids),
            self.granularity,  # type: ignore[arg-type]  # click has checked the choice
            self.aggregate or "sum",  # type: ignore[arg-type]
            self.delta,
            FrameFilter(self.show, self.hide, self.focus, self.ignore),
        )


@dataclass(frozen=True)
class OutputOptions:
    """In which format an answer is written, and where."""

    format: str
    output: str | None


def time_ns(text: str | None, now_ns: int) -> int | None:
    """Nanoseconds of an optional time. Raises `InvalidTime`."""
    from ..schema.times import parse_time_ns

    return None if text is None else parse_time_ns(text, now_ns)


def packed(
    kind: type, name: str, *options: _Option, names: tuple[str, ...] = ()
) -> Callable[[_Command], _Command]:
    """A decorator that adds `options` and passes their values to the command as one `kind` called `name`.

    `names` are the fields that the options fill, where the others keep their default.
    """
    taken = names or tuple(field.name for field in fields(kind))

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def wrapper(**values: Any) -> Any:
            group = kind(**{field: values.pop(field) for field in taken})
            return command(**values, **{name: group})

        for option in reversed(options):
            wrapper = option(wrapper)
        return wrapper  # type: ignore[return-value]

    return decorate


_FILES = click.argument("files", nargs=-1, metavar="[FILES]...", type=click.Path())
_STORE = click.option(
    "-s",
    "--store",
    "--url",
    "store",
    envvar="FLAMEDUCK_STORE",
    default=DEFAULT_STORE,
    show_default=True,
    show_envvar=True,
    metavar="URL",
    help="A directory or a URL (s3://, gs://, memory://) that holds profiles, or a server (http://).",
)
_TENANT = click.option(
    "--tenant",
    envvar="FLAMEDUCK_TENANT",
    default="anonymous",
    show_default=True,
    show_envvar=True,
    help="Whose profiles.",
)
_INPUT_FORMAT = click.option(
    "--input-format",
    default="",
    metavar="NAME",
    help="Format of the files, where their content does not tell it.",
)

_RAW_NAMES = click.option(
    "--raw-names", is_flag=True, help="Leave the function names of the files as they are."
)

store_options = packed(StoreOptions, "store", _FILES, _STORE, _TENANT, _INPUT_FORMAT, _RAW_NAMES)
"""FILES, --store, --tenant, --input-format, --raw-names."""

only_store_options = packed(StoreOptions, "store", _STORE, _TENANT, names=("store", "tenant"))
"""--store and --tenant, for commands that make no sense on files."""

select_options = packed(
    SelectOptions,
    "select",
    click.option(
        "-q",
        "--query",
        default="{}",
        metavar="SELECTOR",
        help='Label selector: {service_name="checkout",region=~"eu|us"}.',
    ),
    click.option(
        "-t", "--type", default="", help="Profile type: its id, or a short name such as cpu or inuse_space."
    ),
    click.option(
        "--from", "start", metavar="TIME", help="From this time on: -1h, RFC 3339, Unix s, ms or ns."
    ),
    click.option("--to", "end", metavar="TIME", help="Before this time."),
)
"""--query, --type, --from, --to."""

tree_options = packed(
    TreeOptions,
    "tree",
    click.option(
        "--granularity",
        type=click.Choice(("function", "line", "file", "mapping", "address")),
        default="function",
        show_default=True,
        help="What a frame is.",
    ),
    click.option(
        "--aggregate",
        type=click.Choice(("sum", "avg", "last")),
        default=None,
        help="Over the profiles of a series; by default avg for gauges such as inuse_space, else sum.",
    ),
    click.option(
        "--delta", is_flag=True, help="Differences of consecutive profiles, for values that only grow."
    ),
    click.option("--show", default="", metavar="REGEX", help="Keep only the frames that match."),
    click.option("--hide", default="", metavar="REGEX", help="Leave out the frames that match."),
    click.option(
        "--focus", default="", metavar="REGEX", help="Keep only the stacks with a frame that matches."
    ),
    click.option(
        "--ignore", default="", metavar="REGEX", help="Leave out the stacks with a frame that matches."
    ),
    click.option(
        "--span-id",
        "span_ids",
        multiple=True,
        metavar="HEX",
        help="Only the samples of this span, or of these.",
    ),
    click.option(
        "--trace-id",
        "trace_ids",
        multiple=True,
        metavar="HEX",
        help="Only the samples of this trace, or of these.",
    ),
)
"""--granularity, --aggregate, --delta, pprof's frame filters, --span-id, --trace-id."""


@dataclass(frozen=True)
class Question:
    """What most commands ask about: where profiles are, which of them, and how they fold."""

    store: StoreOptions
    select: SelectOptions
    tree: TreeOptions

    def query(self) -> TreeQuery:
        """The tree query, with relative times counted from now. Raises `InvalidTime`."""
        return self.tree.tree(self.select.selection())


def question_options(command: _Command) -> _Command:
    """FILES, --store and the rest that say what a question is about, as one `Question`; --explain."""

    @store_options
    @select_options
    @tree_options
    @explain_option
    @functools.wraps(command)
    def wrapper(store: StoreOptions, select: SelectOptions, tree: TreeOptions, **values: Any) -> Any:
        return command(question=Question(store, select, tree), **values)

    return wrapper  # type: ignore[return-value]


def format_option(formats: tuple[str, ...], help: str = "Output format.") -> _Option:
    """--format, of some formats of which the first is the default."""
    return click.option(
        "-f",
        "--format",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help=help,
    )


output_option: _Option = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, allow_dash=True), help="Write to this file."
)
"""--output."""


def output_options(formats: tuple[str, ...] = TABLE_FORMATS) -> Callable[[_Command], _Command]:
    """--format, of some formats of which the first is the default, and --output."""
    return packed(OutputOptions, "output", format_option(formats), output_option)


def limit_option(default: int) -> _Option:
    """--limit."""
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(min=0),
        default=default,
        show_default=True,
        help="At most so many rows; 0: all.",
    )


def executor_option(what: str) -> _Option:
    """--executor: who does `what`."""
    return click.option(
        "--executor",
        default="",
        metavar="NAME",
        help=f"Who {what}: local (processes of this machine), or the workers of a Dask cluster, by the address of its "
        "scheduler, dask://host:8786. By default this process does.",
    )
