"""The text of perf script: its fields in and out, its frames, its events, what they add up to."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.formats import perf_script, perf_stacks, perf_text
from flameduck.engine.formats.perf_events import Measured, measured_by
from tests.engine.formats.perf_seen import decode, names, reason, see

CHAIN = b"\t    7f00 work+0x1 (/app)\n\t    7f10 main+0x2 (/app)\n\n"

HEADS: dict[str, tuple[bytes, dict[str, str | int], str]] = {
    "all": (b"app 7/8 [002] 1.5: 10 cycles: ", {"comm": "app", "pid": 7, "tid": 8, "cpu": 2}, "cycles/count"),
    "as by default": (
        b"app 8 1.500000:     250000 cpu-clock: ",
        {"comm": "app", "tid": 8},
        "cpu/nanoseconds",
    ),
    "event right aligned": (b"app 8 1.5:   10   cpu-clock:u: ", {"comm": "app", "tid": 8}, "cpu/nanoseconds"),
    "padded comm": (
        b"             app     8 [001] 1.5: 10 cycles:uH: ",
        {"comm": "app", "tid": 8, "cpu": 1},
        "cycles/count",
    ),
    "comm with spaces": (
        b"Web Content 12 3/4 1.5: 10 cycles: ",
        {"comm": "Web Content 12", "pid": 3, "tid": 4},
        "cycles/count",
    ),
    "comm with parentheses": (
        b"mail (in 1) x 8 1.5: 10 cycles: ",
        {"comm": "mail (in 1) x", "tid": 8},
        "cycles/count",
    ),
    "comm with colons": (
        b"a: b: 8 [000] 1.5: 10 cycles: ",
        {"comm": "a: b:", "tid": 8, "cpu": 0},
        "cycles/count",
    ),
    "comm that is a number": (b"12 8 1.5: 10 cycles: ", {"comm": "12", "tid": 8}, "cycles/count"),
    "comm not UTF-8": (b"caf\xe9 8 1.5: 10 cycles: ", {"comm": "caf\ufffd", "tid": 8}, "cycles/count"),
    "no thread": (
        b":-1 -1/-1 [001] 1.5: 10 cycles: ",
        {"comm": ":-1", "pid": -1, "tid": -1, "cpu": 1},
        "cycles/count",
    ),
    "without comm": (b"7/8 1.5: 10 cycles: ", {"pid": 7, "tid": 8}, "cycles/count"),
    "comm, time": (b"app 1.5: 10 cycles: ", {"comm": "app"}, "cycles/count"),
    "comm, cpu": (b"app [003] 10 cycles: ", {"comm": "app", "cpu": 3}, "cycles/count"),
    "without time": (b"app 7/8 10 cycles: ", {"comm": "app", "pid": 7, "tid": 8}, "cycles/count"),
    "event alone": (b"   cycles: ", {}, ""),
    "comm alone": (b"app ", {"comm": "app"}, ""),
    "comm, ids": (b"app 7/8 ", {"comm": "app", "pid": 7, "tid": 8}, ""),
    "without period": (b"app 8 1.5: cpu-clock: ", {"comm": "app", "tid": 8}, ""),
    "without event": (b"app 8 1.5: ", {"comm": "app", "tid": 8}, ""),
    "misc": (b"app 8 [000] U 1.5: 10 cycles: ", {"comm": "app", "tid": 8, "cpu": 0}, "cycles/count"),
    "time of day": (
        b"app 8 2026-11-27 17:00:00.1234 1.5: 10 cycles: ",
        {"comm": "app", "tid": 8},
        "cycles/count",
    ),
    "nanoseconds": (b"app 8 1.500000001: 10 cycles: ", {"comm": "app", "tid": 8}, "cycles/count"),
    "event of a unit": (b"app 8 1.5: 10 cpu_core/cycles/u: ", {"comm": "app", "tid": 8}, "cycles/count"),
    "no fields": (b"", {}, ""),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_fields(name: str, newline: bytes) -> None:
    head, labels, measured = HEADS[name]
    sample = (head + b"\n" if head else b"") + CHAIN
    (seen,) = see((sample * 3).replace(b"\n", newline))
    assert seen.types == ["samples/count", *([measured] if measured else [])]
    ((stack, said, values),) = seen.samples
    assert stack == [("work", "/app"), ("main", "/app")]
    assert said == labels
    assert values == [3, *([3 * (250_000 if name == "as by default" else 10)] if measured else [])]


FRAMES: dict[str, tuple[bytes, tuple[str, str]]] = {
    "symbol and file": (b"work (/app)", ("work", "/app")),
    "offset": (b"work+0x1f (/app)", ("work", "/app")),
    "without file": (b"work+0x1f", ("work", "")),
    "without symbol": (b"(/app)", ("0x7f00", "/app")),
    "unknown in a file": (b"[unknown] (/app)", ("0x7f00", "/app")),
    "unknown": (b"[unknown] ([unknown])", ("0x7f00", "")),
    "address alone": (b"", ("0x7f00", "")),
    "kernel": (b"do_idle+0x1 ([kernel.kallsyms])", ("do_idle", "[kernel.kallsyms]")),
    "module": (b"nf_hook+0x1 ([nf_tables])", ("nf_hook", "[nf_tables]")),
    "deleted": (b"work+0x1 (/tmp/app (deleted))", ("work", "/tmp/app (deleted)")),
    "file with spaces": (b"work+0x1 (/opt/my app (x86)/bin)", ("work", "/opt/my app (x86)/bin")),
    "file with an offset": (b"work+0x1 (/app+0x7f00)", ("work", "/app")),
    "parameters": (b"shop::f(int, char const*)+0x1 (/app)", ("shop::f(int, char const*)", "/app")),
    "parentheses": (
        b"std::function<void (int)>::operator() (/app)",
        ("std::function<void (int)>::operator()", "/app"),
    ),
    "parentheses, no file": (
        b"std::function<void (int)>::operator()",
        ("std::function<void (int)>::operator()", ""),
    ),
    "mangled": (b"_ZN4shop4spinEi.isra.0+0x1 (/app)", ("shop::spin(int) [clone .isra.0]", "/app")),
    "rust": (b"_ZN4shop4spin17h0123456789abcdefE+0x1 (/app)", ("shop::spin", "/app")),
    "of a library": (b"read@plt+0x1 (/app)", ("read@plt", "/app")),
    "java": (b"Lcom/foo/Bar;::run+0x1 (/tmp/perf-7.map)", ("com/foo/Bar.run", "/tmp/perf-7.map")),
    "dotnet": (
        b"void [App] Shop.Cart::Add(string[])[Tier0]+0x1 (/tmp/perf-7.map)",
        ("Shop.Cart.Add", "/tmp/perf-7.map"),
    ),
    "v8": (b"JS:*spin /srv/app.js:12:3+0x1 (/tmp/perf-7.map)", ("spin", "/tmp/perf-7.map")),
    "python": (b"py::spin:/srv/app.py+0x1 (/tmp/perf-7.map)", ("spin", "/tmp/perf-7.map")),
    "android": (
        b"java.lang.String.hashCode ([JIT app cache])",
        ("java.lang.String.hashCode", "[JIT app cache]"),
    ),
    "anonymous memory": (b"[unknown] (//anon)", ("0x7f00", "//anon")),
    "not UTF-8": (b"caf\xe9 (/b\xe9)", ("caf\ufffd", "/b\ufffd")),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("indent", [b"\t            ", b"        "])
def test_frames(name: str, indent: bytes) -> None:
    text, frame = FRAMES[name]
    line = indent + b" ".join([b"7f00", text] if text else [b"7f00"])
    (seen,) = see(b"app 8 1.5: 10 cycles: \n" + line + b"\n\n")
    assert [stack for stack, _, _ in seen.samples] == [[frame]]


def test_raw_names_are_kept_beside_the_readable_ones() -> None:
    text = b"app 8 1.5: 10 cycles: \n\t1 JS:*spin /srv/app.js:12:3 (/tmp/perf-7.map)\n\n"
    (row,) = decode(text)[0].batch.to_pylist()
    (function,) = row["function"]
    said = {key: row["string_table"][function[key]] for key in ("name", "system_name", "filename")}
    assert said == {"name": b"spin", "system_name": b"JS:*spin /srv/app.js:12:3", "filename": b"/srv/app.js"}
    assert function["start_line"] == 12
    (seen,) = see(text, raw_names=True)
    assert names(seen.samples[0][0]) == ["JS:*spin /srv/app.js:12:3"]


def test_inlined_calls_are_lines_of_the_location_of_their_address() -> None:
    text = (
        b"app 8 1.5: 10 cycles: \n\t7f inner (inlined)\n\t7f middle (inlined)\n\t7f outer+0x3 (/app)\n"
        b"\t99 start_impl+0x84 (inlined)\n\t5f start (/app)\n\n"
    )
    (seen,) = see(text)
    expected = [("inner < middle < outer", "/app"), ("start_impl", ""), ("start", "/app")]
    assert seen.samples[0][0] == expected


def test_source_lines() -> None:
    text = (
        b"app 8 1.5: 10 cycles: \n\t7f spin+0x1 (/app)\n  shop.cpp:24\n"
        b"\t8f main+0x1 (/app)\n  my file.cpp:7 (discriminator 3)\n"
        b"\t9f entry+0x1 ([kernel.kallsyms])\n  [kernel.kallsyms][9f]\n"
        b"\taf none (/app)\n  ??:0\n\tbf none (/app)\n  :0\n\n"
    )
    (seen,) = see(text)
    assert names(seen.samples[0][0]) == ["spin shop.cpp:24", "main my file.cpp:7", "entry", "none", "none"]


def test_equal_lines_with_other_addresses_are_one_stack() -> None:
    text = b"".join(
        b"app 8 1.5: 10 cycles: \n\t%x work+0x%x (/app)\n\t%x [unknown] (/app)\n\n" % (at, at, at // 2)
        for at in range(4)
    )
    (seen,) = see(text)
    assert sorted((names(stack), values) for stack, _, values in seen.samples) == [
        (["work", "0x0"], [2, 20]),
        (["work", "0x1"], [2, 20]),
    ]


def test_samples_without_call_chains() -> None:
    text = (
        b"             app     8 1.5:     10 cycles:  ffffffff81 do_idle+0x1 ([kernel.kallsyms])\n"
        b"             app     8 1.6:     20 cycles:      7f00 main+0x1 (/app)\n  shop.cpp:7\n"
        b"          python 9 [001] 1.7: syscalls:sys_enter_read: fd: 0x00000003, buf: 0x7f\n"
    )
    cycles, reads = see(text)
    assert [stack for stack, _, _ in cycles.samples] == [
        [("do_idle", "[kernel.kallsyms]")],
        [("main shop.cpp:7", "/app")],
    ]
    assert cycles.totals == [2, 30]
    assert reads.samples == [([], {"comm": "python", "tid": 9, "cpu": 1}, [1])]


def test_what_else_stands_at_the_end_of_a_line_is_no_frame() -> None:
    text = (
        b"app 8 1.5: 10 bpf-output:  BPF output: 0000: 00 01 (x)\n"
        b"app 8 1.6: 10 bpf-output:  BPF output: 0000: 00 01 (x)\n  more of it\n"
        b"app 8 1.7: 10 bpf-output:  7f00 work (/app)\n"
    )
    (seen,) = see(text)
    assert sorted((names(stack), values) for stack, _, values in seen.samples) == [
        ([], [2, 20]),
        (["work"], [1, 10]),
    ]
    (seen,) = see(b"app 8 1.5: block:block_rq: 7f00 work (/x)\n          7f00 main (/app)\n\n")
    assert [names(stack) for stack, _, _ in seen.samples] == [["main"]]


def test_samples_with_and_without_call_chains_follow_each_other() -> None:
    text = (
        b"app 8 1.4: 1 faults:  7f00 main+0x1 (/app)\n"
        b"app 8 1.5: 10 cycles: \n" + CHAIN + b"app 8 1.6: 1 faults:  7f00 work+0x1 (/app)\n"
        b"app 8 1.7: 10 cycles: \n\t7f00 main (/app)\napp 8 1.8: 1 faults:  7f00 work+0x1 (/app)\n"
    )
    faults, cycles = see(text)
    assert faults.totals == [3, 3]
    assert cycles.totals == [2, 20]
    assert Counter(";".join(names(stack)) for stack, _, _ in cycles.samples) == {"work;main": 1, "main": 1}


def test_each_event_is_a_profile() -> None:
    text = b"".join(
        b"app 8 1.5: %d %s: \n" % (period, event) + CHAIN
        for period, event in [
            (250_000, b"task-clock"),
            (7, b"page-faults"),
            (250_000, b"task-clock"),
            (9, b"cycles:u"),
        ]
    )
    clock, faults, cycles = see(text, labels={"service_name": "shop"})
    assert [one.name for one in (clock, faults, cycles)] == ["process_cpu", "page_faults", "process_cpu"]
    assert [one.types[1] for one in (clock, faults, cycles)] == [
        "cpu/nanoseconds",
        "page_faults/count",
        "cycles/count",
    ]
    assert [one.totals for one in (clock, faults, cycles)] == [[2, 500_000], [1, 7], [1, 9]]
    assert cycles.labels == {"service_name": "shop", "event": "cycles:u"}
    parts = [one.rows[0].part for one in decode(text)]
    assert len(set(parts)) == 3


EVENTS = {
    "cpu-clock": Measured("process_cpu", ("cpu", "nanoseconds")),
    "task-clock:ppp": Measured("process_cpu", ("cpu", "nanoseconds")),
    "cpu-clock/freq=999/": Measured("process_cpu", ("cpu", "nanoseconds")),
    "cycles": Measured("process_cpu", ("cycles", "count")),
    "cpu-cycles:upp": Measured("process_cpu", ("cycles", "count")),
    "cpu_atom/cycles/P": Measured("process_cpu", ("cycles", "count")),
    "cpu/cycles,period=9/": Measured("process_cpu", ("cycles", "count")),
    "instructions:k": Measured("instructions", ("instructions", "count")),
    "cpu/event=0x3c,umask=0x0/": Measured("event_0x3c", ("event_0x3c", "count")),
    "L1-dcache-load-misses": Measured("l1_dcache_load_misses", ("l1_dcache_load_misses", "count")),
    "offcpu-time": Measured("off_cpu", ("off_cpu", "nanoseconds")),
    "sched:sched_switch": Measured("off_cpu", ("off_cpu", "nanoseconds"), "switch"),
    "sched:sched_stat_sleep": Measured("off_cpu", ("off_cpu", "nanoseconds")),
    "sched:sched_stat_runtime": Measured("process_cpu", ("cpu", "nanoseconds")),
    "syscalls:sys_enter_write": Measured("sys_enter_write", ("sys_enter_write", "count")),
    "probe_libc:malloc": Measured("malloc", ("malloc", "count")),
    "r1a8": Measured("r1a8", ("r1a8", "count")),
    "{": Measured("perf_event", ("perf_event", "count")),
    "": Measured("process_cpu", ("events", "count")),
}


@pytest.mark.parametrize("event", EVENTS)
def test_what_an_event_measures(event: str) -> None:
    assert measured_by(event) == EVENTS[event]


SWITCHES = {
    "kernel": "prev_comm={0} prev_pid={1} prev_prio=120 prev_state=S ==> next_comm={2} next_pid={3} next_prio=120",
    "plugin": "{0}:{1} [120] S ==> {2}:{3} [120]",
}


@pytest.mark.parametrize("spelling", SWITCHES)
def test_a_thread_is_off_the_cpu_until_it_is_switched_to(spelling: str) -> None:
    def switch(time: str, left: tuple[str, int], entered: tuple[str, int]) -> bytes:
        said = SWITCHES[spelling].format(*left, *entered)
        return f"{left[0]} {left[1]} [000] {time}: sched:sched_switch: {said}\n".encode() + (
            b"\t1 schedule ([kernel.kallsyms])\n\t2 %s (/app)\n\n" % left[0].split()[0].encode()
        )

    mail, app, idle = ("mail (in 1) ==> x", 9), ("app", 8), ("swapper/0", 0)
    (seen,) = see(
        switch("1.000001", mail, app)
        + switch("1.250001", app, mail)
        + switch("1.250002", mail, idle)
        + switch("1.250005", idle, mail)
        + switch("1.250009", mail, app)
    )
    assert (seen.name, seen.types) == ("off_cpu", ["samples/count", "off_cpu/nanoseconds"])
    found = {names(stack)[1]: (labels["comm"], values) for stack, labels, values in seen.samples}
    assert found == {
        "mail": (mail[0], [3, 250_000_000 + 3_000]),
        "app": ("app", [1, 8_000]),
        "swapper/0": ("swapper/0", [1, 0]),
    }


def test_switches_with_the_delay_as_their_period() -> None:
    line = b"app 8 [000] 2.5: 1234567 sched:sched_switch: prev_comm=app prev_pid=8 prev_prio=1 prev_state=S ==> x\n"
    (seen,) = see((line + CHAIN) * 2)
    assert seen.totals == [2, 2_469_134]


def test_switches_of_one_process_only_count() -> None:
    said = SWITCHES["kernel"].format("app", 8, "swapper/0", 0).encode()
    (seen,) = see((b"app 8 [000] 1.5: sched:sched_switch: " + said + b"\n" + CHAIN) * 3)
    assert (seen.types, seen.totals) == (["samples/count"], [3])


HEADER = (
    b"# ========\n# captured on    : Fri Nov 27 17:35:58 2026\n# hostname : shop-1\n# perf version : 6.1.187\n"
    b"# cmdline : /usr/bin/perf record -g ./app \n# event : name = cycles, , id = { 1 }, type = 1\n#\n"
)


def test_the_header_says_when_and_how() -> None:
    text = b"app 8 100.5: \n" + CHAIN + b"app 8 102.75: \n" + CHAIN
    (seen,) = see(HEADER + text)
    assert seen.row["time_nanos"] == 1_795_800_958 * 10**9
    assert seen.row["duration_nanos"] == 2_250_000_000
    assert seen.labels == {"event": "cycles"}
    comments = [seen.row["string_table"][number] for number in seen.row["comment"]]
    assert comments == [b"hostname: shop-1", b"cmdline: /usr/bin/perf record -g ./app"]


def test_times_that_count_from_1970_are_the_time() -> None:
    (seen,) = see(HEADER + b"app 8 1795800000.25: 7 cycles: \n" + CHAIN)
    assert seen.row["time_nanos"] == 1_795_800_000 * 10**9 + 250_000_000


@pytest.mark.parametrize("date", [b"Fri Nov 31 17:35:58 2026", b"Fri Foo 27 17:35:58 2026", b"yesterday"])
def test_a_date_that_is_none(date: bytes) -> None:
    (seen,) = see(b"# captured on    : " + date + b"\napp 8 1.5: 7 cycles: \n" + CHAIN)
    assert seen.row["time_nanos"] == 0


def test_lines_that_are_no_samples_are_told() -> None:
    text = b"app 8 1.5: 7 cycles: \n" + CHAIN + b"Failed to open /tmp/perf-7.map\n\nand more\n"
    (one,) = decode(text)
    assert one.warnings == (
        "2 lines are no samples and were left out, the first is line 5: 'Failed to open /tmp/perf-7.map'",
    )


def test_records_that_are_no_samples_are_passed_over() -> None:
    text = (
        b"         swapper     0 [000]     0.000000: PERF_RECORD_MMAP -1/0: [0xffffffff81000000(0x9) @ 0]: x [k]_text\n"
        b"        kthreadd     0 [000]     0.000000: PERF_RECORD_COMM: kthreadd:2/2\n"
        b"app 8 1.5: 7 cycles: \n" + CHAIN
    )
    (seen,) = see(text)
    assert seen.totals == [1, 7]


BAD = {
    b"app 8 1.5: 7 cycles: \n\t7f work (/app)\n\twork (/app)\n\n": "line 3: '\\twork (/app)' is no frame of a call chain",
    b"# one\n\n\tx1\n": "line 3: '\\tx1' is no frame of a call chain",
    HEADER: "the text holds no sample",
    b"app 8 1.5: 9223372036854775808 cycles: \n"
    + CHAIN: "line 1: period 9223372036854775808 does not fit 64 bits",
    (b"app 8 1.5: 9223372036854775807 cycles: \n" + CHAIN)
    * 2: "sample.value 18446744073709551614 does not fit 64 bits",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_texts(text: bytes) -> None:
    assert reason(text) == BAD[text]


def test_too_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_script, "MAX_EVENTS", 3)
    assert reason(b"".join(b"app 8 1.5: 1 e%d: \n" % at + CHAIN for at in range(4))) == "more than 3 events"


def test_too_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_stacks, "MAX_PLACES", 3)
    text = b"".join(b"app 8 1.5: 1 cycles: \n\t%x [unknown] (/app)\n\n" % at for at in range(4))
    assert reason(text) == "more than 3 places of code"
    assert see(text.replace(b"\t3", b"\t2"))[0].totals == [4, 4]


def test_a_sample_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_text, "PIECE_BYTES", 1000)
    monkeypatch.setattr(perf_script, "PIECE_BYTES", 1000)
    text = b"app 8 1.5: 1 cycles: \n" + b"\t7f work (/app)\n" * 200
    assert reason(text) == "a sample is longer than 1000 bytes"


WORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters="()[]\x7f\x85\xa0"),
    min_size=1,
    max_size=12,
)


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 2**64 - 1), WORDS), min_size=1, max_size=6),
            st.integers(1, 10**6),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_what_is_printed_is_read(samples: list[tuple[list[tuple[int, str]], int, int]]) -> None:
    lines = []
    expected: Counter[tuple[tuple[str, ...], int]] = Counter()
    for frames, period, cpu in samples:
        lines.append(f"my app 7/8 [{cpu:03d}] 12.345678: {period:10d} cycles: ")
        lines += [f"\t{address:16x} {name} (/app)" for address, name in frames] + [""]
        expected[tuple(name for _, name in frames), cpu] += period
    (seen,) = see("\n".join(lines).encode(), raw_names=True)
    found = Counter(
        {(tuple(names(stack)), int(labels["cpu"])): values[1] for stack, labels, values in seen.samples}
    )
    assert found == expected
    assert seen.totals == [len(samples), sum(period for _, period, _ in samples)]
