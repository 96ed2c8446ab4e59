"""The controller for hosts with an engine of their own."""

from __future__ import annotations

import math
import unittest

from common import foretoken

from foretoken.controller import Controller, Costs, Draft, DraftPass, Feature, Outcome, Request

FLAT = Costs([1, 64], [1000, 1000])
STEEP = Costs([1, 64], [1000, 64000])
CHEAP = Costs([1, 64], [10, 10])


def requests(count: int, **values: object) -> list[Request]:
    return [Request(id=1 + index, context=100, room=32, draft_backlog=1, **values) for index in range(count)]


def drafts(length: int, count: int = 2) -> list[Draft]:
    return [Draft("model", [Feature(margin=3, probability=0.8)] * length) for _ in range(count)]


class ControllerTests(unittest.TestCase):
    def controller(self, target: Costs = FLAT, draft: Costs | None = CHEAP, **options: object) -> Controller:
        controller = Controller(target, draft, **options)
        self.addCleanup(controller.close)
        return controller

    def test_static_is_always_the_same_length(self) -> None:
        controller = self.controller(STEEP, policy="static", max_draft_tokens=3)
        for _ in range(3):
            wishes = controller.begin(requests(2))
            self.assertEqual([(w.source, w.length, w.limit) for w in wishes], [("model", 3, "length")] * 2)
            self.assertEqual(controller.extend(drafts(1)), [True, True])
            self.assertEqual(controller.extend(drafts(3)), [False, False])
            self.assertEqual(controller.select(drafts(3)), [3, 3])
            controller.commit([Outcome(3, 1, 2), Outcome(3, 3, 4)], target_time_us=1000, draft_time_us=30)

    def test_goodput_follows_the_price_of_rows(self) -> None:
        for target, length in ((FLAT, 16), (STEEP, 0)):
            controller = self.controller(target)
            for _ in range(2):  # a batch is seen plain first
                self.assertEqual([wish.source for wish in controller.begin(requests(2))], [None, None])
                controller.commit([Outcome()] * 2, target_time_us=1000)
            lengths = [wish.length for wish in controller.begin(requests(2, remaining=100))]
            if length > 0:
                self.assertEqual(lengths, [length] * 2)
            else:
                self.assertLessEqual(sum(lengths), 2, "more than a try")

    def test_proposals_and_judgements(self) -> None:
        controller = self.controller(draft=None, policy="static", max_draft_tokens=4)
        found = Draft("suffix", [Feature(probability=1, match_length=9, support=3)] * 6)
        wish = controller.begin([Request(id=7, context=50, room=9, proposals=[found])])[0]
        self.assertEqual((wish.source, wish.length), ("suffix", 4))
        self.assertEqual(controller.select([Draft("suffix", found.features[:4])]), [4])
        controller.commit([Outcome(4, 2, 3, judgements=[(3, 2)])], target_time_us=900)
        controller.forget(7)

    def test_costs_are_learned(self) -> None:
        controller = self.controller(policy="off")
        self.assertEqual(controller.predict(1), 1000)
        self.assertEqual(controller.predict(8, draft=True), 10)
        for _ in range(20):
            controller.begin(requests(1))
            controller.commit([Outcome()], target_time_us=3000)
        self.assertAlmostEqual(controller.predict(1), 3000, delta=1)
        sized = self.controller(Costs(weights_bytes=3 << 30, parameters=3 << 30, kv_bytes_per_token=1 << 16), None)
        self.assertGreater(sized.predict(256), sized.predict(1))
        with self.assertRaises(foretoken.NotFoundError):
            sized.predict(1, draft=True)

    def test_calls_out_of_order(self) -> None:
        controller = self.controller()
        for call in (lambda: controller.extend(drafts(1)), lambda: controller.select(drafts(1)), controller.abandon):
            with self.assertRaises(foretoken.WrongStateError):
                call()
        controller.begin(requests(2))
        with self.assertRaises(foretoken.WrongStateError):
            controller.begin(requests(2))
        controller.abandon()
        with self.assertRaises(foretoken.WrongStateError):
            controller.commit([Outcome()] * 2, target_time_us=1)
        controller.close()
        with self.assertRaises(foretoken.WrongStateError):
            controller.begin(requests(2))

    def test_wrong_values(self) -> None:
        for costs in (
            Costs([2], [1]),
            Costs([1, 1], [1, 1]),
            Costs([1], [math.nan]),
            Costs([1], [-1]),
            Costs(),
            Costs([1]),
        ):
            with self.assertRaises(foretoken.InvalidArgumentError, msg=costs):
                Controller(costs)
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "goodput"):
            Controller(FLAT, policy="goodputt")
        controller = self.controller(policy="static")
        for wrong in (
            [Request(id=-1, context=1, room=1)],
            [Request(id=1, context=2**40, room=1)],
            [Request(id=1, context=1, room=1, needed_tokens=math.nan)],
            [Request(id=1, context=1, room=1, proposals=[Draft("model", [Feature()])])],
            [],
        ):
            with self.assertRaises(foretoken.InvalidArgumentError, msg=wrong):
                controller.begin(wrong)
        for coin in (1, -0.1, math.nan):
            with self.assertRaisesRegex(foretoken.InvalidArgumentError, "coin"):
                controller.begin(requests(1), coin=coin)
        controller.begin(requests(2))
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "draft_count"):
            controller.select(drafts(1, count=3))
        controller.select(drafts(1))
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, r"draft_passes\[0\]"):
            controller.commit([Outcome()] * 2, target_time_us=1, draft_passes=[DraftPass(1, 1, 1, math.inf)])


if __name__ == "__main__":
    unittest.main()
