"""Streams and samples."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from common import PROMPT, ModelCase, foretoken


class StreamTests(ModelCase):
    def test_chunks_join_to_the_completion(self) -> None:
        engine = self.engine()
        chunks = list(engine.stream(PROMPT, max_tokens=24, temperature=0))
        whole = engine.generate(PROMPT, max_tokens=24, temperature=0)
        self.assertEqual("".join(chunk.text for chunk in chunks), whole.text)
        self.assertEqual([token for chunk in chunks for token in chunk.tokens], whole.tokens)
        self.assertEqual([chunk.finish_reason for chunk in chunks[:-1]], [None] * (len(chunks) - 1))
        self.assertEqual(chunks[-1].finish_reason, whole.finish_reason)
        self.assertIsNotNone(chunks[-1].stats)

    def assert_cancelled(self, engine: foretoken.Engine, finished: int) -> None:
        """Cancelled within one step: before the next request, which takes steps of its own, has finished."""
        engine.generate("x", max_tokens=4, ignore_eos=True)
        stats = engine.stats()
        self.assertEqual((stats.finished_requests, stats.running_requests), (finished + 1, 0))

    def test_leaving_a_stream_cancels_its_request(self) -> None:
        engine = self.engine()
        for _ in engine.stream(PROMPT, max_tokens=1500, ignore_eos=True):
            break
        self.assert_cancelled(engine, 1)

    def test_closing_a_stream_cancels_its_request(self) -> None:
        engine = self.engine()
        stream = engine.stream(PROMPT, max_tokens=1500, ignore_eos=True)
        next(stream)
        stream.close()
        self.assertEqual(list(stream), [])
        self.assert_cancelled(engine, 1)

    def test_dropping_a_stream_that_never_began_cancels_its_request(self) -> None:
        engine = self.engine()
        stream = engine.stream(PROMPT, max_tokens=1500, ignore_eos=True)
        del stream
        cycle: list[object] = [engine.stream(PROMPT, max_tokens=1500, ignore_eos=True)]
        cycle.append(cycle)
        del cycle
        gc.collect()
        self.assert_cancelled(engine, 2)

    def test_an_exception_in_the_loop_cancels_its_request(self) -> None:
        engine = self.engine()
        with self.assertRaises(KeyError):
            for _ in engine.stream(PROMPT, max_tokens=1500, ignore_eos=True):
                raise KeyError
        self.assert_cancelled(engine, 1)

    def test_cancel_by_id(self) -> None:
        engine = self.engine()
        request = engine.submit(PROMPT, max_tokens=1500, ignore_eos=True)
        engine.cancel(request.id)
        self.assertEqual(request.result().finish_reason, "cancelled")
        with self.assertRaisesRegex(foretoken.NotFoundError, str(request.id)):
            engine.cancel(request.id)
        request.cancel()  # nothing is left to cancel

    def test_streams_of_one_thread_interleave(self) -> None:
        engine = self.engine()
        prompts = [f"def f{index}():\n" for index in range(4)]
        streams = [engine.stream(prompt, max_tokens=12, temperature=0) for prompt in prompts]
        texts = [""] * 4
        for index in (3, 0, 2, 1):
            texts[index] = "".join(chunk.text for chunk in streams[index])
        self.assertEqual(texts, [self.expected(prompt, max_tokens=12, temperature=0) for prompt in prompts])

    def test_a_closed_engine_ends_its_streams(self) -> None:
        for background in (True, False):
            engine = self.engine(background=background)
            stream = engine.stream(PROMPT, max_tokens=1500, ignore_eos=True)
            next(stream)
            engine.close()
            engine.close()
            with self.assertRaisesRegex(foretoken.WrongStateError, "engine is closed"):
                for _ in stream:
                    pass
            with self.assertRaisesRegex(foretoken.WrongStateError, "engine is closed"):
                engine.generate(PROMPT)

    def test_an_abandoned_engine_is_kept_by_its_stream(self) -> None:
        stream = foretoken.Engine(self.model).stream(PROMPT, max_tokens=8, temperature=0)
        gc.collect()
        self.assertEqual("".join(chunk.text for chunk in stream), self.expected(max_tokens=8, temperature=0))


class SampleTests(ModelCase):
    def test_samples_are_a_list(self) -> None:
        engine = self.engine()
        options = {"max_tokens": 16, "temperature": 1.0, "seed": 5}
        samples = engine.submit(PROMPT, n=3, **options).results()
        self.assertEqual([sample.sample_index for sample in samples], [0, 1, 2])
        self.assertEqual(samples[0].tokens, engine.generate(PROMPT, **options).tokens)
        self.assertEqual(len({sample.text for sample in samples}), 3)
        self.assertEqual([sample.stats.seed for sample in samples], [5, 5, 5])
        again = engine.submit(PROMPT, n=3, **options)
        self.assertEqual((again.samples, again.results()[2].tokens), (3, samples[2].tokens))
        self.assertEqual(asyncio.run(self.gather(engine, options)), [sample.tokens for sample in samples])

    async def gather(self, engine: foretoken.Engine, options: dict[str, Any]) -> list[list[int]]:
        return [sample.tokens for sample in await engine.submit(PROMPT, n=3, **options).aresults()]

    def test_chunks_say_whose_they_are(self) -> None:
        for background in (True, False):
            engine = self.engine(background=background)
            options = {"max_tokens": 12, "temperature": 1.0, "seed": 5, "n": 4, "prompt_logprobs": 0}
            chunks = list(engine.stream(PROMPT, **options))
            whole = engine.submit(PROMPT, **options).results()
            for index, sample in enumerate(whole):
                own = [chunk for chunk in chunks if chunk.sample_index == index]
                self.assertEqual([token for chunk in own for token in chunk.tokens], sample.tokens)
                self.assertEqual("".join(chunk.text for chunk in own), sample.text)
                self.assertEqual([chunk.finish_reason is None for chunk in own], [True] * (len(own) - 1) + [False])
                self.assertEqual(sample.prompt_logprobs is None, index > 0)

    def test_one_result_needs_one_sample(self) -> None:
        engine = self.engine()
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, r"n is 2.*results\(\)"):
            engine.generate(PROMPT, n=2, max_tokens=1500, ignore_eos=True)
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, r"n is 2.*results\(\)"):
            asyncio.run(engine.agenerate(PROMPT, n=2, max_tokens=1500, ignore_eos=True))

    def test_leaving_a_stream_cancels_all_samples(self) -> None:
        engine = self.engine()
        for chunk in engine.stream(PROMPT, n=3, max_tokens=1500, ignore_eos=True):
            if chunk.sample_index == 2:
                break
        engine.generate("x", max_tokens=4, ignore_eos=True)
        stats = engine.stats()
        self.assertEqual((stats.finished_requests, stats.running_requests, stats.queued_requests), (4, 0, 0))

    def test_cancelled_samples_have_results(self) -> None:
        request = self.engine().submit(PROMPT, n=3, max_tokens=1500, ignore_eos=True)
        request.cancel()
        self.assertEqual([sample.finish_reason for sample in request.results()], ["cancelled"] * 3)

    def test_salts_keep_prompts_apart(self) -> None:
        engine = self.engine()

        def cached(salt: int | None) -> int:
            return engine.generate(PROMPT * 20, max_tokens=1, cache_salt=salt).stats.cached_tokens

        self.assertEqual([cached(None), cached(1), cached(2**64 - 1)], [0, 0, 0])
        self.assertTrue(all(cached(salt) >= 32 for salt in (None, 0, 1, 2**64 - 1)))
        self.assertEqual(cached(2), 0)
