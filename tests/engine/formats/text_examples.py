"""Small inputs of the text formats and of those JSON formats that count samples."""

from __future__ import annotations

import json

GOROUTINES = b"""goroutine 1 [chan receive, 5 minutes]:
app.work(0xc000010000, 0x2)
\t/src/app/work.go:12 +0x1d
main.main()
\t/src/app/main.go:7 +0x25
"""

BPFTRACE = b"""Attaching 1 probe...

@[
    work+12
    main+3
]: 7
"""

DTRACE = b"""
              app`work+0x12
              app`main+0x3
                7
"""

SAMPLE = b"""Analysis of sampling app (pid 4242) every 1 millisecond
Process:         app [4242]

Call graph:
    7 Thread_1166804   DispatchQueue_1: com.apple.main-thread  (serial)
    + 7 main  (in app) + 910  [0x1000017be]  main.cpp:353
    +   7 work  (in app) + 10  [0x100001aa6]

Total number in stack (recursive counted multiple, when >=5):

Binary Images:
       0x100000000 -        0x100002fff +app (0) <7DBD2D57-A2D7-3F65-9B9E-A1F4D75DF533> /opt/app
"""

JSTACK = b"""Full thread dump OpenJDK 64-Bit Server VM (17.0.15 mixed mode, sharing):

"worker-1" #12 daemon prio=5 os_prio=0 cpu=0.21ms elapsed=4.57s tid=0x00007f4f1811d6f0 nid=0x11fe runnable  [0x0]
   java.lang.Thread.State: RUNNABLE
\tat work(App.java:4)
\t- locked <0x000000069ec19290> (a java.lang.Object)
\tat main(App.java:9)

"""

PPROF_TEXT = b"""goroutine profile: total 7
7 @ 0x47dbae 0x4158ee
#\t0x4158ed\twork+0x1d\t/src/app/work.go:12
#\t0x47dbad\tmain+0x25\t/src/app/main.go:7

"""

STACKPROF = json.dumps(
    {
        "version": 1.2,
        "mode": "custom",
        "interval": 1,
        "samples": 7,
        "gc_samples": 0,
        "missed_samples": 0,
        "frames": {
            "10": {"name": "main", "file": "app.rb", "line": 1, "total_samples": 7, "samples": 0},
            "20": {"name": "work", "file": "app.rb", "line": 5, "total_samples": 7, "samples": 7},
        },
        "raw": [2, 10, 20, 3, 2, 10, 20, 4],
    }
).encode()

FIREFOX = json.dumps(
    {
        "meta": {"interval": 1, "startTime": 1e12, "version": 24, "preprocessedProfileVersion": 55},
        "libs": [{"name": "app", "path": "/opt/app", "codeId": "abcd", "breakpadId": "CDAB0"}],
        "threads": [
            {
                "name": "worker",
                "pid": "12",
                "tid": 13,
                "samples": {
                    "length": 2,
                    "stack": [1, None],
                    "time": [1, 2],
                    "weight": [7, 3],
                    "weightType": "bytes",
                },
                "stackTable": {"length": 2, "prefix": [None, 0], "frame": [0, 1]},
                "frameTable": {
                    "length": 2,
                    "func": [0, 1],
                    "line": [3, None],
                    "address": [16, 32],
                    "inlineDepth": [0, 0],
                },
                "funcTable": {"length": 2, "name": [0, 1], "resource": [0, -1], "fileName": [2, None]},
                "resourceTable": {"length": 1, "lib": [0], "name": [0], "type": [1]},
                "nativeSymbols": {"length": 0},
                "stringArray": ["main", "work", "main.c"],
            }
        ],
    }
).encode()
