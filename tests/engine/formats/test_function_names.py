"""Names made readable: what each compiler and runtime writes, as c++filt shows it, and names made to do harm."""

from __future__ import annotations

import re
import shutil
import subprocess
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flameduck.engine.formats import Input
from flameduck.engine.formats.names import MAX_SHOWN, NameReader, name_reader, readable
from flameduck.engine.formats.runtime_names import Placed, placed
from flameduck.schema.proto import profile_pb2
from tests.engine.formats.examples import FIXTURES

CPP = {
    "_Z3fooi": "foo(int)",
    "_ZN3foo3barEv": "foo::bar()",
    "_Z3fooIN1a1bI1c1dI1eEEEEvv": "void foo<a::b<c, d<e> > >()",
    "_ZNSt6vectorIiSaIiEE9push_backERKi": "std::vector<int, std::allocator<int> >::push_back(int const&)",
    "_ZZ4mainENKUlvE_clEv": "main::{lambda()#1}::operator()() const",
    "_ZN12_GLOBAL__N_13fooEv": "(anonymous namespace)::foo()",
    "_ZNKSt8functionIFvvEEclEv": "std::function<void ()>::operator()() const",
    "_ZThn16_NSt14basic_iostreamIwSt11char_traitsIwEED1Ev": (
        "non-virtual thunk to std::basic_iostream<wchar_t, std::char_traits<wchar_t> >::~basic_iostream()"
    ),
    "_ZN1AIJiLj8EEE1fEv": "A<int, 8u>::f()",
    "_ZTV3Foo": "vtable for Foo",
    "_ZGVZ3foovE1x": "guard variable for foo()::x",
    "_Z3fooi.isra.0": "foo(int) [clone .isra.0]",
    "_Z3fooi.constprop.0": "foo(int) [clone .constprop.0]",
    "_Z3fooi.part.0.isra.1": "foo(int) [clone .part.0] [clone .isra.1]",
    "_Z3fooi.cold": "foo(int) [clone .cold]",
    "_Z3fooi.llvm.12345678": "foo(int) [clone .llvm.12345678]",
    "_Z3fooi@plt": "foo(int)@plt",
    "_ZNSt6vectorIiSaIiEE9push_backERKi@@GLIBCXX_3.4": (
        "std::vector<int, std::allocator<int> >::push_back(int const&)@@GLIBCXX_3.4"
    ),
    "_Znwm": "operator new(unsigned long)",
}
"""As GNU c++filt shows them."""

OTHERS = {
    "__Z3fooi": "foo(int)",
    "__ZN3foo3barEv": "foo::bar()",
    "___Z3fooi_block_invoke": "invocation function for block in foo(int)",
    "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE": "core::fmt::Formatter::pad",
    "__ZN4core3fmt9Formatter3pad17h0123456789abcdefE": "core::fmt::Formatter::pad",
    "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE.llvm.77": "core::fmt::Formatter::pad",
    "_ZN60_$LT$alloc..string..String$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE": (
        "<alloc::string::String as core::fmt::Display>::fmt"
    ),
    "_ZN3std2rt10lang_start28_$u7b$$u7b$closure$u7d$$u7d$17h0e5d0e5d0e5d0e5dE": "std::rt::lang_start::{{closure}}",
    "_RNvC6_123foo3bar": "123foo::bar",
    "__RNvC6_123foo3bar": "123foo::bar",
    "_RNvCs1234_7mycrate4main": "mycrate::main",
    "_RINvNtC3std3mem8align_ofdE": "std::mem::align_of::<f64>",
    "?foo@Tensor@at@@QEAAXXZ": "public: void __cdecl at::Tensor::foo(void)",
    "??0Foo@@QEAA@XZ": "public: __cdecl Foo::Foo(void)",
    "$s4main3fooyyF": "main.foo() -> ()",
    "_$s4main3fooyyF": "main.foo() -> ()",
    "_T04main3fooyyF": "main.foo() -> ()",
    "Lcom/foo/Bar;::method": "com/foo/Bar.method",
    "Lcom/foo/Bar;::<init>(Ljava/lang/String;)V": "com/foo/Bar.<init>",
    "Lcom/foo/Bar$Inner;::access$000": "com/foo/Bar$Inner.access$000",
    "LMain;::main": "Main.main",
    "instance void [System.Private.CoreLib] System.Threading.Thread::Start()[Optimized]": (
        "System.Threading.Thread.Start"
    ),
    "void [MyApp] MyApp.Program::Main(string[])[Tier0]": "MyApp.Program.Main",
    "instance class [System.Runtime]System.String [MyApp] MyApp.Foo::.ctor(int32)[OptimizedTier1OSR]": (
        "MyApp.Foo..ctor"
    ),
    "instance bool [System.Private.CoreLib] System.Collections.Generic.Dictionary`2[System.__Canon,System.__Canon]"
    "::TryGetValue(!0,!1&)[Tier1]": (
        "System.Collections.Generic.Dictionary`2[System.__Canon,System.__Canon].TryGetValue"
    ),
    "JS:*spin /srv/app.js:12:3": "spin /srv/app.js:12:3",
    "LazyCompile:~spin /srv/app.js:12": "spin /srv/app.js:12",
    "LazyCompile:spin /srv/app.js:12": "spin /srv/app.js:12",
    "Script:~ file:///srv/my app.mjs:1:1": "file:///srv/my app.mjs:1:1",
    "JS:~": "(anonymous)",
}

