"""C programs that look at the process: what engines leave behind, and what polling allocates."""

from __future__ import annotations

import re
import unittest

import programs
import support

# Random weights and 319 tokens: small enough for valgrind.
FIXTURE = str(support.ROOT / "Tests" / "ModelTests" / "Fixtures" / "models" / "llama2" / "model.gguf")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"]


class EndingTests(programs.ProgramCase):
    """Engines of both run modes that are destroyed at random steps."""

    def check(self, output: str, engines: int) -> None:
        self.assertEqual(output, f"{engines} engines, 0 descriptors and 0 threads left\n")

    def test_a_thousand_engines_leave_nothing_behind(self) -> None:
        program = self.build(support.HERE / "endings.c", *STRICT)
        self.check(self.execute(program, support.DRAFT, "1000", "1"), 1000)

    def test_a_thousand_engines_leak_nothing(self) -> None:
        probe = self.scratch / "probe.c"
        probe.write_text("int main(void) { return 0; }\n", encoding="utf-8")
        detector = "-fsanitize=leak"
        built = support.run([support.tool("cc"), detector, str(probe), "-o", str(self.scratch / "probe")])
        if built.returncode != 0 or support.run([str(self.scratch / "probe")]).returncode != 0:
            self.skipTest("LeakSanitizer does not work here")
        program = self.build(support.HERE / "endings.c", *STRICT, detector)
        self.check(self.execute(program, FIXTURE, "1000", "2"), 1000)

    def test_engines_are_clean_under_valgrind(self) -> None:
        program = self.build(support.HERE / "endings.c", *STRICT)
        self.check(self.execute_under_valgrind(program, FIXTURE, "200", "3"), 200)


class PollingTests(programs.ProgramCase):
    def test_polling_copies_nothing_of_the_size_of_the_vocabulary(self) -> None:
        program = self.build(support.HERE / "polling.c", *STRICT)
        most = {}
        for model, vocabulary in ((FIXTURE, 319), (support.TARGET, 4096)):
            found = re.fullmatch(r"50 tokens, at most (\d+) bytes\n", self.execute(program, model))
            assert found is not None
            most[vocabulary] = int(found[1])
        # Not even one byte for each token; what is allocated goes with the text, which differs by a few bytes.
        self.assertGreater(most[4096], 0)
        self.assertLess(most[4096], 4096)
        self.assertLess(abs(most[4096] - most[319]), 128)


if __name__ == "__main__":
    unittest.main()
