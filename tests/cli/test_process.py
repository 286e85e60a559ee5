"""The command as a process: pipes, terminals, signals, exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "flameduck.cli"]


def run(*words: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *words], input=stdin, capture_output=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["top", "before.pb.gz"], 0, ""),
        (["top", "broken.pb.gz"], 1, "flameduck: broken.pb.gz: "),
        (["top", "gone.pb.gz"], 1, "flameduck: gone.pb.gz: No such file or directory"),
        (["top", "before.pb.gz", "--type", "nothing"], 2, "flameduck: no profile type 'nothing' here"),
        (["top", "before.pb.gz", "--from", "yesterday"], 2, "flameduck: time 'yesterday'"),
        (["top", "before.pb.gz", "-q", "{a=}"], 2, "flameduck: selector '{a=}'"),
        (["top", "before.pb.gz", "--focus", "("], 2, "flameduck: "),
        (["top", "--unknown"], 2, "flameduck: top: No such option '--unknown'"),
        (["top", "-f", "xml", "before.pb.gz"], 2, "flameduck: top: Invalid value for '-f'"),
        (["nothing"], 2, "flameduck: No such command 'nothing'"),
        (["sql", "SELECT nothing", "before.pb.gz"], 2, "flameduck: "),
        (["top", "before.pb.gz", "-o", "no/such/folder"], 1, "flameduck: no/such/folder: No such file"),
        (["top", "--store", "http://localhost:1"], 1, "flameduck: http://localhost:1: "),
    ],
)
def test_exit_codes_and_one_line_errors(files: Path, words: list[str], code: int, complaint: str) -> None:
    done = run(*words)
    assert done.returncode == code, done.stderr
    said = done.stderr.decode()
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if not line.startswith("note: ")]
    assert len(errors) == (1 if complaint else 0)
    assert said.splitlines()[-1].startswith(complaint) if complaint else True


def test_refused_files_beside_a_good_one(files: Path) -> None:
    done = run("top", "broken.pb.gz", "before.pb.gz", "gone.pb.gz", "-f", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)[0]["function"] == "idle"
    said = done.stderr.decode().splitlines()
    assert [line for line in said if line.startswith("flameduck: gone.pb.gz: ")]
    assert [line for line in said if line.startswith("flameduck: broken.pb.gz: ")]


def test_nothing_is_answered_when_one_side_of_a_diff_is_refused(files: Path) -> None:
    done = run("diff", "before.pb.gz", "broken.pb.gz")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"flameduck: broken.pb.gz: ")


def test_without_arguments_it_explains_itself() -> None:
    done = run()
    assert done.returncode == 0
    assert b"Commands:" in done.stdout


def test_standard_input_is_a_file_too(files: Path) -> None:
    done = run("top", "-", "-f", "json", stdin=Path("before.pb.gz").read_bytes())
    assert json.loads(done.stdout)[0] == {"function": "idle", "self": 500, "total": 500}
    folded = run("top", "-", "-f", "json", stdin=b"main;work 7\n")
    assert json.loads(folded.stdout)[0] == {"function": "work", "self": 7, "total": 7}


def test_a_broken_pipe_is_quiet(files: Path) -> None:
    many = "".join(f"main;function_with_a_long_name_{number} 1\n" for number in range(20_000))
    Path("many.folded").write_text(many)
    with subprocess.Popen(
        [*COMMAND, "top", "many.folded", "--limit", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_an_interrupt_is_quiet(files: Path) -> None:
    os.mkfifo("slow.folded")
    # Where the tests run in the background it may be ignored, which children inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*COMMAND, "top", "slow.folded"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with open("slow.folded", "wb"):  # opens when the process reads
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (130, b"", b"")


def in_terminal(*words: str, **environment: str) -> str:
    """What a command shows in a terminal of 100 columns."""
    main, side = pty.openpty()
    size = {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [*COMMAND, *words], stdin=side, stdout=side, stderr=side, env={**os.environ, **size, **environment}
    )
    os.close(side)
    shown = b""
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(main)
    process.wait(timeout=20)
    return shown.decode()


def test_colours_in_a_terminal_unless_somebody_says_no(files: Path) -> None:
    assert "\x1b[30;48;5;" in in_terminal("flame", "before.pb.gz")
    assert "\x1b[" not in in_terminal("flame", "before.pb.gz", NO_COLOR="1")
    assert "\x1b[" not in in_terminal("flame", "before.pb.gz", TERM="dumb")
    assert b"\x1b[" not in run("flame", "before.pb.gz").stdout


def test_tables_in_a_terminal_are_drawn(files: Path) -> None:
    assert "─" in in_terminal("top", "before.pb.gz")
    assert "─" not in run("top", "before.pb.gz").stdout.decode()


def test_a_terminal_gets_a_progress_bar_and_a_pipe_does_not(files: Path) -> None:
    assert "ingest" in in_terminal("ingest", "before.pb.gz", "--store", "a")
    done = run("ingest", "before.pb.gz", "--store", "b")
    assert done.stderr == b""


def test_binary_data_does_not_go_to_a_terminal(files: Path) -> None:
    assert "name a file with --output" in in_terminal("top", "before.pb.gz", "--format", "parquet")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    script = run("completion", shell).stdout.decode()
    assert f"_FLAMEDUCK_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("flameduck to", "plain,top"),
        ("flameduck top --gran", "plain,--granularity"),
        ("flameduck top x", "file,x"),
    ],
)
def test_completion_of_words(words: str, expected: str) -> None:
    position = str(len(words.split()) - 1)
    script = "import sys; sys.argv[0] = 'flameduck'; from flameduck.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env={
            **os.environ,
            "_FLAMEDUCK_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": position,
        },
        check=False,
    )
    assert expected in done.stdout.decode().splitlines()