UNTOUCHED = (
    "",
    "main",
    "_main",
    "_start",
    "__libc_start_main",
    "read@plt",
    "clock_gettime@@GLIBC_2.17",
    "Interpreter",
    "call_stub",
    "L",
    "Loop;::",
    "Builtin:ArrayMap",
    "BytecodeHandler:Star",
    "JS::Call(JSContext*)",
    "Function::call(int)",
    "LazyCompile::run()",
    "main.Map[go.shape.int]",
    "main.(*Server).Serve-fm",
    "encoding/json.(*Decoder).Decode",
    "com/foo/Bar.method",
    "java.lang.String.hashCode",
    "void foo(int (&) [3])",
    "std::vector<int, std::allocator<int> >::push_back(int const&)",
    "foo(int) [clone .isra.0]",
    "<[T] as core::fmt::Debug>::fmt",
    "-[NSString length]",
    "f__Fi",
    "spin (checkout.py:25)",
    "py::spin:/srv/app.py",
    "caf\u00e9",
    "\udce9",
    "_Z",
    "_Zfoo",
    "_R",
    "?",
    "$s",
    "_ZN4core3fmt",
    "_Z3foo\udce9",
    "_Z3foo\u00e9v",
)


@pytest.mark.parametrize("name", [*CPP, *OTHERS])
def test_readable_names(name: str) -> None:
    assert readable(name) == {**CPP, **OTHERS}[name]


@pytest.mark.parametrize("name", UNTOUCHED)
def test_names_that_stay(name: str) -> None:
    assert readable(name) == name


def filtered(program: str, names: list[str], *words: str) -> list[str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *words], input="\n".join(names), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_cpp_as_the_gnu_program_shows_it() -> None:
    assert filtered("c++filt", list(CPP)) == [readable(name) for name in CPP]


def recorded_names() -> list[str]:
    """System names of a real Rust program."""
    message = profile_pb2.Profile()
    message.ParseFromString((FIXTURES / "rust-cpu.pb").read_bytes())
    texts = [raw.decode() for raw in message.string_table]
    return sorted({texts[function.system_name] for function in message.function})


def test_recorded_rust_as_the_llvm_program_shows_it() -> None:
    names = [name for name in recorded_names() if name.startswith("_")]
    assert len(names) > 20
    shown = filtered("llvm-cxxfilt", names)
    # It takes the old scheme for C++, and so keeps the hash and the escapes.
    plain = [
        (name, one) for name, one in zip(names, shown, strict=True) if "$" not in one and ".." not in one
    ]
    assert len(plain) > 5
    for name, one in plain:
        expected = re.sub(r"::h[0-9a-f]{16}$", "", one)
        assert readable(name).replace("> >", ">>") == expected.replace("> >", ">>")


PLACED = {
    "JS:*spin /srv/app.js:12:3": Placed("spin", "/srv/app.js", 12),
    "LazyCompile:~spin /srv/app.js:12": Placed("spin", "/srv/app.js", 12),
    "JS:^requireBuiltin node:internal/bootstrap/realm:420:24": Placed(
        "requireBuiltin", "node:internal/bootstrap/realm", 420
    ),
    "JS:~ /srv/my app.js:1:1": Placed("(anonymous)", "/srv/my app.js", 1),
    "py::Cart.price:/srv/app.py": Placed("Cart.price", "/srv/app.py", 0),
    "py::<module>:<string>": Placed("<module>", "<string>", 0),
    "JS:*spin /srv/app.js": None,
    "JS:*spin": None,
    "py::spin": None,
    "spin": None,
}


