"""The header compiles alone, in every language that it promises, and says what its own rules demand."""

from __future__ import annotations

import itertools
import re
import unittest

import support

LANGUAGES = [("cc", "c99"), ("cc", "c11"), ("c++", "c++17")]


def binary_interface() -> list[str]:
    """Functions with their types, fields with their places, and values of constants, a line each."""
    parsed = support.parsed_header()
    lines = []
    for function in parsed.functions.values():
        parameters = ", ".join(parameter.type for parameter in function.parameters)
        lines.append(f"function {function.name}({parameters}) -> {function.result}")
    for name, struct in support.abi.Types(parsed).structs.items():
        for field in struct._fields_:
            descriptor = getattr(struct, field[0])
            lines.append(f"field {name}.{field[0]} at {descriptor.offset}, {descriptor.size} bytes")
        lines.append(f"struct {name}: {support.abi.ctypes.sizeof(struct)} bytes")
    lines += [f"constant {name} = {value}" for name, value in parsed.constants.items()]
    lines += [f'constant {name} = "{value}"' for name, value in parsed.texts.items()]
    return sorted(lines)


class HeaderTests(support.ScratchCase):
    def test_compiles_alone(self) -> None:
        for (compiler, standard), header in itertools.product(LANGUAGES, support.HEADERS):
            with self.subTest(standard=standard, header=header.name):
                source = self.scratch / ("alone.cpp" if compiler == "c++" else "alone.c")
                source.write_text(f"#include <foretoken/{header.name}>\n" * 2 + "int unused;\n")
                flags = [f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
                include = f"-I{support.HEADER.parents[1]}"
                result = support.run([support.tool(compiler), *flags, include, str(source)])
                self.assertEqual(result.returncode, 0, result.stderr)

    def test_names_have_the_prefix(self) -> None:
        parsed = support.parsed_header()
        for name in [*parsed.functions, *parsed.structs, *parsed.handles, *parsed.callbacks, *parsed.aliases]:
            self.assertTrue(name.startswith("ftk_"), name)
        for name in [*parsed.constants, *parsed.texts]:
            self.assertTrue(name.startswith("FTK_"), name)

    def test_structs_that_may_grow_start_with_their_size(self) -> None:
        # Fixed for ever: elements of arrays.
        elements = {"ftk_logit_bias"}
        elements |= {f"ftk_controller_{name}" for name in ("feature", "wish", "judgement", "pass")}
        for struct in support.parsed_header().structs.values():
            if struct.name not in elements:
                first = struct.fields[0]
                self.assertEqual((first.type, first.name), ("uint32_t", "struct_size"), struct.name)

    def test_structs_have_no_padding(self) -> None:
        """Padding would hide from the rule that every byte of a struct means something."""
        types = support.abi.Types(support.parsed_header())
        for name, struct in types.structs.items():
            end = 0
            for field in struct._fields_:
                descriptor = getattr(struct, field[0])
                self.assertEqual(descriptor.offset, end, f"{name}.{field[0]}")
                end += descriptor.size
            self.assertEqual(support.abi.ctypes.sizeof(struct), end, name)

    def test_binary_interface_is_the_recorded_one(self) -> None:
        """A compiled host keeps working as long as abi.txt only grows: functions, and the places of fields and values.
        A change that is meant is recorded by writing the new listing into the file."""
        recorded = (support.HERE / "abi.txt").read_text().splitlines()
        self.assertEqual(binary_interface(), recorded)

    def test_error_codes_are_distinct_and_negative(self) -> None:
        errors = {n: v for n, v in support.parsed_header().constants.items() if n.startswith("FTK_ERROR_")}
        self.assertEqual(len(set(errors.values())), len(errors))
        self.assertTrue(all(value < 0 for value in errors.values()))

    def test_every_option_struct_has_an_init_macro(self) -> None:
        parsed = support.parsed_header()
        options = [name for name in parsed.structs if name.endswith("_options")]
        for name in options:
            self.assertRegex(parsed.macros[f"{name}_init"], rf"^{name}_init_sized\(")
            self.assertIn(f"{name}_init_sized", parsed.functions)

    def test_every_default_is_named(self) -> None:
        """Each option says its default, but for the inputs, which have none."""
        text = "".join(header.read_text(encoding="utf-8") for header in support.HEADERS)
        for name in ("ftk_model_options", "ftk_engine_options", "ftk_controller_options"):
            body = re.search(rf"typedef struct {name} \{{(.*?)\}} {name};", text, re.DOTALL)
            assert body is not None
            for field, comment in re.findall(r"(\w+);\s*(?:/\*(.*?)\*/)?", body.group(1), re.DOTALL):
                if field != "struct_size" and "user_data" not in field:
                    self.assertIn("Default", comment, f"{name}.{field}")


if __name__ == "__main__":
    unittest.main()
