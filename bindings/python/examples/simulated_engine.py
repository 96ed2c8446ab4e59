"""An engine that is only simulated, and how far the controller lets it speculate as its load grows.

    python3 simulated_engine.py [POLICY]

A host with models of its own does the same: it describes its step, drafts and verifies as far as the controller says, and
tells what came of it. Here a pass takes what a formula says, and a drafted token is accepted by chance.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass

from foretoken.controller import Controller, Costs, Draft, DraftPass, Feature, Outcome, Request

WIDTHS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
CONTEXT = 500  # tokens of every request
STEPS = 300


def target_time(rows: int) -> float:
    """Microseconds: sixteen rows for little more than one, then every row costs."""
    return 20_000 + 100 * rows + 1_500 * max(0, rows - 16)


def draft_time(rows: int) -> float:
    return 1_500 + 60 * rows


@dataclass
class Model:
    """Whether a drafted token is accepted: the draft model knows its better guesses by their margin."""

    chance: random.Random

    def token(self) -> tuple[Feature, bool]:
        margin = self.chance.expovariate(0.3)
        likely = 1 - 0.5 * 2.0 ** (-margin)
        return Feature(margin=margin, probability=likely), self.chance.random() < likely


def step(controller: Controller, model: Model, number: int, batch: int) -> tuple[int, float, float]:
    """One step of `batch` requests: tokens, microseconds, and the mean length of what was verified."""
    requests = [Request(id=1 + index, context=CONTEXT, room=64, draft_backlog=1) for index in range(batch)]
    coin = number * 0.618033988749895 % 1
    wishes = controller.begin(requests, row_budget=256, coin=coin)
    tokens: list[list[tuple[Feature, bool]]] = [[] for _ in requests]
    passes: list[DraftPass] = []

    def drafts() -> list[Draft | None]:
        return [
            Draft(wish.source, [pair[0] for pair in own]) if wish.source else None for wish, own in zip(wishes, tokens)
        ]

    going = [wish.source == "model" for wish in wishes]
    while any(going):
        for index, goes_on in enumerate(going):
            if goes_on:
                tokens[index].append(model.token())
        count = sum(going)
        passes.append(DraftPass(count, count, count * CONTEXT, draft_time(count)))
        answers = controller.extend(drafts())
        going = [before and answer for before, answer in zip(going, answers)]

    lengths = controller.select(drafts())
    outcomes = []
    for own, length in zip(tokens, lengths):
        accepted = 0
        while accepted < length and own[accepted][1]:
            accepted += 1
        outcomes.append(Outcome(verified=length, accepted=accepted, emitted=accepted + 1))
    drafting = sum(one.time_us for one in passes)
    verifying = target_time(batch + sum(lengths))
    controller.commit(outcomes, target_time_us=verifying, draft_time_us=drafting, draft_passes=passes)
    return sum(outcome.emitted for outcome in outcomes), drafting + verifying, sum(lengths) / batch


def main() -> None:
    policy = sys.argv[1] if len(sys.argv) > 1 else "goodput"
    print(f"policy {policy}\nrequests  length  tokens/s  plain")
    target = Costs(WIDTHS, [target_time(width) for width in WIDTHS])
    draft = Costs(WIDTHS, [draft_time(width) for width in WIDTHS])
    for batch in (1, 2, 4, 8, 16, 32, 64):
        model = Model(random.Random(batch))
        with Controller(target, draft, policy=policy) as controller:
            results = [step(controller, model, number, batch) for number in range(STEPS)]
        emitted, time = sum(result[0] for result in results), sum(result[1] for result in results)
        length = sum(result[2] for result in results) / STEPS
        plain = batch / target_time(batch) * 1e6
        print(f"{batch:8}  {length:6.2f}  {emitted / time * 1e6:8.0f}  {plain:5.0f}")


if __name__ == "__main__":
    main()
