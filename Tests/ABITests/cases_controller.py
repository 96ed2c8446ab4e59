"""Controllers asked for what they cannot do, and steps that cannot be."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import abi
import children
import controller_scene as scene

BIG = 2**32 - 1
HUGE = 2**64 - 1
NOT_TIMES = [math.nan, math.inf, -math.inf, -1.0, 1e300]

# field: the values that must be refused
OPTIONS: dict[str, list[Any]] = {
    "policy": [-1, 6, 2**31 - 1],
    "max_draft_tokens": [17, BIG],
    "max_step_rows": [0, 2**20 + 1, BIG],
    "overhead_us": NOT_TIMES,
}
COSTS: dict[str, list[Any]] = {
    "width_count": [1025, BIG],
    "per_context_us": NOT_TIMES,
    "per_attended_us": NOT_TIMES,
}
STEP: dict[str, list[Any]] = {
    "prefill_rows": [2**20 + 1, BIG],
    "prefill_context_tokens": [2**63, HUGE],
    "prefill_attended_tokens": [2**63, HUGE],
    "row_budget": [2**20 + 1, HUGE],
    "coin": [math.nan, math.inf, -0.5, 1.0],
    "request_count": [0, 2**16 + 1, HUGE],
}
REQUEST: dict[str, list[Any]] = {
    "is_peculiar": [2, BIG],
    "context_tokens": [2**30 + 1, HUGE],
    "room_tokens": [2**30 + 1, HUGE],
    "draft_backlog_tokens": [101, HUGE],
    "remaining_tokens": [2**30 + 2, HUGE],
    "needed_tokens": NOT_TIMES,
    "target_tpot_us": NOT_TIMES,
    "proposal_count": [5, HUGE],
}
OUTCOME: dict[str, list[Any]] = {
    "verified_tokens": [3, BIG],
    "accepted_tokens": [2, BIG],
    "emitted_tokens": [2**20 + 1, BIG],
    "was_cut": [2, BIG],
    "reserved": [1],
    "judgement_count": [5, HUGE],
}
RESULT: dict[str, list[Any]] = {
    "reserved": [1],
    "outcome_count": [0, 2**16 + 1, HUGE],
    "draft_pass_count": [1025, HUGE],
    "draft_time_us": NOT_TIMES,
    "target_time_us": NOT_TIMES,
    "step_time_us": NOT_TIMES,
}


def cases(library: abi.Library) -> Iterator[children.Case]:
    for name, fields, check in (
        ("options", OPTIONS, create_with),
        ("costs", COSTS, create_with_costs),
        ("step", STEP, begin_with),
        ("request", REQUEST, begin_with_request),
        ("outcome", OUTCOME, commit_with_outcome),
        ("result", RESULT, commit_with),
    ):
        for field, values in fields.items():
            for value in values:
                yield f"ftk_controller_{name}.{field} = {value}", _case(library, check, field, value)
    for function in (
        tables_that_cannot_be,
        sizes_instead_of_a_table,
        features_that_cannot_be,
        drafts_that_were_not_wished_for,
        calls_out_of_order,
        wrong_counts,
        sizes_within_arrays,
        judgements,
        passes,
        predictions,
        static_decisions,
        goodput_decisions,
        every_policy,
        failures_change_nothing,
    ):
        yield function.__name__, partial(function, library)


def _case(library: abi.Library, check: Any, field: str, value: Any) -> Callable[[], None]:
    return lambda: check(library, field, value)


def refuse(library: abi.Library, status: int, *names: str) -> None:
    children.expect(library, status, "INVALID_ARGUMENT", names=names)


def create(library: abi.Library, options: Any) -> int:
    controller = ctypes.c_void_p(1)
    status = library.controller_create(ctypes.byref(options), ctypes.byref(controller))
    assert status == 0 or controller.value is None
    if status == 0:
        library.controller_destroy(controller)
    return int(status)


def create_with(library: abi.Library, field: str, value: Any) -> None:
    refuse(library, create(library, scene.options(library, **{field: value})), field)


def create_with_costs(library: abi.Library, field: str, value: Any) -> None:
    for role in ("target", "draft"):
        costs = scene.costs(library, [1, 2], [1, 2], **({} if field == "width_count" else {field: value}))
        if field == "width_count":
            costs.width_count = value
        refuse(library, create(library, scene.options(library, **{role: costs})), field, role)


def begin(library: abi.Library, controller: Any, step: Any, count: int = 1) -> int:
    wishes = (library.types.structs["ftk_controller_wish"] * count)()
    for wish in wishes:
        wish.length = 77
    status = library.controller_begin(controller, ctypes.byref(step), wishes, count)
    assert status == 0 or all((wish.source, wish.length) == (0, 0) for wish in wishes), "results of a failed call"
    return int(status)


def begin_with(library: abi.Library, field: str, value: Any) -> None:
    controller = scene.Scene(library).controller
    step = scene.step(library, [scene.request(library)])
    setattr(step, field, value)
    refuse(library, begin(library, controller, step), field)


def begin_with_request(library: abi.Library, field: str, value: Any) -> None:
    controller = scene.Scene(library).controller
    step = scene.step(library, [scene.request(library, **{field: value})])
    refuse(library, begin(library, controller, step), field, "requests[0]")


def verifying(library: abi.Library) -> scene.Scene:
    """Two tokens of one request are drafted and to be verified."""
    made = scene.Scene(library, policy=library.constants["FTK_POLICY_STATIC"], max_draft_tokens=2)
    made.begin(1)
    assert made.select([2]) == [2]
    return made


def commit(library: abi.Library, made: scene.Scene, result: Any) -> int:
    return int(library.controller_commit(made.controller, ctypes.byref(result)))


def commit_with_outcome(library: abi.Library, field: str, value: Any) -> None:
    outcome = scene.outcome(library, 1, 1)
    setattr(outcome, field, value)
    made = verifying(library)
    refuse(library, commit(library, made, scene.result(library, [outcome])), field, "outcomes[0]")
    made.commit([(2, 1)])


def commit_with(library: abi.Library, field: str, value: Any) -> None:
    made = verifying(library)
    result = scene.result(library, [scene.outcome(library, 2, 1)])
    setattr(result, field, value)
    refuse(library, commit(library, made, result), field)
    made.commit([(2, 1)])


def tables_that_cannot_be(library: abi.Library) -> None:
    for widths in ([2, 3], [1, 1], [1, 3, 2], [0, 1], [1, 2**20 + 1], [1, BIG]):
        costs = scene.costs(library, widths, [1.0] * len(widths))
        refuse(library, create(library, scene.options(library, target=costs)), "widths", "target")
    for time in (math.nan, math.inf, 0, -1, 1e300):
        costs = scene.costs(library, [1, 2], [1, time])
        refuse(library, create(library, scene.options(library, draft=costs)), "base_us", "draft")
    for field in ("widths", "base_us"):
        costs = scene.costs(library, [1, 2], [1, 2])
        setattr(costs, field, None)
        refuse(library, create(library, scene.options(library, target=costs)), field)
    options = scene.options(library)
    options.target = None
    refuse(library, create(library, options), "target")
    options = scene.options(library)
    options.draft.contents.struct_size = 7
    children.expect(library, create(library, options), "STRUCT_SIZE", names="draft")


def sizes_instead_of_a_table(library: abi.Library) -> None:
    for sizes in ({}, {"weights_bytes": 1}, {"parameters": 1}, {"weights_bytes": HUGE, "parameters": 1}):
        costs = library.new("ftk_controller_costs", **sizes)
        refuse(library, create(library, scene.options(library, target=costs)), "weights_bytes")
    for rows in (1, 2**20):
        costs = library.new("ftk_controller_costs", weights_bytes=2**50, parameters=2**50, kv_bytes_per_token=2**50)
        library.ok(create(library, scene.options(library, target=costs, draft=costs, max_step_rows=rows)))


def features_that_cannot_be(library: abi.Library) -> None:
    for field, value in (
        ("margin", math.nan),
        ("margin", -1),
        ("probability", math.nan),
        ("probability", 1.5),
        ("probability", -0.1),
        ("match_length", -1),
        ("support", -(2**31)),
    ):
        proposal = scene.draft(library, 0, source=1, feature_count=3)
        proposal.features = scene.features(library, 3, **{field: value})
        request = scene.request(library, proposal_count=1)
        request.proposals = ctypes.pointer(proposal)
        status = begin(library, scene.Scene(library).controller, scene.step(library, [request]))
        refuse(library, status, field, "features[0]")
    for values, name in (
        ({"source": 3}, "source"),
        ({"source": 5}, "source"),
        ({"source": -1}, "source"),
        ({"source": 0}, "source"),
        ({"source": 1, "feature_count": 1025}, "feature_count"),
        ({"source": 1, "feature_count": HUGE}, "feature_count"),
    ):
        proposal = scene.draft(library, 0, **{"feature_count": 3, **values})
        proposal.features = scene.features(library, 3)
        request = scene.request(library, proposal_count=1)
        request.proposals = ctypes.pointer(proposal)
        refuse(library, begin(library, scene.Scene(library).controller, scene.step(library, [request])), name)
    twice = scene.request(library, proposal_count=2)
    twice.proposals = (library.types.structs["ftk_controller_draft"] * 2)(
        *[scene.draft(library, 1, source=1) for _ in range(2)]
    )
    refuse(library, begin(library, scene.Scene(library).controller, scene.step(library, [twice])), "proposals[1]")


def ask(library: abi.Library, made: scene.Scene, call: str, drafts: Any, count: int) -> int:
    answers = (ctypes.c_uint32 * 4)(*[77] * 4)
    status = getattr(library, f"controller_{call}")(made.controller, drafts, count, answers)
    if status < 0 and 0 < count <= 4:
        assert list(answers) == [0] * count + [77] * (4 - count), "results of a failed call"
    return int(status)


def drafts_that_were_not_wished_for(library: abi.Library) -> None:
    made = scene.Scene(library, policy=library.constants["FTK_POLICY_STATIC"], max_draft_tokens=2)
    made.begin(2)
    for call in ("extend", "select"):
        for draft, name in (
            (scene.draft(library, 1, source=1), "source"),
            (scene.draft(library, 1, source=9), "source"),
            (scene.draft(library, 1, source=0), "drafts[1]"),
            (scene.draft(library, 3), "feature_count"),
        ):
            drafts = scene.drafts(library, [1, 1])
            drafts[1] = draft
            refuse(library, ask(library, made, call, drafts, 2), name, "drafts[1]")
        for count in (1, 3):
            refuse(library, ask(library, made, call, scene.drafts(library, [1] * count), count), "draft_count")
        for count in (0, 2**16 + 1, HUGE):
            refuse(library, ask(library, made, call, scene.drafts(library, [1]), count), "draft_count")
    assert made.select([1, 2]) == [1, 2]


def calls_out_of_order(library: abi.Library) -> None:
    made = scene.Scene(library, policy=library.constants["FTK_POLICY_STATIC"], max_draft_tokens=2)
    drafts, result = scene.drafts(library, [1]), scene.result(library, [scene.outcome(library)])
    step = scene.step(library, [scene.request(library)])

    def wrong(*calls: str) -> None:
        for call in calls:
            if call in ("extend", "select"):
                status = ask(library, made, call, drafts, 1)
            elif call == "begin":
                status = begin(library, made.controller, step)
            elif call == "commit":
                status = commit(library, made, result)
            else:
                status = library.controller_abandon(made.controller)
            children.expect(library, status, "WRONG_STATE")

    for _ in range(2):
        wrong("extend", "select", "commit", "abandon")
        made.begin(1)
        wrong("begin")
        made.extend([1])
        made.select([2])
        wrong("begin", "extend", "select")
        made.commit([(2, 2)])
    made.begin(1)
    library.ok(library.controller_abandon(made.controller))
    wrong("extend", "select", "commit", "abandon")
    made.begin(1)
    made.commit([(0, 0)])  # nothing was drafted
    for identity in (0, 1, HUGE):
        library.ok(library.controller_forget(made.controller, identity))


def wrong_counts(library: abi.Library) -> None:
    made = scene.Scene(library)
    step = scene.step(library, [scene.request(library)])
    wishes = (library.types.structs["ftk_controller_wish"] * 2)()
    for count in (0, 2, 2**16 + 1, HUGE):
        refuse(library, library.controller_begin(made.controller, ctypes.byref(step), wishes, count), "wish_count")
    same = scene.step(library, [scene.request(library), scene.request(library)])
    refuse(library, begin(library, made.controller, same, 2), "id", "requests[1]")
    no_model = scene.options(library)
    no_model.draft = None
    controller = ctypes.c_void_p()
    library.ok(library.controller_create(ctypes.byref(no_model), ctypes.byref(controller)))
    refuse(library, begin(library, controller, step), "draft_backlog_tokens")
    library.controller_destroy(controller)


def sizes_within_arrays(library: abi.Library) -> None:
    made = scene.Scene(library, policy=library.constants["FTK_POLICY_STATIC"], max_draft_tokens=2)
    for index in range(2):
        requests = [scene.request(library, id=1 + at) for at in range(2)]
        requests[index].struct_size += 8
        status = begin(library, made.controller, scene.step(library, requests), 2)
        children.expect(library, status, "STRUCT_SIZE", names=f"requests[{index}]")
    made.begin(2)
    for index in range(2):
        drafts = scene.drafts(library, [1, 1])
        drafts[index].struct_size = 0
        children.expect(library, ask(library, made, "select", drafts, 2), "STRUCT_SIZE", names=f"drafts[{index}]")
        outcomes = [scene.outcome(library) for _ in range(2)]
        outcomes[index].struct_size = BIG
        status = commit(library, made, scene.result(library, outcomes))
        children.expect(library, status, "STRUCT_SIZE", names=f"outcomes[{index}]")


def judgements(library: abi.Library) -> None:
    made = scene.Scene(library, policy=library.constants["FTK_POLICY_GOODPUT"])
    for judged, accepted, holds in (
        (3, 3, True),
        (2, 1, True),
        (0, 0, True),
        (4, 3, False),
        (3, 1, False),
        (1, 2, False),
    ):
        proposal = scene.draft(library, 3, source=2)
        request = scene.request(library, draft_backlog_tokens=0, proposal_count=1)
        request.proposals = ctypes.pointer(proposal)
        library.ok(begin(library, made.controller, scene.step(library, [request])))
        outcome = scene.outcome(library, judgement_count=1)
        element = library.types.structs["ftk_controller_judgement"]
        outcome.judgements = (element * 1)(element(judged, accepted))
        status = commit(library, made, scene.result(library, [outcome]))
        if holds:
            library.ok(status)
        else:
            refuse(library, status, "judgements[0]")
            library.ok(library.controller_abandon(made.controller))


def passes(library: abi.Library) -> None:
    element = library.types.structs["ftk_controller_pass"]
    for values, name in (
        ((BIG, 1, 1, 1.0), "requests"),
        ((1, BIG, 1, 1.0), "rows"),
        ((1, 1, HUGE, 1.0), "context_tokens"),
        ((1, 1, 1, math.nan), "time_us"),
        ((1, 1, 1, -1.0), "time_us"),
    ):
        made = verifying(library)
        result = scene.result(library, [scene.outcome(library, 2, 1)], draft_pass_count=1)
        result.draft_passes = (element * 1)(element(*values))
        refuse(library, commit(library, made, result), name, "draft_passes[0]")
        made.commit([(2, 1)])


def predictions(library: abi.Library) -> None:
    costs = scene.costs(library, [1, 3], [100, 120], per_context_us=0.5, per_attended_us=0.25)
    made, time = scene.Scene(library, target=costs), ctypes.c_double(77)
    library.ok(library.controller_predict(made.controller, 0, 2, 10, 20, ctypes.byref(time)))
    assert time.value == 120, time.value
    library.ok(library.controller_predict(made.controller, 1, 2, HUGE, HUGE, ctypes.byref(time)))
    assert time.value == 10, time.value
    library.ok(library.controller_predict(made.controller, 0, BIG, HUGE, HUGE, ctypes.byref(time)))
    refuse(library, library.controller_predict(made.controller, 0, 0, 1, 1, ctypes.byref(time)), "rows")
    assert time.value == 0
    refuse(library, library.controller_predict(made.controller, 2, 1, 1, 1, ctypes.byref(time)), "is_draft")


def static_decisions(library: abi.Library) -> None:
    made = scene.Scene(library, policy=library.constants["FTK_POLICY_STATIC"], max_draft_tokens=5)
    rooms = [32, 5, 4, 0]
    requests = [scene.request(library, id=index, room_tokens=room) for index, room in enumerate(rooms)]
    wishes = (library.types.structs["ftk_controller_wish"] * 4)()
    step = scene.step(library, requests)
    library.ok(library.controller_begin(made.controller, ctypes.byref(step), wishes, 4))
    limits = [library.constants[f"FTK_CONTROLLER_LIMIT_{name}"] for name in ("LENGTH", "LENGTH", "END", "END")]
    assert [wish.length for wish in wishes] == [5, 5, 4, 0]
    assert [wish.source for wish in wishes] == [3, 3, 3, 0]
    assert [wish.limit for wish in wishes] == limits, [wish.limit for wish in wishes]
    assert made.extend([5, 4, 4, 0]) == [0, 1, 0, 0]
    assert made.select([5, 5, 4, 0]) == [5, 5, 4, 0]


def goodput_decisions(library: abi.Library) -> None:
    """Rows that cost nothing are worth any draft, rows that cost a pass none."""
    for base, length in ((1000, 16), (64000, 0)):
        costs = scene.costs(library, [1, 64], [1000, base])
        made = scene.Scene(library, target=costs)
        # It begins with plain steps, to know what those cost.
        for _ in range(2):
            assert [wish.length for wish in made.begin(2)] == [0, 0]
            made.select([0, 0])
            made.commit([(0, 0)] * 2)
        lengths = [wish.length for wish in made.begin(2)]
        # What does not pay is tried at most, with one request.
        assert lengths == [16, 16] if length else sum(lengths) <= 2, lengths
        assert not length or made.select([4, 4]) == [4, 4]


def every_policy(library: abi.Library) -> None:
    """Steps of changing batches, whatever is decided."""
    for policy in range(6):
        made = scene.Scene(library, policy=policy)
        for number in range(120):
            wishes = made.begin(1 + number % 7, coin=number * 0.37 % 1)
            drafted = [min(wish.length, number % 5) for wish in wishes]
            made.extend(drafted)
            lengths = made.select(drafted)
            assert all(chosen <= had for chosen, had in zip(lengths, drafted))
            assert policy != library.constants["FTK_POLICY_OFF"] or not any(drafted)
            made.commit([(chosen, chosen * (number % 3) // 2) for chosen in lengths])
            library.ok(library.controller_forget(made.controller, number % 9))
        library.controller_destroy(made.controller)


def failures_change_nothing(library: abi.Library) -> None:
    """A controller that was told nonsense between the calls decides like one that was not."""
    calm, troubled = scene.Scene(library), scene.Scene(library)
    bad = scene.step(library, [scene.request(library)], coin=math.nan)
    for number in range(60):
        refuse(library, begin(library, troubled.controller, bad), "coin")
        pairs = [[(wish.source, wish.length, wish.limit) for wish in made.begin(3)] for made in (calm, troubled)]
        assert pairs[0] == pairs[1], number
        refuse(library, ask(library, troubled, "select", scene.drafts(library, [1]), 1), "draft_count")
        drafted = [min(length, 2 + number % 4) for _, length, _ in pairs[0]]
        lengths = calm.select(drafted)
        assert troubled.select(drafted) == lengths, number
        wrong = scene.result(library, [scene.outcome(library)] * 3, target_time_us=math.nan)
        refuse(library, commit(library, troubled, wrong), "target_time_us")
        for made in (calm, troubled):
            made.commit([(length, length // 2) for length in lengths])
