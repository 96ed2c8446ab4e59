"""_abi.py and foretoken.h, and the same of the controller, say the same, in both directions."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from common import ROOT, foretoken

from foretoken import _abi, _controller_abi
from foretoken._library import library
from foretoken.errors import _BY_STATUS

sys.path.append(str(ROOT / "Tests" / "ABITests"))

import abi
import header

HEADERS = [ROOT / "include" / "foretoken" / name for name in ("foretoken.h", "controller.h")]
OURS = {**vars(_abi), **vars(_controller_abi)}
FUNCTIONS = {**_abi.FUNCTIONS, **_controller_abi.FUNCTIONS}


def shape(ctype: Any) -> str:
    """A ctype as text; c_char_p and POINTER(c_char) are the same C type."""
    if ctype is None:
        return "void"
    if ctype is ctypes.c_char_p:
        return "char*"
    if ctype is ctypes.c_void_p:
        return "void*"
    if issubclass(ctype, ctypes.Structure):
        return ctype.__name__
    if issubclass(ctype, ctypes.Array):
        return f"{shape(ctype._type_)}[{ctype._length_}]"
    if issubclass(ctype, ctypes._Pointer):
        return shape(ctype._type_) + "*"
    if issubclass(ctype, ctypes._CFuncPtr):
        return f"{shape(ctype._restype_)}({', '.join(shape(each) for each in ctype._argtypes_)})"
    return "char" if ctype is ctypes.c_char else f"{ctype._type_}{ctypes.sizeof(ctype)}"


class ABITests(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.header = header.read(*map(str, HEADERS))
        cls.types = abi.Types(cls.header)

    def test_constants(self) -> None:
        ours = {name: value for name, value in OURS.items() if name.startswith("FTK_")}
        self.assertEqual(ours, {**self.header.constants, **self.header.texts})

    def test_functions(self) -> None:
        self.assertEqual(list(FUNCTIONS), list(self.header.functions))
        for name, function in self.header.functions.items():
            result, parameters = FUNCTIONS[name]
            self.assertEqual(shape(result), shape(self.types.of(function.result)), name)
            expected = [shape(self.types.of(parameter.type)) for parameter in function.parameters]
            self.assertEqual([shape(parameter) for parameter in parameters], expected, name)

    def test_callbacks(self) -> None:
        for name in self.header.callbacks:
            self.assertEqual(shape(getattr(_abi, name)), shape(self.types.of(name)), name)

    def test_structs(self) -> None:
        ours = {name for name, value in OURS.items() if isinstance(value, type(ctypes.Structure))}
        self.assertEqual(ours, set(self.header.structs))
        for name, expected in self.types.structs.items():
            struct = OURS[name]
            self.assertEqual(
                [(field[0], shape(field[1])) for field in struct._fields_],
                [(field[0], shape(field[1])) for field in expected._fields_],
                name,
            )

    def test_layouts_are_those_of_the_compiler(self) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            self.skipTest("no C compiler")
        fields = [(name, field.name) for name, struct in self.header.structs.items() for field in struct.fields]
        lines = [
            *(f"#include <foretoken/{path.name}>" for path in HEADERS),
            "#include <stdio.h>",
            "int main(void) {",
            *(f'    printf("{name} %zu\\n", sizeof({name}));' for name in self.header.structs),
            *(
                f'    printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));'
                for name, field in fields
            ),
            "    return 0;",
            "}",
        ]
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder) / "probe.c", Path(folder) / "probe"
            source.write_text("\n".join(lines), encoding="utf-8")
            subprocess.run([compiler, f"-I{HEADERS[0].parents[1]}", str(source), "-o", str(program)], check=True)
            printed = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
        expected = [f"{name} {ctypes.sizeof(OURS[name])}" for name in self.header.structs]
        for name, field in fields:
            descriptor = getattr(OURS[name], field)
            expected.append(f"{name}.{field} {descriptor.offset} {descriptor.size}")
        self.assertEqual(printed.splitlines(), expected)

    def test_every_error_has_an_exception(self) -> None:
        errors = {value for name, value in self.header.constants.items() if name.startswith("FTK_ERROR_")}
        self.assertEqual(set(_BY_STATUS), errors)
        for status, exception in _BY_STATUS.items():
            self.assertEqual(exception("text").status, status)

    def test_every_option_and_result_is_there(self) -> None:
        """A field that the header gains must not be forgotten in Python."""
        engine = {name for name, _ in _abi.ftk_engine_options._fields_}
        unseen = ["struct_size", "reserved", "reserved2", "draft_model", "log_user_data"]
        renamed = {"kv_type": "kv", "run_mode": "background", **dict.fromkeys(unseen, "")}
        expected = {renamed.get(name, name) for name in engine} - {""}
        self.assertEqual(set(foretoken.EngineOptions.__annotations__), expected)
        request = {name for name, _ in _abi.ftk_request_options._fields_}
        prompt = {"prompt", "prompt_bytes", "prompt_tokens", "messages"}
        counts = {name for name in request if name.endswith("_count")}
        expected = request - counts - prompt - {"struct_size", "reserved", "reserved2", "reserved3", "user_data"}
        self.assertEqual(set(foretoken.RequestOptions.__annotations__), expected)
        for cls, struct in (
            (foretoken.ModelInfo, _abi.ftk_model_info),
            (foretoken.TokenizerInfo, _abi.ftk_tokenizer_info),
            (foretoken.MemoryPlan, _abi.ftk_memory_plan),
            (foretoken.EngineStats, _abi.ftk_engine_stats),
            (foretoken.RequestStats, _abi.ftk_request_stats),
        ):
            fields = {name for name, _ in struct._fields_} - {"struct_size", "reserved"}
            self.assertEqual(set(cls.__dataclass_fields__), fields, cls.__name__)

    def test_defaults_are_those_of_the_library(self) -> None:
        options = _abi.ftk_engine_options()
        library().ftk_engine_options_init_sized(ctypes.byref(options), ctypes.sizeof(options))
        defaults = foretoken.Engine.__init__.__kwdefaults__
        for name in ("draft_tokens", "threads", "kv_budget_bytes", "context_tokens", "max_running_requests"):
            self.assertEqual(defaults[name], getattr(options, name), name)
        for name in ("max_queued_requests", "max_step_tokens", "tree_width", "profile_us", "profile_folder"):
            self.assertEqual(defaults[name], getattr(options, name), name)

    def test_versions_agree(self) -> None:
        parts = [self.header.constants[f"FTK_VERSION_{part}"] for part in ("MAJOR", "MINOR", "PATCH")]
        version = ".".join(str(part) for part in parts)
        self.assertEqual(foretoken.__version__, version)
        self.assertEqual(foretoken.library_version(), version)


if __name__ == "__main__":
    unittest.main()
