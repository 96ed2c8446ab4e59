"""The command `ftk quantize` from outside: files, messages, exit codes and what is left behind."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import unittest
from pathlib import Path

import gguf
import support

IN_CREATE = 0x100


class QuantizeTests(support.ScratchCase):
    def setUp(self) -> None:
        super().setUp()
        self.ftk = str(support.prefix() / "bin" / "ftk")
        self.target = self.scratch / "out.gguf"

    def quantize(self, source: str | Path, kind: str, *more: str, **options: object) -> subprocess.CompletedProcess[str]:
        return support.run([self.ftk, "quantize", str(source), str(self.target), kind, *more], **options)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.scratch.iterdir())

    def refused(self, result: subprocess.CompletedProcess[str], words: str, left: list[str]) -> None:
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn(words, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertEqual(self.left(), left)

    def test_every_type_generates_text(self) -> None:
        for kind in ("Q8_0", "q4_0", "Q4_K_M", "Q5_K_M", "q6_k", "F16"):
            with self.subTest(kind):
                result = self.quantize(support.DRAFT, kind, "--force", "--json")
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertEqual(result.stderr, "")
                report = json.loads(result.stdout)
                self.assertEqual(report["output"], str(self.target))
                self.assertEqual(report["quantization"].lower(), kind.lower())
                self.assertEqual(report["input_bytes"], os.path.getsize(support.DRAFT))
                self.assertEqual(report["output_bytes"], os.path.getsize(self.target))
                for entry in report["types"]:
                    self.assertGreater(entry["tensors"], 0)
                    self.assertLess(entry["relative_rms_error"], 0.12)
                run = support.run([self.ftk, "run", "-m", str(self.target), "-p", "def main():", "-n", "4", "--json"])
                self.assertEqual(json.loads(run.stdout)["usage"]["completion_tokens"], 4)
                self.assertEqual(self.left(), ["out.gguf"])

    def test_the_line_for_people_names_sizes_and_types(self) -> None:
        result = self.quantize(support.DRAFT, "Q4_0", "-t", "1")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"^.*out\.gguf: 2\.2 to 1\.\d MB, tensors: .*\d+ Q4_0 \(error \d\.\d\d%\)")

    def test_existing_files_need_force(self) -> None:
        self.target.write_bytes(b"mine")
        self.refused(self.quantize(support.DRAFT, "Q8_0"), "exists; --force replaces it", ["out.gguf"])
        self.assertEqual(self.target.read_bytes(), b"mine")
        self.assertEqual(self.quantize(support.DRAFT, "Q4_0", "--force").returncode, 0)
        self.assertEqual(self.target.read_bytes()[:4], b"GGUF")

    def test_the_input_is_never_overwritten(self) -> None:
        source = self.scratch / "in.gguf"
        source.write_bytes(Path(support.DRAFT).read_bytes())
        self.target.symlink_to(source)
        self.refused(self.quantize(source, "Q8_0", "--force"), "would overwrite", ["in.gguf", "out.gguf"])
        self.assertEqual(source.read_bytes(), Path(support.DRAFT).read_bytes())

    def test_bad_arguments(self) -> None:
        self.assertEqual(self.quantize(support.DRAFT, "Q5_K_S").returncode, 64)
        self.refused(self.quantize(support.DRAFT, "Q8_0", "-t", "513"), "--threads is 513", [])
        self.refused(self.quantize(self.scratch, "Q8_0"), "only GGUF files", [])
        self.refused(self.quantize(self.scratch / "missing", "Q8_0"), "cannot open", [])
        self.target = self.scratch / "missing" / "out.gguf"
        self.refused(self.quantize(support.DRAFT, "Q8_0"), "No such file or directory", [])

    def test_errors_are_json_too(self) -> None:
        result = self.quantize(self.scratch / "missing", "Q8_0", "--json")
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot open", json.loads(result.stdout)["error"]["message"])

    def test_a_write_that_fails_leaves_nothing(self) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

        result = self.quantize(support.DRAFT, "Q8_0", preexec_fn=limit)
        self.refused(result, f"cannot write {self.target}.partial: File too large", [])

    def watch_scratch(self) -> int:
        """A descriptor that can be read when a file is made in the folder (inotify(7))."""
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.inotify_init1(os.O_CLOEXEC)
        self.assertGreaterEqual(descriptor, 0)
        self.addCleanup(os.close, descriptor)
        self.assertGreaterEqual(libc.inotify_add_watch(descriptor, os.fsencode(self.scratch), IN_CREATE), 0)
        return descriptor

    def wait_for_partial(self, created: int, child: subprocess.Popen[str]) -> None:
        """Until the command writes its file, or ends: then its output does."""
        ready, _, _ = select.select([created, child.stdout], [], [])
        self.assertEqual(ready, [created], "the command ended before it wrote anything")
        self.assertTrue(Path(f"{self.target}.partial").exists())

    def test_an_interrupt_leaves_nothing(self) -> None:
        source = self.scratch / "large.gguf"
        write_large_model(source)
        command = [self.ftk, "quantize", str(source), str(self.target), "Q6_K"]
        created = self.watch_scratch()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            self.wait_for_partial(created, child)
            child.send_signal(signal.SIGINT)
            output, errors = child.communicate()
        self.assertEqual(child.returncode, 130, errors)
        self.assertIn("interrupted", errors)
        self.assertEqual(output, "")
        self.assertEqual(self.left(), ["large.gguf"])


def write_large_model(path: Path) -> None:
    """Four gigabytes of zeros as an embedding, as a hole in the file: enough work to be interrupted in."""
    file, _ = gguf.read(support.DRAFT)
    kept = {key: value for key, value in file.metadata.items() if not key.startswith("tokenizer.")}
    kept.pop("llama.vocab_size", None)
    width = kept["llama.embedding_length"].value
    rows = (1 << 30) // width
    embedding = gguf.Tensor("token_embd.weight", [width, rows], gguf.F32, b"")
    head = gguf.write(gguf.File(metadata=kept, tensors=[embedding]))
    with path.open("wb") as target:
        target.write(head)
        target.truncate(len(head) + 4 * width * rows)


if __name__ == "__main__":
    unittest.main()
