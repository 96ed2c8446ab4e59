"""controller.h in ctypes, one to one, beside _abi.py.

tests/test_abi.py compares this file with the header in both directions.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_double, c_float, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

from ._abi import ftk_status

FTK_CONTROLLER_SOURCE_NONE = 0
FTK_CONTROLLER_SOURCE_LOOKUP = 1
FTK_CONTROLLER_SOURCE_SUFFIX = 2
FTK_CONTROLLER_SOURCE_MODEL = 3
FTK_CONTROLLER_SOURCE_HOST = 4
FTK_CONTROLLER_LIMIT_GAIN = 0
FTK_CONTROLLER_LIMIT_BUDGET = 1
FTK_CONTROLLER_LIMIT_TARGET = 2
FTK_CONTROLLER_LIMIT_MEMORY = 3
FTK_CONTROLLER_LIMIT_GUARD = 4
FTK_CONTROLLER_LIMIT_END = 5
FTK_CONTROLLER_LIMIT_DRAFTER = 6
FTK_CONTROLLER_LIMIT_LENGTH = 7


class ftk_controller_costs(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("width_count", c_uint32),
        ("widths", POINTER(c_uint32)),
        ("base_us", POINTER(c_double)),
        ("per_context_us", c_double),
        ("per_attended_us", c_double),
        ("weights_bytes", c_uint64),
        ("parameters", c_uint64),
        ("kv_bytes_per_token", c_uint64),
    ]


class ftk_controller_options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("policy", c_int32),
        ("max_draft_tokens", c_uint32),
        ("max_step_rows", c_uint32),
        ("target", POINTER(ftk_controller_costs)),
        ("draft", POINTER(ftk_controller_costs)),
        ("overhead_us", c_double),
    ]


class ftk_controller_feature(ctypes.Structure):
    _fields_ = [
        ("margin", c_float),
        ("probability", c_float),
        ("match_length", c_int32),
        ("support", c_int32),
    ]


class ftk_controller_draft(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("source", c_int32),
        ("features", POINTER(ftk_controller_feature)),
        ("feature_count", c_size_t),
    ]


class ftk_controller_request(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("is_peculiar", c_uint32),
        ("id", c_uint64),
        ("context_tokens", c_uint64),
        ("room_tokens", c_uint64),
        ("draft_backlog_tokens", c_uint64),
        ("remaining_tokens", c_uint64),
        ("needed_tokens", c_double),
        ("target_tpot_us", c_double),
        ("proposals", POINTER(ftk_controller_draft)),
        ("proposal_count", c_size_t),
    ]


class ftk_controller_step(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("prefill_rows", c_uint32),
        ("prefill_context_tokens", c_uint64),
        ("prefill_attended_tokens", c_uint64),
        ("row_budget", c_uint64),
        ("free_tokens", c_uint64),
        ("coin", c_double),
        ("requests", POINTER(ftk_controller_request)),
        ("request_count", c_size_t),
    ]


class ftk_controller_wish(ctypes.Structure):
    _fields_ = [("source", c_int32), ("length", c_uint32), ("limit", c_int32)]


class ftk_controller_judgement(ctypes.Structure):
    _fields_ = [("judged_tokens", c_uint32), ("accepted_tokens", c_uint32)]


class ftk_controller_outcome(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("verified_tokens", c_uint32),
        ("accepted_tokens", c_uint32),
        ("emitted_tokens", c_uint32),
        ("was_cut", c_uint32),
        ("reserved", c_uint32),
        ("judgements", POINTER(ftk_controller_judgement)),
        ("judgement_count", c_size_t),
    ]


class ftk_controller_pass(ctypes.Structure):
    _fields_ = [
        ("requests", c_uint32),
        ("rows", c_uint32),
        ("context_tokens", c_uint64),
        ("time_us", c_double),
    ]


class ftk_controller_result(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_uint32),
        ("outcomes", POINTER(ftk_controller_outcome)),
        ("outcome_count", c_size_t),
        ("draft_passes", POINTER(ftk_controller_pass)),
        ("draft_pass_count", c_size_t),
        ("draft_time_us", c_double),
        ("target_time_us", c_double),
        ("step_time_us", c_double),
    ]


_drafts = POINTER(ftk_controller_draft)

# name: (result, parameters)
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ftk_controller_options_init_sized": (ftk_status, (POINTER(ftk_controller_options), c_uint32)),
    "ftk_controller_create": (ftk_status, (POINTER(ftk_controller_options), POINTER(c_void_p))),
    "ftk_controller_destroy": (None, (c_void_p,)),
    "ftk_controller_begin": (
        ftk_status,
        (c_void_p, POINTER(ftk_controller_step), POINTER(ftk_controller_wish), c_size_t),
    ),
    "ftk_controller_extend": (ftk_status, (c_void_p, _drafts, c_size_t, POINTER(c_uint32))),
    "ftk_controller_select": (ftk_status, (c_void_p, _drafts, c_size_t, POINTER(c_uint32))),
    "ftk_controller_commit": (ftk_status, (c_void_p, POINTER(ftk_controller_result))),
    "ftk_controller_abandon": (ftk_status, (c_void_p,)),
    "ftk_controller_forget": (ftk_status, (c_void_p, c_uint64)),
    "ftk_controller_predict": (ftk_status, (c_void_p, c_uint32, c_uint32, c_uint64, c_uint64, POINTER(c_double))),
}