@pytest.mark.parametrize("name", PLACED)
def test_names_with_a_place(name: str) -> None:
    assert placed(name) == PLACED[name]


def test_who_keeps_raw_names() -> None:
    for one, expected in (
        (Input(b""), "foo(int)"),
        (Input(b"", raw_names=True), "_Z3fooi"),
        (Input(b"", rules="pyroscope"), "_Z3fooi"),
    ):
        assert name_reader(one).read("_Z3fooi") == expected
    apart = name_reader(Input(b"")).without_place()
    assert [apart.read(name) for name in ("JS:*spin /srv/app.js:12:3", "_Z3fooi", "main")] == [
        "spin",
        "foo(int)",
        "main",
    ]
    assert NameReader(raw=True).without_place().read("py::spin:/srv/app.py") == "py::spin:/srv/app.py"


PIECES = st.sampled_from(
    [
        *CPP,
        *OTHERS,
        *UNTOUCHED,
        *"_ZNEISPKRFJXLTBC?$@.;:[]() 0123456789",
        "L",
        ";::",
        "JS:*",
        "] ",
        "_Z",
        "_R",
        "$s",
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=12).map("".join), st.booleans())
def test_columns_are_read_as_single_names_are(name: str, raw: bool) -> None:
    """The names that a column passes over, because of how they begin, are those that do not change."""
    reader = NameReader(raw)
    names = [name, "main", "_Z3fooi"]
    column = pa.array([one.encode("utf-8", "surrogateescape") for one in names], pa.binary())
    texts, shown, system = reader.read_all(column)
    found = [texts[number].as_py().decode("utf-8", "surrogateescape") for number in shown.tolist()]
    assert found == [reader.read(one) for one in names]
    assert [texts[number].as_py() for number in system.tolist()] == column.to_pylist()


def doubled(times: int) -> str:
    """A C++ name in which each type is a pair of the one before."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    numbers = [(digits[at // 36] if at >= 36 else "") + digits[at % 36] for at in range(times)]
    return "_Z1f1AIiiE" + "".join(f"S_IS{number}_S{number}_E" for number in numbers)


HOSTILE = {
    "doubled": doubled(20),
    "doubled often": doubled(60),
    "doubled rust": "_RINvC1a1fTllETB7_B7_ETBb_Bb_ETBj_Bj_ETBr_Br_ETBz_Bz_ETBH_BH_ETBP_BP_E" + "E",
    "pointers": "_Z1f" + "P" * 4000 + "i",
    "templates": "_Z" + "1fI" * 1300 + "i" + "E" * 80 + "vv",
    "functions": "_Z1f" + "PF" * 1300 + "v" + "vE" * 600,
    "expressions": "_Z1fIX" + "ng" * 1900 + "Li1EEEvv",
    "locals": "_Z" + "Z" * 1300 + "1fv" + "E1x" * 800,
    "references": "_RINvC1a1f" + "R" * 3900 + "lE",
    "tuples": "_RINvC1a1f" + "T" * 1900 + "l" + "E" * 1900,
    "msvc": "?f@@YAX" + "PEA" * 1200 + "H@Z",
    "msvc templates": "??" + "$f@V?" * 700 + "$f@H@@@@YAXXZ",
    "swift": "$s4main" + "Sg" * 1900 + "D",
    "swift tuples": "$s1a1bV" + "_tm" * 1300 + "D",
    "java": "L" + "a;" * 2000 + "::",
    "dotnet": "[a] " * 1000 + "::(",
    "dotnet end": "[a] b::c(" + ")[a" * 1300,
    "v8": "JS:*" + "a:1" * 1300,
    "python": "py::" + "a:" * 2000,
    "long": "_Z" + "1a" * 10**6,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_names_made_to_do_harm(kind: str) -> None:
    name = HOSTILE[kind]
    readable("_Z1fv")
    begun = time.process_time()
    shown = readable(name)
    placed(name)
    NameReader(raw=False).read_all(pa.array([name.encode()], pa.binary()))
    assert time.process_time() - begun < 1
    assert shown == name or len(shown) <= MAX_SHOWN


@given(st.sampled_from([*CPP, *OTHERS, *HOSTILE.values()]), st.data())
def test_spoilt_names_are_read_or_stay(name: str, data: st.DataObject) -> None:
    name = name[:4000]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(name)))
        cut = data.draw(st.integers(0, 20))
        name = name[:at] + data.draw(PIECES) * data.draw(st.integers(0, 50)) + name[at + cut :]
    shown = readable(name)
    assert shown == name or 0 < len(shown) <= MAX_SHOWN
