"""DTrace's aggregations; as the guide prints them, for there is no DTrace to record with on Linux."""

from __future__ import annotations

import pytest

from flameduck.engine.formats import detect_format
from tests.engine.formats.decoded_profiles import Profile, read, reason

OUTPUT = """CPU     ID                    FUNCTION:NAME
  0  12345                        :tick-10s

  bash                                              
              libc.so.1`__forkx+0xb
              bash`make_child+0xb4
              bash`main+0xc
                1

              unix`i86_mwait+0xd
              unix`thread_start+0x8
             1234

              genunix`syscall_mstate+0xc7
              unix`sys_syscall+0x10e

              libc.so.1`read+0x15
              0x8047abc
              node`std::vector<int, std::allocator<int> >::at(int)+0x10
  node                                                             12
              unix`disksort+0x1

           value  ------------- Distribution ------------- count    
             512 |                                         0        
            1024 |@@@@@@@@@@@@@@@                          12       
            2048 |@@@@@                                    3        
            4096 |                                         0        

"""  # noqa: W291


def only(text: str) -> Profile:
    (profile,) = read("dtrace", text.encode())
    return profile


def test_the_guide_s_output() -> None:
    assert detect_format(OUTPUT.encode(), "").name == "dtrace"
    profile = only(OUTPUT)
    assert (profile.name, profile.types) == ("process_cpu", [("samples", "count")])
    assert profile.stacks() == {
        "main;make_child;__forkx": 1,
        "thread_start;i86_mwait": 1234,
        "std::vector<int, std::allocator<int> >::at(int);0x8047abc;read;sys_syscall;syscall_mstate": 12,
        "disksort": 15,
    }
    assert [sample.labels for sample in profile.samples] == [{"comm": "bash"}, {}, {"comm": "node"}, {}]
    assert profile.samples[2].mappings == ("genunix", "unix", "libc.so.1", "", "node")
    assert profile.samples[2].addresses[3] == 0x8047ABC


def test_keys_that_are_numbers() -> None:
    (sample,) = only("  42  java                    worker 1\n              app`main+0x3\n   7\n").samples
    assert sample.labels == {"key1": (42, ""), "comm": "java", "key3": "worker 1"}


def test_frames_of_managed_code_have_no_module() -> None:
    profile = only("              java/lang/Thread.run()V\n              app`main+0x3\n   7\n")
    assert profile.stacks() == {"main;java/lang/Thread.run()V": 7}


BAD = {
    "              app`main+0x3\n": "the last stack has no count: it ends with '              app`main+0x3'",
    "CPU ID\n": "no stack has a count below it",
    "              app`main+0x3\n 9223372036854775808\n": "sample.value 9223372036854775808 does not fit 64 bits",
}


@pytest.mark.parametrize("text", BAD)
def test_texts_that_are_none(text: str) -> None:
    assert reason("dtrace", text.encode()) == BAD[text]
