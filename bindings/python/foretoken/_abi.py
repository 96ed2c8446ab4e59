"""foretoken.h in ctypes, one to one: constants, structs, callbacks and prototypes under their C names.

tests/test_abi.py compares this file with the header in both directions.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

# Version and errors.
FTK_VERSION_MAJOR = 0
FTK_VERSION_MINOR = 1
FTK_VERSION_PATCH = 0
FTK_ABI_VERSION = 0

FTK_OK = 0
FTK_WOULD_BLOCK = 1
FTK_TRUNCATED = 2
FTK_ERROR_INVALID_ARGUMENT = -1
FTK_ERROR_STRUCT_SIZE = -2
FTK_ERROR_IO = -3
FTK_ERROR_CORRUPT_FILE = -4
FTK_ERROR_UNSUPPORTED_ARCHITECTURE = -5
FTK_ERROR_UNSUPPORTED_QUANTIZATION = -6
FTK_ERROR_UNSUPPORTED_FORMAT = -7
FTK_ERROR_VOCABULARY_MISMATCH = -8
FTK_ERROR_OUT_OF_MEMORY = -9
FTK_ERROR_QUEUE_FULL = -10
FTK_ERROR_CONTEXT_TOO_LONG = -11
FTK_ERROR_CANCELLED = -12
FTK_ERROR_WRONG_STATE = -14
FTK_ERROR_NOT_FOUND = -15
FTK_ERROR_INTERNAL = -16

# Tokenizer.
FTK_NO_TOKEN = -1
FTK_ENCODE_ADD_SPECIAL = 1
FTK_ENCODE_PARSE_SPECIAL = 2
FTK_DECODE_SKIP_SPECIAL = 1
FTK_CHAT_ADD_GENERATION_PROMPT = 1

# Engine.
FTK_POLICY_OFF = 0
FTK_POLICY_STATIC = 1
FTK_POLICY_SMARTSPEC = 2
FTK_POLICY_TURBOSPEC = 3
FTK_POLICY_ADASPEC = 4
FTK_POLICY_GOODPUT = 5
FTK_DRAFTER_AUTO = 0
FTK_DRAFTER_LOOKUP = 1
FTK_DRAFTER_MODEL = 2
FTK_DRAFTER_SUFFIX = 3
FTK_KV_AUTO = 0
FTK_KV_F32 = 1
FTK_KV_F16 = 2
FTK_KV_Q8_0 = 3
FTK_ACTIVATIONS_F32 = 0
FTK_ACTIVATIONS_Q8 = 1
FTK_RUN_MANUAL = 0
FTK_RUN_BACKGROUND = 1
FTK_LOG_ERROR = 0
FTK_LOG_WARNING = 1
FTK_LOG_INFO = 2
FTK_LOG_DEBUG = 3
FTK_MAX_DRAFT_TOKENS = 16
FTK_SELF_DRAFT = "@self"

# Requests and events.
FTK_UNSET = -1
FTK_SEED_UNSET = 2**64 - 1
FTK_LOGPROBS_RAW = 0
FTK_LOGPROBS_PROCESSED = 1
FTK_SPECULATION_AUTO = -1
FTK_VERIFICATION_COUPLED = 0
FTK_VERIFICATION_REJECTION = 1
FTK_VERIFICATION_BLOCK = 2
FTK_EVENT_TOKENS = 1
FTK_EVENT_PROMPT_LOGPROBS = 2
FTK_EVENT_FINISH = 3
FTK_FINISH_NONE = 0
FTK_FINISH_LENGTH = 1
FTK_FINISH_STOP = 2
FTK_FINISH_CANCELLED = 3
FTK_FINISH_ERROR = 4
FTK_FINISH_DEADLINE = 5
FTK_LIMITED_BY_NOTHING = 0
FTK_LIMITED_BY_QUEUE = 1
FTK_LIMITED_BY_MEMORY = 2
FTK_LIMITED_BY_COMPUTE = 3

ftk_status = c_int32
ftk_progress_callback = CFUNCTYPE(c_int32, c_uint64, c_uint64, c_void_p)
ftk_selftest_callback = CFUNCTYPE(c_int32, c_char_p, c_int32, c_char_p, c_void_p)
ftk_log_callback = CFUNCTYPE(None, c_int32, c_char_p, c_void_p)


class ftk_model_options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("threads", c_uint32),
        ("progress", ftk_progress_callback),
        ("progress_user_data", c_void_p),
    ]


class ftk_model_info(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("vocabulary_size", c_uint32),
        ("layers", c_uint32),
        ("embedding_length", c_uint32),
        ("attention_heads", c_uint32),
        ("kv_heads", c_uint32),
        ("head_dimension", c_uint32),
        ("feed_forward_length", c_uint32),
        ("context_length", c_uint32),
        ("has_chat_template", c_uint32),
        ("parameters", c_uint64),
        ("weights_bytes", c_uint64),
        ("architecture", c_char * 32),
        ("quantization", c_char * 32),
        ("name", c_char * 64),
    ]


class ftk_tokenizer_info(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("vocabulary_size", c_uint32),
        ("bos_token", c_int32),
        ("eos_token", c_int32),
        ("unknown_token", c_int32),
        ("adds_bos", c_uint32),
        ("adds_eos", c_uint32),
        ("has_chat_template", c_uint32),
    ]


class ftk_chat_message(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_uint32),
        ("role", c_char_p),
        ("content", c_char_p),
    ]


class ftk_engine_options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("policy", c_int32),
        ("drafter", c_int32),
        ("draft_tokens", c_uint32),
        ("draft_model", c_void_p),
        ("kv_type", c_int32),
        ("run_mode", c_int32),
        ("kv_budget_bytes", c_uint64),
        ("context_tokens", c_uint32),
        ("threads", c_uint32),
        ("max_running_requests", c_uint32),
        ("max_queued_requests", c_uint32),
        ("max_step_tokens", c_uint32),
        ("log_level", c_int32),
        ("activations", c_int32),
        ("reserved", c_int32),
        ("log", ftk_log_callback),
        ("log_user_data", c_void_p),
        ("draft_pool_bytes", c_uint64),
        ("trace", c_uint32),
        ("tree_width", c_uint32),
        ("profile_us", c_uint64),
        ("profile_folder", c_char_p),
    ]


class ftk_memory_plan(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("kv_block_tokens", c_uint32),
        ("target_weights_bytes", c_uint64),
        ("draft_weights_bytes", c_uint64),
        ("kv_bytes_per_token", c_uint64),
        ("kv_bytes_per_request", c_uint64),
        ("kv_budget_bytes", c_uint64),
        ("scratch_bytes", c_uint64),
        ("peak_bytes", c_uint64),
    ]


class ftk_engine_stats(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("running_requests", c_uint32),
        ("queued_requests", c_uint32),
        ("threads", c_uint32),
        ("submitted_requests", c_uint64),
        ("finished_requests", c_uint64),
        ("steps", c_uint64),
        ("target_passes", c_uint64),
        ("draft_passes", c_uint64),
        ("prefill_tokens", c_uint64),
        ("emitted_tokens", c_uint64),
        ("num_drafts", c_uint64),
        ("num_draft_tokens", c_uint64),
        ("num_accepted_tokens", c_uint64),
        ("accepted_tokens_per_position", c_uint64 * FTK_MAX_DRAFT_TOKENS),
        ("kv_blocks_total", c_uint64),
        ("kv_blocks_used", c_uint64),
        ("step_time_us", c_uint64),
        ("kv_blocks_cached", c_uint64),
        ("prefix_queried_tokens", c_uint64),
        ("prefix_cached_tokens", c_uint64),
        ("prefix_evictions", c_uint64),
        ("num_preemptions", c_uint64),
        ("draft_time_us", c_uint64),
        ("verify_time_us", c_uint64),
        ("control_time_us", c_uint64),
        ("saved_us", c_int64),
        ("calibration_error", c_double),
        ("num_branch_tokens", c_uint64),
        ("num_accepted_branch_tokens", c_uint64),
    ]


class ftk_logit_bias(ctypes.Structure):
    _fields_ = [("token", c_int32), ("bias", c_float)]


class ftk_request_options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("max_tokens", c_int32),
        ("prompt", c_char_p),
        ("prompt_bytes", c_size_t),
        ("prompt_tokens", POINTER(c_int32)),
        ("prompt_token_count", c_size_t),
        ("messages", POINTER(ftk_chat_message)),
        ("message_count", c_size_t),
        ("chat_template", c_char_p),
        ("temperature", c_float),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repetition_penalty", c_float),
        ("presence_penalty", c_float),
        ("frequency_penalty", c_float),
        ("ignore_eos", c_uint32),
        ("logit_bias", POINTER(ftk_logit_bias)),
        ("logit_bias_count", c_size_t),
        ("seed", c_uint64),
        ("stop", POINTER(c_char_p)),
        ("stop_count", c_size_t),
        ("stop_tokens", POINTER(c_int32)),
        ("stop_token_count", c_size_t),
        ("logprobs", c_int32),
        ("prompt_logprobs", c_int32),
        ("logprobs_kind", c_int32),
        ("speculation", c_int32),
        ("user_data", c_void_p),
        ("priority", c_int32),
        ("reserved", c_uint32),
        ("target_ttft_us", c_int64),
        ("target_tpot_us", c_int64),
        ("deadline_us", c_int64),
        ("grammar", c_char_p),
        ("json_schema", c_char_p),
        ("cache_salt", c_uint64),
        ("n", c_uint32),
        ("reserved2", c_uint32),
        ("verification", c_int32),
        ("reserved3", c_uint32),
    ]


class ftk_request_stats(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("prompt_tokens", c_uint32),
        ("completion_tokens", c_uint32),
        ("steps", c_uint32),
        ("draft_tokens", c_uint32),
        ("accepted_tokens", c_uint32),
        ("seed", c_uint64),
        ("queue_us", c_int64),
        ("ttft_us", c_int64),
        ("tpot_us", c_int64),
        ("total_us", c_int64),
        ("cached_tokens", c_uint32),
        ("preemptions", c_uint32),
        ("ttft_attained", c_int32),
        ("tpot_attained", c_int32),
        ("limited_by", c_int32),
        ("reserved", c_uint32),
        ("saved_us", c_int64),
    ]


class ftk_event(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_int32),
        ("request_id", c_uint64),
        ("user_data", c_void_p),
        ("tokens", POINTER(c_int32)),
        ("token_count", c_size_t),
        ("text", POINTER(c_char)),  # not c_char_p: generated text may hold NUL
        ("text_bytes", c_size_t),
        ("logprobs", POINTER(c_float)),
        ("top_tokens", POINTER(c_int32)),
        ("top_logprobs", POINTER(c_float)),
        ("top_count", c_size_t),
        ("finish_reason", c_int32),
        ("error", ftk_status),
        ("error_text", c_char_p),
        ("stats", POINTER(ftk_request_stats)),
        ("sample_index", c_uint32),
        ("reserved", c_uint32),
    ]


_handle = c_void_p
_new_handle = POINTER(c_void_p)
_size = POINTER(c_size_t)
_tokens = POINTER(c_int32)
_messages = POINTER(ftk_chat_message)

# name: (result, parameters)
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ftk_abi_version": (c_uint32, ()),
    "ftk_version_string": (c_char_p, ()),
    "ftk_status_string": (c_char_p, (ftk_status,)),
    "ftk_last_error": (c_char_p, ()),
    "ftk_model_options_init_sized": (ftk_status, (POINTER(ftk_model_options), c_uint32)),
    "ftk_model_open": (ftk_status, (c_char_p, POINTER(ftk_model_options), _new_handle)),
    "ftk_model_make_draft": (ftk_status, (_handle, POINTER(ftk_model_options), _new_handle)),
    "ftk_model_retain": (ftk_status, (_handle,)),
    "ftk_model_release": (None, (_handle,)),
    "ftk_model_get_info": (ftk_status, (_handle, POINTER(ftk_model_info))),
    "ftk_tokenizer_open": (ftk_status, (c_char_p, _new_handle)),
    "ftk_model_get_tokenizer": (ftk_status, (_handle, _new_handle)),
    "ftk_tokenizer_retain": (ftk_status, (_handle,)),
    "ftk_tokenizer_release": (None, (_handle,)),
    "ftk_tokenizer_get_info": (ftk_status, (_handle, POINTER(ftk_tokenizer_info))),
    "ftk_tokenizer_encode": (ftk_status, (_handle, c_char_p, c_size_t, c_uint32, _tokens, c_size_t, _size)),
    "ftk_tokenizer_decode": (ftk_status, (_handle, _tokens, c_size_t, c_uint32, c_char_p, c_size_t, _size)),
    "ftk_tokenizer_token_text": (ftk_status, (_handle, c_int32, c_char_p, c_size_t, _size)),
    "ftk_tokenizer_apply_chat_template": (
        ftk_status,
        (_handle, c_char_p, _messages, c_size_t, c_uint32, c_char_p, c_size_t, _size),
    ),
    "ftk_tokenizer_encode_chat": (
        ftk_status,
        (_handle, c_char_p, _messages, c_size_t, c_uint32, _tokens, c_size_t, _size),
    ),
    "ftk_decoder_create": (ftk_status, (_handle, c_uint32, _new_handle)),
    "ftk_decoder_push": (ftk_status, (_handle, c_int32, c_char_p, c_size_t, _size)),
    "ftk_decoder_finish": (ftk_status, (_handle, c_char_p, c_size_t, _size)),
    "ftk_decoder_destroy": (None, (_handle,)),
    "ftk_engine_options_init_sized": (ftk_status, (POINTER(ftk_engine_options), c_uint32)),
    "ftk_memory_plan_compute": (
        ftk_status,
        (c_char_p, c_char_p, POINTER(ftk_engine_options), POINTER(ftk_memory_plan)),
    ),
    "ftk_engine_create": (ftk_status, (_handle, POINTER(ftk_engine_options), _new_handle)),
    "ftk_engine_destroy": (None, (_handle,)),
    "ftk_selftest": (ftk_status, (_handle, POINTER(ftk_engine_options), ftk_selftest_callback, c_void_p)),
    "ftk_engine_step": (ftk_status, (_handle,)),
    "ftk_engine_event_fd": (ftk_status, (_handle, POINTER(c_int32))),
    "ftk_engine_get_stats": (ftk_status, (_handle, POINTER(ftk_engine_stats))),
    "ftk_engine_metrics": (ftk_status, (_handle, c_char_p, c_size_t, _size)),
    "ftk_engine_trace": (ftk_status, (_handle, c_char_p, c_size_t, _size)),
    "ftk_request_options_init_sized": (ftk_status, (POINTER(ftk_request_options), c_uint32)),
    "ftk_submit": (ftk_status, (_handle, POINTER(ftk_request_options), POINTER(c_uint64))),
    "ftk_cancel": (ftk_status, (_handle, c_uint64)),
    "ftk_request_draft": (ftk_status, (_handle, c_uint64, c_uint64, _tokens, c_size_t)),
    "ftk_poll": (ftk_status, (_handle, c_int64, _new_handle)),
    "ftk_event_batch_count": (c_size_t, (_handle,)),
    "ftk_event_batch_at": (ftk_status, (_handle, c_size_t, POINTER(ftk_event))),
    "ftk_event_batch_free": (None, (_handle,)),
}
