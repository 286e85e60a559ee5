"""Reports of macOS's `sample`, written after its published ones: there is no macOS to record on."""

from __future__ import annotations

import pytest

from flameduck.engine.formats import detect_format
from tests.engine.formats.decoded_profiles import Profile, read, reason

REPORT = """Analysis of sampling checkout (pid 4242) every 1 millisecond
Process:         checkout [4242]
Path:            /opt/checkout
Load Address:    0x100000000
Date/Time:       2018-10-02 19:28:31.557 -0300
Analysis Tool:   /usr/bin/sample

Physical footprint:         5428K
----

Call graph:
    2757 Thread_1166804   DispatchQueue_1: com.apple.main-thread  (serial)
    + 2757 start  (in libdyld.dylib) + 1  [0x7fff6842a085]
    +   2757 main  (in checkout) + 910  [0x1000017be]  main.cpp:353
    +     2700 price(int (*) [2])  (in checkout) + 162,140,...  [0x100000d22,0x100000d10,...]  main.cpp:182
    +     ! 2690 read  (in libsystem_kernel.dylib) + 10  [0x7fff685648a6]
    +     57 ???  (in checkout)  load address 0x100000000 + 0x1abc  [0x100001abc]
    2757 Thread_1167037: worker
      2757 start_wqthread  (in libsystem_pthread.dylib) + 13  [0x1003d4e51]
        2757 -[Mail send:]  (in Mail)

Total number in stack (recursive counted multiple, when >=5):

Sort by top of stack, same collapsed (when >= 5):
        -[Mail send:]  (in Mail)        2757
        read  (in libsystem_kernel.dylib)        2690
        ???  (in checkout)        57
        price(int (*) [2])  (in checkout)        10

Binary Images:
       0x100000000 -        0x100002fff +checkout (0) <7DBD2D57-A2D7-3F65-9B9E-A1F4D75DF533> /opt/checkout
       0x1003d0000 -        0x1003dffff  libsystem_pthread.dylib (330.201.1) <D6387150-2FB8-3066-868D-72E1B1C43982> /usr/lib/libsystem_pthread.dylib
    0x7fff68429000 -     0x7fff68446ff7  libdyld.dylib (635.2) <78E47484-9F4B-3C80-9D7A-2354B4046EE1> /usr/lib/libdyld.dylib
"""  # noqa: E501


def only(text: str) -> Profile:
    (profile,) = read("sample", text.encode())
    return profile


def test_own_samples_are_those_that_the_report_sums_up() -> None:
    assert detect_format(REPORT.encode(), "").name == "sample"
    profile = only(REPORT)
    assert (profile.name, profile.totals()) == (
        "wall",
        {"samples/count": 2 * 2757, "wall/nanoseconds": 2 * 2757 * 1_000_000},
    )
    assert profile.stacks() == {
        "start;main;price(int (*) [2]);read": 2690,
        "start;main;price(int (*) [2])": 10,
        "start;main;???": 57,
        "start_wqthread;-[Mail send:]": 2757,
    }


def test_frames_threads_and_images() -> None:
    profile = only(REPORT)
    deepest = next(sample for sample in profile.samples if sample.names[0] == "read")
    assert deepest.frames[1:3] == (("price(int (*) [2])", "main.cpp", 182), ("main", "main.cpp", 353))
    assert deepest.addresses == (0x7FFF685648A6, 0x100000D22, 0x1000017BE, 0x7FFF6842A085)
    assert deepest.mappings == (
        "libsystem_kernel.dylib",
        "/opt/checkout",
        "/opt/checkout",
        "/usr/lib/libdyld.dylib",
    )
    assert profile.build_ids["/opt/checkout"] == "7dbd2d57a2d73f659b9ea1f4d75df533"
    assert deepest.labels == {
        "process": "checkout",
        "pid": (4242, ""),
        "thread": "Thread_1166804",
        "queue": "com.apple.main-thread  (serial)",
    }
    assert {sample.labels["thread"] for sample in profile.samples} == {
        "Thread_1166804",
        "Thread_1167037: worker",
    }


def test_times() -> None:
    header = only(REPORT).header
    assert (header["time_nanos"], header["period"]) == (1538519311557000000, 1_000_000)
    (pushed,) = read("sample", REPORT.encode(), rules="pyroscope")
    assert pushed.header["time_nanos"] == 0
    slow = only(REPORT.replace("every 1 millisecond", "every 500 microseconds"))
    assert slow.header["period"] == 500_000


BAD = {
    REPORT.replace("Call graph:", "Calls:"): (
        "no line is as 'Analysis of sampling x (pid 1) every 1 millisecond' or 'Call graph:'"
    ),
    REPORT.replace(
        "! 2690 read", "! 2790 read"
    ): "the frames below one have 90 samples more than it has itself",
}


@pytest.mark.parametrize("text", BAD, ids=["no graph", "too many"])
def test_reports_that_are_none(text: str) -> None:
    assert reason("sample", text.encode()) == BAD[text]


def test_a_tree_without_end() -> None:
    lines = "".join(f"{' ' * depth}1 f  (in app)\n" for depth in range(20_000))
    text = REPORT.replace("Call graph:\n", f"Call graph:\n{lines}")
    assert reason("sample", text.encode()) == "a stack of more than 10000 frames"
