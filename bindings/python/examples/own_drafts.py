"""Drafts of the caller's own: a program that knows what is likely to come makes it come faster.

    python3 own_drafts.py [MODEL]

An editor has a completion on the screen; the user goes back, deletes a line, and asks again. Much of the new completion will
be the old one. So the old one is offered as a draft, and offered again where the new one has come back to it after going another
way. The texts with and without drafts are the same; the passes of the model are not.
"""

from __future__ import annotations

import sys

import foretoken

CODE = "import sys\n\n\nclass Reader:\n    def __init__(self, path):\n        self.path = path\n"
OLD = "import os\n" + CODE
NEW = CODE
LENGTH = 96


def resume(expected: list[int], output: list[int]) -> int:
    """The place in `expected` where the latest three tokens of the output have just been; its end where they are not."""
    latest = output[-3:]
    return next((at for at in range(3, len(expected)) if expected[at - 3 : at] == latest), len(expected))


def complete(engine: foretoken.Engine, prompt: str, expected: list[int]) -> tuple[list[int], int]:
    """The tokens of a completion, and the passes that it took."""
    request = engine.submit(prompt, max_tokens=LENGTH, temperature=0, ignore_eos=True)
    request.draft(expected)
    output: list[int] = []
    at = 0  # expected[at:] is on offer
    passes = 0
    for chunk in request:
        for token in chunk.tokens:
            output.append(token)
            if at < len(expected) and expected[at] == token:
                at += 1
            else:
                at = resume(expected, output)
                request.draft(expected[at:], position=len(output))
        if chunk.stats is not None:
            passes = chunk.stats.steps
    return output, passes


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else foretoken.bundled("target")
    options = {"policy": "static", "draft_tokens": 8, "background": False}  # no step goes by while a draft is thought of
    with foretoken.Model(path) as model, foretoken.Engine(model, **options) as engine:
        old, _ = complete(engine, OLD, [])
        plain, without = complete(engine, NEW, [])
        drafted, with_drafts = complete(engine, NEW, old)
        assert drafted == plain
        print(f"{len(plain)} tokens: {without} passes alone, {with_drafts} with the old completion as a draft")


if __name__ == "__main__":
    main()
