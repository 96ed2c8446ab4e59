/*
 * Foretoken: fast text generation with large language models on CPUs, for embedding in other programs.
 *
 * Copyright (c) 2026 The Foretoken Authors. Licensed under the Apache License, Version 2.0.
 *
 * This header is the whole contract. It compiles as C99, C11 and C++17.
 *
 * THE SHORT STORY
 *
 *     ftk_model *model;
 *     ftk_engine *engine;
 *     ftk_model_open("model.gguf", NULL, &model);
 *     ftk_engine_create(model, NULL, &engine);            // manual mode: you call ftk_engine_step
 *
 *     ftk_request_options request;
 *     ftk_request_options_init(&request);                 // fills struct_size and every default
 *     request.prompt = "def main():";
 *     request.prompt_bytes = strlen(request.prompt);
 *     uint64_t id;
 *     ftk_submit(engine, &request, &id);
 *
 *     while (ftk_engine_step(engine) == FTK_OK) {          // FTK_WOULD_BLOCK once nothing is left to do
 *         ftk_event_batch *batch;
 *         if (ftk_poll(engine, 0, &batch) != FTK_OK) continue;
 *         ... ftk_event_batch_at(batch, i, &event) for i < ftk_event_batch_count(batch) ...
 *         ftk_event_batch_free(batch);
 *     }
 *     ftk_engine_destroy(engine);
 *     ftk_model_release(model);
 *
 * ERRORS. Every fallible function returns an ftk_status: 0 is success, negative an error, positive is
 * information. After an error, ftk_last_error() of the same thread says what, where and what to do.
 * Result parameters are set to NULL or 0 on failure. NULL where a pointer is required is
 * FTK_ERROR_INVALID_ARGUMENT. No argument, file or prompt aborts the process.
 *
 * OWNERSHIP. Inputs are copied before a function returns, unless the text says "borrowed". Text and arrays
 * that come out are either in your own buffer or live as long as the handle that gave them, as stated.
 * Buffers follow the rule of snprintf: as much as fits is written, the needed size is always reported, and
 * FTK_TRUNCATED is returned when not all of it fitted. A capacity of 0 with a NULL buffer asks for the size.
 *
 * THREADS. Different handles may be used by different threads at any time. On one handle:
 *
 *     handle          concurrently from any thread                            only while nothing else uses the handle
 *     ftk_model       everything                                              the last ftk_model_release
 *     ftk_tokenizer   everything                                              the last ftk_tokenizer_release
 *     ftk_engine      ftk_submit, ftk_cancel, ftk_request_draft, ftk_poll,     ftk_engine_destroy
 *                     ftk_engine_get_stats, ftk_engine_event_fd, ftk_engine_step
 *                     (steps take turns)
 *     ftk_decoder     nothing: one thread at a time                           ftk_decoder_destroy
 *     ftk_event_batch reading                                                 ftk_event_batch_free
 *
 * PROCESS. The library keeps no global mutable state, installs no signal handler, changes no environment and
 * writes nothing to standard output or error. Once loaded it stays, even after dlclose(). After fork(), the child must
 * not use handles of its parent.
 *
 * TEXT NEVER CHANGES. What a request generates is a function of its prompt, its parameters and its seed, for one
 * build, model file, instruction set and KV type. Speculation, batching, chunking and the number of threads do
 * not change a bit of it. The one exception is a request that asks for another verification than
 * FTK_VERIFICATION_COUPLED.
 *
 * Units are in the names: _us microseconds, _bytes, _tokens. Text is UTF-8.
 */
#ifndef FORETOKEN_H
#define FORETOKEN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------------------
 * Version and errors
 * --------------------------------------------------------------------------------------------------------- */

#define FTK_VERSION_MAJOR 0
#define FTK_VERSION_MINOR 1
#define FTK_VERSION_PATCH 0
/* Changes when a compiled host would no longer work; the same number as in the library's SONAME. */
#define FTK_ABI_VERSION 0

/* The ABI version of the loaded library; compare it with FTK_ABI_VERSION. */
uint32_t ftk_abi_version(void);
/* "major.minor.patch" of the loaded library; static. */
const char *ftk_version_string(void);

typedef int32_t ftk_status;
enum {
    FTK_OK = 0,
    /* Information. */
    FTK_WOULD_BLOCK = 1,                        /* nothing to do, or no event waits */
    FTK_TRUNCATED = 2,                          /* the buffer was too small; the needed size was reported */
    /* Errors. */
    FTK_ERROR_INVALID_ARGUMENT = -1,
    FTK_ERROR_STRUCT_SIZE = -2,                 /* struct_size is none that was ever released */
    FTK_ERROR_IO = -3,                          /* the system refused to open or read a file */
    FTK_ERROR_CORRUPT_FILE = -4,                /* a file contradicts itself or its format */
    FTK_ERROR_UNSUPPORTED_ARCHITECTURE = -5,
    FTK_ERROR_UNSUPPORTED_QUANTIZATION = -6,
    FTK_ERROR_UNSUPPORTED_FORMAT = -7,          /* tokenizer, template or file version that is not supported */
    FTK_ERROR_VOCABULARY_MISMATCH = -8,         /* draft and target share too few tokens */
    FTK_ERROR_OUT_OF_MEMORY = -9,               /* the memory or the KV budget does not suffice */
    FTK_ERROR_QUEUE_FULL = -10,                 /* try again after other requests have finished */
    FTK_ERROR_CONTEXT_TOO_LONG = -11,           /* the prompt does not fit into the context */
    FTK_ERROR_CANCELLED = -12,                  /* the progress callback asked to stop */
    FTK_ERROR_WRONG_STATE = -14,                /* not in this run mode, or after the engine failed */
    FTK_ERROR_NOT_FOUND = -15,                  /* no such request, or nothing of that name */
    FTK_ERROR_INTERNAL = -16                    /* a fault of the library; please report it */
};

/* A short name of `status`, such as "FTK_ERROR_IO"; static, never NULL. */
const char *ftk_status_string(ftk_status status);

/* The text of this thread's latest error, "" when there was none. Valid until the thread's next call that
 * fails; never NULL. */
const char *ftk_last_error(void);

/* ------------------------------------------------------------------------------------------------------------
 * Model
 * --------------------------------------------------------------------------------------------------------- */

/* The weights and tokenizer of one model; immutable, reference counted, shared freely between engines. */
typedef struct ftk_model ftk_model;

/* Called now and then while a model loads, on the loading thread; return non-zero to cancel. */
typedef int32_t (*ftk_progress_callback)(uint64_t done_bytes, uint64_t total_bytes, void *user_data);

typedef struct ftk_model_options {
    uint32_t struct_size;
    uint32_t threads;                /* threads that load; 0: as many as the process may use. Default 0, at most 512 */
    ftk_progress_callback progress;  /* NULL: none. Default NULL */
    void *progress_user_data;
} ftk_model_options;

/* Fills `options` with the defaults and its size: ftk_model_options_init(&options). */
#define ftk_model_options_init(options) ftk_model_options_init_sized((options), (uint32_t)sizeof(*(options)))
ftk_status ftk_model_options_init_sized(ftk_model_options *options, uint32_t struct_size);

/* Opens a GGUF file (version 2 or 3) or a Hugging Face folder (config.json, safetensors, tokenizer.json) and
 * loads its weights. `options` may be NULL. The file is not needed after the return. Release with
 * ftk_model_release. Architectures: llama (Llama 2 to 3.2, Mistral, SmolLM, TinyLlama), qwen2, qwen3.
 * Errors: IO, CORRUPT_FILE, UNSUPPORTED_*, OUT_OF_MEMORY, CANCELLED. */
ftk_status ftk_model_open(const char *path, const ftk_model_options *options, ftk_model **model);

/* A draft model made of the model's own weights, to be the draft_model of engines that run `model`: the
 * matrices in Q4_0, everything else shared with `model`, whose memory it keeps. It agrees with the model more often than
 * smaller models do, and a pass of it reads about half the bytes of a Q8_0 model and a third of an F16 one; but it takes as long
 * as the model to read a prompt, so that it pays for outputs that are long against what is new in their prompts. `options` may be
 * NULL. weights_bytes of the draft's info is what it takes beyond the model. Release with ftk_model_release.
 * Errors: UNSUPPORTED_QUANTIZATION for a model of so few bits that it cannot pay (Q5_K and less), OUT_OF_MEMORY, CANCELLED. */
ftk_status ftk_model_make_draft(ftk_model *model, const ftk_model_options *options, ftk_model **draft);

/* One more owner. */
ftk_status ftk_model_retain(ftk_model *model);
/* One owner less; frees the model with the last one. NULL does nothing. Engines keep their models alive. */
void ftk_model_release(ftk_model *model);

typedef struct ftk_model_info {
    uint32_t struct_size;            /* in: sizeof(ftk_model_info); out: the bytes that were filled */
    uint32_t vocabulary_size;
    uint32_t layers;
    uint32_t embedding_length;
    uint32_t attention_heads;
    uint32_t kv_heads;
    uint32_t head_dimension;
    uint32_t feed_forward_length;
    uint32_t context_length;         /* tokens that the model was made for */
    uint32_t has_chat_template;      /* 0 or 1 */
    uint64_t parameters;
    uint64_t weights_bytes;          /* of memory that the weights occupy */
    char architecture[32];           /* "llama", "qwen2", "qwen3"; NUL-terminated */
    char quantization[32];           /* the type of most weights, such as "Q8_0"; NUL-terminated */
    char name[64];                   /* the file's own name for the model, perhaps cut; NUL-terminated */
} ftk_model_info;

ftk_status ftk_model_get_info(const ftk_model *model, ftk_model_info *info);

/* ------------------------------------------------------------------------------------------------------------
 * Tokenizer
 * --------------------------------------------------------------------------------------------------------- */

typedef struct ftk_tokenizer ftk_tokenizer;

/* Reads only the tokenizer of a GGUF file (vocabulary-only files too) or of a Hugging Face folder. */
ftk_status ftk_tokenizer_open(const char *path, ftk_tokenizer **tokenizer);
/* The tokenizer of a model, as a handle of its own. Release with ftk_tokenizer_release. */
ftk_status ftk_model_get_tokenizer(const ftk_model *model, ftk_tokenizer **tokenizer);
ftk_status ftk_tokenizer_retain(ftk_tokenizer *tokenizer);
/* NULL does nothing. */
void ftk_tokenizer_release(ftk_tokenizer *tokenizer);

typedef struct ftk_tokenizer_info {
    uint32_t struct_size;
    uint32_t vocabulary_size;
    int32_t bos_token;               /* FTK_NO_TOKEN where there is none */
    int32_t eos_token;
    int32_t unknown_token;
    uint32_t adds_bos;               /* 0 or 1: FTK_ENCODE_ADD_SPECIAL puts bos_token in front */
    uint32_t adds_eos;
    uint32_t has_chat_template;
} ftk_tokenizer_info;

#define FTK_NO_TOKEN (-1)

ftk_status ftk_tokenizer_get_info(const ftk_tokenizer *tokenizer, ftk_tokenizer_info *info);

/* Flags of ftk_tokenizer_encode. */
enum {
    FTK_ENCODE_ADD_SPECIAL = 1,      /* add BOS and EOS where the model asks for them */
    FTK_ENCODE_PARSE_SPECIAL = 2     /* text such as "<|im_end|>" becomes the special token; never for text of users */
};

/* Text to token ids. `text` need not be NUL-terminated; it must be valid UTF-8, 16 MiB at most. `capacity` and `count`
 * are in tokens. */
ftk_status ftk_tokenizer_encode(const ftk_tokenizer *tokenizer, const char *text, size_t text_bytes, uint32_t flags,
                                int32_t *tokens, size_t capacity, size_t *count);

/* Flags of ftk_tokenizer_decode and ftk_decoder_create. */
enum {
    FTK_DECODE_SKIP_SPECIAL = 1      /* special tokens give no text */
};

/* Token ids to text; bytes that are no valid UTF-8 become U+FFFD. `bytes` does not count the NUL that is written
 * behind the text; FTK_TRUNCATED means that text and NUL did not both fit. */
ftk_status ftk_tokenizer_decode(const ftk_tokenizer *tokenizer, const int32_t *tokens, size_t count, uint32_t flags,
                                char *text, size_t capacity, size_t *bytes);

/* The text of one token as the vocabulary stores it. */
ftk_status ftk_tokenizer_token_text(const ftk_tokenizer *tokenizer, int32_t token, char *text, size_t capacity,
                                    size_t *bytes);

/* One turn of a conversation. Both texts are NUL-terminated UTF-8. */
typedef struct ftk_chat_message {
    uint32_t struct_size;            /* sizeof(ftk_chat_message), the same in every element of an array */
    uint32_t reserved;               /* 0 */
    const char *role;                /* "system", "user", "assistant", … as the template knows them */
    const char *content;
} ftk_chat_message;

/* Flags of ftk_tokenizer_apply_chat_template and ftk_tokenizer_encode_chat. */
enum {
    FTK_CHAT_ADD_GENERATION_PROMPT = 1   /* end with the opening of the assistant's turn */
};

/* Renders a conversation as text. `chat_template` is NULL (the model's own template), a built-in name ("chatml",
 * "gemma", "llama2", "llama3", "mistral", "phi3", "zephyr"; others are NOT_FOUND), or the source of a template (anything
 * with "{", 1 MiB at most). Do not tokenise the text yourself: a message could smuggle in special tokens, which
 * ftk_tokenizer_encode_chat prevents. */
ftk_status ftk_tokenizer_apply_chat_template(const ftk_tokenizer *tokenizer, const char *chat_template,
                                             const ftk_chat_message *messages, size_t message_count, uint32_t flags,
                                             char *text, size_t capacity, size_t *bytes);
/* The same as token ids, with BOS in front where the model asks for it and the template does not write it. Message contents
 * never become special tokens. */
ftk_status ftk_tokenizer_encode_chat(const ftk_tokenizer *tokenizer, const char *chat_template,
                                     const ftk_chat_message *messages, size_t message_count, uint32_t flags,
                                     int32_t *tokens, size_t capacity, size_t *count);

/* Decodes a stream of tokens; never splits a code point. */
typedef struct ftk_decoder ftk_decoder;
ftk_status ftk_decoder_create(const ftk_tokenizer *tokenizer, uint32_t flags, ftk_decoder **decoder);
/* The text that `token` completes, perhaps none. After FTK_TRUNCATED the token was not consumed: call again. */
ftk_status ftk_decoder_push(ftk_decoder *decoder, int32_t token, char *text, size_t capacity, size_t *bytes);
/* The text of an unfinished code point at the end (U+FFFD), and a fresh start. */
ftk_status ftk_decoder_finish(ftk_decoder *decoder, char *text, size_t capacity, size_t *bytes);
/* NULL does nothing. */
void ftk_decoder_destroy(ftk_decoder *decoder);

/* ------------------------------------------------------------------------------------------------------------
 * Engine
 * --------------------------------------------------------------------------------------------------------- */

/* Runs the requests of one target model. */
typedef struct ftk_engine ftk_engine;

/* How the lengths of drafts are decided. No policy changes a text. */
enum {
    FTK_POLICY_OFF = 0,              /* plain decoding; nothing is kept for drafts */
    FTK_POLICY_STATIC = 1,           /* always draft_tokens tokens, whatever they cost */
    FTK_POLICY_SMARTSPEC = 2,        /* Liu et al., arXiv 2406.14066 v1: one length for all requests, by mean acceptance */
    FTK_POLICY_TURBOSPEC = 3,        /* the same, v3: kept for 20 steps, per request, off when it does not win clearly */
    FTK_POLICY_ADASPEC = 4,          /* Huang et al., arXiv 2503.05096: by the draft model's own probabilities */
    FTK_POLICY_GOODPUT = 5           /* for each request and step as far as it pays on this machine under its load */
};

/* Where drafts come from. */
enum {
    FTK_DRAFTER_AUTO = 0,            /* the draft model if one was given, else prompt lookup; with FTK_POLICY_GOODPUT all that
                                        there are, and for each request and step the one that promises most */
    FTK_DRAFTER_LOOKUP = 1,          /* what followed the latest tokens earlier in the same sequence */
    FTK_DRAFTER_MODEL = 2,           /* the draft model */
    FTK_DRAFTER_SUFFIX = 3           /* what mostly followed the longest match in the sequence or in finished requests */
};

/* The storage type of the KV cache. */
enum {
    FTK_KV_AUTO = 0,                 /* F32 for a model stored in F32, else F16 */
    FTK_KV_F32 = 1,
    FTK_KV_F16 = 2,
    FTK_KV_Q8_0 = 3                  /* blocks of 32 with one scale, within one token; head_dimension % 32 == 0 */
};

/* How products see activations. Weights in F32 and F16, and those of types without byte kernels (Q4_1, Q5_0, Q5_1, Q2_K,
 * Q3_K, IQ4), always see floats; those in BF16 do unless the processor multiplies BF16. */
enum {
    FTK_ACTIVATIONS_F32 = 0,         /* results are those of the weights expanded to F32; many rows cost up to three times
                                        as much. The text is another than with Q8 */
    FTK_ACTIVATIONS_Q8 = 1           /* bytes with a scale for every 32, as other engines for CPUs do; BF16 for weights in BF16.
                                        The error is a fraction of what the weights lost when they were quantised */
};

enum {
    FTK_RUN_MANUAL = 0,              /* nothing happens but in ftk_engine_step */
    FTK_RUN_BACKGROUND = 1           /* a thread of the engine steps whenever there is work */
};

enum {
    FTK_LOG_ERROR = 0,
    FTK_LOG_WARNING = 1,
    FTK_LOG_INFO = 2,
    FTK_LOG_DEBUG = 3
};

/* `message` lives until the callback returns. May be called on any thread that uses the engine and on the engine's
 * own; must not call back into the engine. */
typedef void (*ftk_log_callback)(int32_t level, const char *message, void *user_data);

#define FTK_MAX_DRAFT_TOKENS 16

typedef struct ftk_engine_options {
    uint32_t struct_size;
    int32_t policy;                  /* FTK_POLICY_*. Default FTK_POLICY_GOODPUT */
    int32_t drafter;                 /* FTK_DRAFTER_*. Default FTK_DRAFTER_AUTO */
    uint32_t draft_tokens;           /* static: tokens of a draft; others: the most of them, up to FTK_MAX_DRAFT_TOKENS. Default 0:
                                        4 for static, 16 for goodput, 8 for the others */
    ftk_model *draft_model;          /* NULL: none; otherwise retained. Must share tokens with the target. Default NULL */
    int32_t kv_type;                 /* FTK_KV_*, of target and draft. Default FTK_KV_AUTO */
    int32_t run_mode;                /* FTK_RUN_*. Default FTK_RUN_MANUAL */
    uint64_t kv_budget_bytes;        /* of both KV caches; 0: room for 16384 tokens or one full context, if that is more. Default 0 */
    uint32_t context_tokens;         /* longest sequence, prompt and output, at most the model's own; 0: that. Default 0 */
    uint32_t threads;                /* that compute; 0: as many as the process may use. Default 0, at most 512 */
    uint32_t max_running_requests;   /* at once, 1 to 1024 and at most max_step_tokens; others queue. Default 16 */
    uint32_t max_queued_requests;    /* waiting, 1 to 1000000; one more is refused with QUEUE_FULL. Default 1024 */
    uint32_t max_step_tokens;        /* rows of one pass; longer prompts are cut into chunks. 32 to 8192. Default 256 */
    int32_t log_level;               /* FTK_LOG_*: the most detailed that is reported. Default FTK_LOG_WARNING */
    int32_t activations;             /* FTK_ACTIVATIONS_*, of target and draft. Default FTK_ACTIVATIONS_Q8 */
    int32_t reserved;                /* must be 0. Default 0 */
    ftk_log_callback log;            /* NULL: none. Default NULL */
    void *log_user_data;
    uint64_t draft_pool_bytes;       /* for texts of finished requests, which FTK_DRAFTER_SUFFIX drafts from. Default 67108864
                                        (64 MiB); 0: nothing of a request outlives it. Only requests of one cache_salt share */
    uint32_t trace;                  /* 1: keep a record of each step's decisions, for ftk_engine_trace. Default 0 */
    uint32_t tree_width;             /* candidates for a position of a draft: 1 for chains; 2: the next best token is verified beside
                                        the drafted one, by goodput where that is worth the row, by static everywhere. The other
                                        policies draft chains, and refuse 2. Default 0: 2 for goodput, 1 for others */
    uint64_t profile_us;             /* time to measure passes for while the engine is created, at most an hour, so that policies begin
                                        with this machine's costs; 0: they begin with a guess from sizes. Default 0 */
    const char *profile_folder;      /* a measured profile is kept here, a file for each pair of models and way to compute, and
                                        read instead of measured next time, also with profile_us 0. A file or folder that cannot
                                        be used is a warning. NULL: nothing is read or written. Default NULL */
} ftk_engine_options;

#define ftk_engine_options_init(options) ftk_engine_options_init_sized((options), (uint32_t)sizeof(*(options)))
ftk_status ftk_engine_options_init_sized(ftk_engine_options *options, uint32_t struct_size);

typedef struct ftk_memory_plan {
    uint32_t struct_size;
    uint32_t kv_block_tokens;        /* granularity of the KV cache */
    uint64_t target_weights_bytes;
    uint64_t draft_weights_bytes;    /* 0 without a draft model */
    uint64_t kv_bytes_per_token;     /* target and draft together */
    uint64_t kv_bytes_per_request;   /* for a full context */
    uint64_t kv_budget_bytes;        /* what an engine with these options would reserve */
    uint64_t scratch_bytes;          /* activations of the largest step */
    uint64_t peak_bytes;             /* all of the above together; tokenizer and load buffers come on top (some 10 MiB) */
} ftk_memory_plan;

/* In the place of draft_path: the draft of ftk_model_make_draft. */
#define FTK_SELF_DRAFT "@self"

/* What an engine would need, from the headers of the files alone; nothing is loaded. `draft_path` and `options`
 * may be NULL; options->draft_model is not used here. */
ftk_status ftk_memory_plan_compute(const char *target_path, const char *draft_path, const ftk_engine_options *options,
                                   ftk_memory_plan *plan);

/* `options` may be NULL. The models stay alive as long as the engine does. A draft model is compared with the target
 * by the texts of the tokens. Where they differ (other than in padding) drafts are made of the tokens that both have; a log
 * message (info) says how many these are, and FTK_ERROR_VOCABULARY_MISMATCH that they are less than 5% of the target's.
 * Destroy with ftk_engine_destroy. */
ftk_status ftk_engine_create(ftk_model *target, const ftk_engine_options *options, ftk_engine **engine);
/* Stops the engine; live requests are cancelled and waiting events dropped. Event batches stay valid. NULL does
 * nothing. Must not be called from the log callback. */
void ftk_engine_destroy(ftk_engine *engine);

/* What a self-test found: `name` says how requests were computed, `passed` (1 or 0) whether they said what each says alone,
 * `detail` more about it. The texts live until the callback returns. Return non-zero to stop. */
typedef int32_t (*ftk_selftest_callback)(const char *name, int32_t passed, const char *detail, void *user_data);

/* Proves on this model and machine that greedy and seeded texts are the same alone and batched, with one thread and more,
 * whole and chunked, plain and speculative, preempted and not, computed and taken from the prefix cache. Of `options`, which
 * may be NULL, draft_model, kv_type, activations, threads and context_tokens count. `callback` may be NULL. Blocks for some
 * 2000 tokens' worth of work. FTK_ERROR_INTERNAL when something differs: ftk_last_error names the first request, the position
 * and both tokens. FTK_ERROR_CANCELLED when the callback asked to stop. */
ftk_status ftk_selftest(ftk_model *target, const ftk_engine_options *options, ftk_selftest_callback callback,
                        void *user_data);

/* One step: a pass of the target model for all running requests. FTK_OK when something was done, FTK_WOULD_BLOCK when
 * there is nothing to do, FTK_ERROR_WRONG_STATE in background mode. */
ftk_status ftk_engine_step(ftk_engine *engine);

/* A file descriptor that is readable while events wait, for epoll, libuv and asyncio. It belongs to the engine: do not
 * read, write or close it. On failure -1. */
ftk_status ftk_engine_event_fd(ftk_engine *engine, int32_t *descriptor);

/* Each sample of a request counts as a request of its own. */
typedef struct ftk_engine_stats {
    uint32_t struct_size;
    uint32_t running_requests;
    uint32_t queued_requests;
    uint32_t threads;
    uint64_t submitted_requests;     /* since the engine was created, as all that follow */
    uint64_t finished_requests;      /* for whatever reason */
    uint64_t steps;
    uint64_t target_passes;          /* forward passes of the target model */
    uint64_t draft_passes;           /* forward passes of the draft model */
    uint64_t prefill_tokens;
    uint64_t emitted_tokens;
    uint64_t num_drafts;             /* drafts that were verified */
    uint64_t num_draft_tokens;
    uint64_t num_accepted_tokens;    /* drafted tokens that were emitted */
    uint64_t accepted_tokens_per_position[FTK_MAX_DRAFT_TOKENS];
    uint64_t kv_blocks_total;
    uint64_t kv_blocks_used;
    uint64_t step_time_us;           /* time spent in steps */
    uint64_t kv_blocks_cached;       /* of those not used: blocks that keep a prefix for the next prompt */
    uint64_t prefix_queried_tokens;  /* tokens of requests when they began to run, or ran again */
    uint64_t prefix_cached_tokens;   /* of them, tokens that the prefix cache had: the hit rate is their quotient */
    uint64_t prefix_evictions;       /* cached blocks that were given up for others */
    uint64_t num_preemptions;        /* requests that gave their place to others */
    uint64_t draft_time_us;          /* of step_time_us: drafts, and deciding on them */
    uint64_t verify_time_us;         /* of step_time_us: passes of the target model, sampling and commit */
    uint64_t control_time_us;        /* the policy alone; most of it is part of draft_time_us */
    int64_t saved_us;                /* by speculation, against steps without drafts by the cost table; negative: lost */
    double calibration_error;        /* expected calibration error of the acceptance probabilities, 0 to 1; 0 without any */
    uint64_t num_branch_tokens;      /* of num_draft_tokens: next best tokens, verified beside the drafted ones; see tree_width */
    uint64_t num_accepted_branch_tokens; /* of num_accepted_tokens: such tokens */
} ftk_engine_stats;

/* A consistent snapshot. */
ftk_status ftk_engine_get_stats(const ftk_engine *engine, ftk_engine_stats *stats);

/* The same and histograms of them, consistent too, as text for a Prometheus server (exposition format 0.0.4): drafts and
 * their lengths by what limited them, predicted against actual times and tokens, requests, latencies, cache and time. All
 * names begin with foretoken_. Buffers are filled as by ftk_tokenizer_decode. */
ftk_status ftk_engine_metrics(const ftk_engine *engine, char *text, size_t capacity, size_t *bytes);

/* What was decided in the latest steps, oldest first: for each step a JSON object and a newline. At most 4096 steps with
 * 65536 requests together are kept; a gap in the numbers of the steps is what was lost. Needs options.trace, otherwise
 * WRONG_STATE. Buffers are filled as by ftk_tokenizer_decode. FTK_OK removes what was written; after FTK_TRUNCATED nothing was
 * removed: call again with more room, for there may be more steps by then.
 *
 *     step, rows, prefill_rows        the step's number, rows of the target's pass, and of them those of prompts
 *     predicted_us, plain_us          of the step, and of the same step without drafts, by the cost table; null where there was
 *                                     nothing to decide
 *     draft_us, time_us               drafts and deciding on them; that and target, sampling and commit
 *     requests                        an array of objects:
 *       id, sample, phase             phase is "prefill" or "decode"
 *       drafter                       "lookup", "suffix", "model" or "host"; null where nothing was drafted
 *       drafted, verified, accepted   tokens
 *       branches, accepted_branches   of the verified and of the accepted tokens: next best ones beside those of the draft
 *       emitted                       tokens that the request got
 *       limit                         why no more was verified: "gain" (not worth its time), "budget" (rows of the step), "target"
 *                                     (a latency target), "memory", "guard" (speculation was measured to lose, that of all
 *                                     requests or of this one), "end" (of the request), "drafter" (it has no more), "length"
 *                                     (the most that is allowed); null for a prompt
 *       expected_tokens               that the policy expected of the verified rows; null where it does not estimate them, as of
 *                                     a try, or chose other rows
 *       saved_us                      against steps without drafts by the cost table; negative: lost
 */
ftk_status ftk_engine_trace(ftk_engine *engine, char *text, size_t capacity, size_t *bytes);

/* ------------------------------------------------------------------------------------------------------------
 * Requests
 * --------------------------------------------------------------------------------------------------------- */

/* What is absent where a number is optional. */
#define FTK_UNSET (-1)
#define FTK_SEED_UNSET UINT64_MAX

/* Which log-probabilities are reported. */
enum {
    FTK_LOGPROBS_RAW = 0,            /* of the model's own distribution */
    FTK_LOGPROBS_PROCESSED = 1       /* of the distribution that was sampled from */
};

#define FTK_SPECULATION_AUTO (-1)

/* How the drafts of a request are verified. Under the two ratio tests a text is still distributed as the target's, but which
 * text it is depends on what was drafted, and with that on load, policy, drafters and other requests. No two samples of an engine
 * share random numbers then, not even with one seed. A seed makes a text repeat where all the rest repeats: the same requests in
 * the same order on a new engine that steps by hand, and a policy that goes by no clock, FTK_POLICY_OFF or FTK_POLICY_STATIC.
 * Drafts of a draft model are drawn from its own distribution and cut only by what is known before a token is drawn; copied
 * drafts may be cut anywhere. Greedy requests take the likeliest token under all three. */
enum {
    FTK_VERIFICATION_COUPLED = 0,    /* draft and target share their random numbers, and a draft is right where the target says the
                                        same (Daliri et al., arXiv 2408.07978): the text depends on nothing but the request */
    FTK_VERIFICATION_REJECTION = 1,  /* a ratio test, token by token (Leviathan et al., arXiv 2211.17192): accepts most where
                                        draft and target agree on flat distributions */
    FTK_VERIFICATION_BLOCK = 2       /* a ratio test of the whole draft (Sun et al., arXiv 2403.10444): never accepts less than
                                        FTK_VERIFICATION_REJECTION */
};

typedef struct ftk_logit_bias {
    int32_t token;
    float bias;                      /* added to the logit; -INFINITY forbids the token */
} ftk_logit_bias;

typedef struct ftk_request_options {
    uint32_t struct_size;
    int32_t max_tokens;              /* 0 only with prompt_logprobs; FTK_UNSET: until the context is full. Default FTK_UNSET */
    /* The prompt: exactly one of the three pointers is not NULL. A text of 0 bytes is BOS alone. */
    const char *prompt;              /* special tokens are parsed in it and BOS is added as the model asks */
    size_t prompt_bytes;
    const int32_t *prompt_tokens;    /* taken as they are */
    size_t prompt_token_count;
    const ftk_chat_message *messages;
    size_t message_count;
    const char *chat_template;       /* with messages only; see ftk_tokenizer_apply_chat_template. Default NULL */
    /* The distribution: logit_bias, penalties, temperature, top_k, top_p and min_p are applied in this order. */
    float temperature;               /* >= 0; below 1e-5 the likeliest token is taken (greedy). Default 1 */
    int32_t top_k;                   /* keep the k likeliest; 0: all. Default 0 */
    float top_p;                     /* keep the fewest whose probabilities reach top_p, in (0, 1]. Default 1 */
    float min_p;                     /* keep those with at least min_p of the likeliest one's probability, in [0, 1]. Default 0 */
    float repetition_penalty;        /* > 0: divides positive and multiplies negative logits of tokens seen. Default 1 */
    float presence_penalty;          /* subtracted once from tokens in the output. Default 0 */
    float frequency_penalty;         /* subtracted per occurrence in the output. Default 0 */
    uint32_t ignore_eos;             /* 1: an end-of-generation token is a token like any other. Default 0 */
    const ftk_logit_bias *logit_bias;
    size_t logit_bias_count;
    uint64_t seed;                   /* same seed, same text (see verification); FTK_SEED_UNSET: one is drawn and reported. Default
                                        FTK_SEED_UNSET */
    /* Ends. */
    const char *const *stop;         /* NUL-terminated texts; the output ends before the first occurrence */
    size_t stop_count;
    const int32_t *stop_tokens;      /* besides the model's own end-of-generation tokens; not part of the output */
    size_t stop_token_count;
    /* Log-probabilities. */
    int32_t logprobs;                /* FTK_UNSET: none; 0: of the tokens; n: of the n likeliest too, at most 1024. Default FTK_UNSET */
    int32_t prompt_logprobs;         /* the same for the prompt. Default FTK_UNSET */
    int32_t logprobs_kind;           /* FTK_LOGPROBS_*, of the output; the prompt's are raw. Default FTK_LOGPROBS_RAW */
    int32_t speculation;             /* FTK_SPECULATION_AUTO: the engine's policy; 0: off; k: drafts of k tokens. Default AUTO */
    void *user_data;                 /* handed back with every event; never touched */
    /* Urgency. The request that is due first goes first, then the one of higher priority, then the one that came first. */
    int32_t priority;                /* one of higher priority takes the place of one of lower, which waits again. Default 0 */
    uint32_t reserved;               /* must be 0. Default 0 */
    int64_t target_ttft_us;          /* wanted time from submit to the first token; FTK_UNSET: none. Default FTK_UNSET */
    int64_t target_tpot_us;          /* wanted time between tokens; FTK_UNSET: none. Default FTK_UNSET */
    int64_t deadline_us;             /* from submit; then the request ends within one step, with what it has. Default FTK_UNSET */
    /* What the output must be, whatever the other options say; at most one, and not with ignore_eos. Compiled at submit, where
     * a mistake is INVALID_ARGUMENT with its place. Drafts keep to it too. */
    const char *grammar;             /* in GBNF, the notation of llama.cpp. Default NULL */
    const char *json_schema;         /* a JSON schema; members come in the order in which it declares them. Default NULL */
    /* Sharing. */
    uint64_t cache_salt;             /* prompts share cached prefixes only with those of the same salt. Default 0 */
    uint32_t n;                      /* samples: outputs of the same prompt, which is computed once, 1 to 64. Default 1 */
    uint32_t reserved2;              /* must be 0. Default 0 */
    int32_t verification;            /* FTK_VERIFICATION_*. Default FTK_VERIFICATION_COUPLED */
    uint32_t reserved3;              /* must be 0. Default 0 */
} ftk_request_options;

#define ftk_request_options_init(options) ftk_request_options_init_sized((options), (uint32_t)sizeof(*(options)))
ftk_status ftk_request_options_init_sized(ftk_request_options *options, uint32_t struct_size);

/* Queues a request. `id` is never 0 and never used again. Errors: INVALID_ARGUMENT (naming the field), QUEUE_FULL,
 * CONTEXT_TOO_LONG (the prompt leaves no room), OUT_OF_MEMORY (it could never fit into the KV budget). A request that
 * runs never fails because another one came: where blocks are short, the least urgent one waits again.
 *
 * With n samples, every event says in sample_index whose it is, 0 to n - 1, and each sample ends with a finish event of its
 * own. Sample 0 is what n = 1 gives; prompt log-probabilities come once, with sample 0. Each sample takes a place in the
 * queue and among the running requests, and either all are queued or none. No other request has an id from `id` to
 * `id` + n - 1, so that `id` + sample_index names a sample. */
ftk_status ftk_submit(ftk_engine *engine, const ftk_request_options *options, uint64_t *id);

/* Ends a request within one step; its finish event has the reason FTK_FINISH_CANCELLED, and so has that of each sample that
 * has not finished. NOT_FOUND once all of it has finished. */
ftk_status ftk_cancel(ftk_engine *engine, uint64_t id);

/* Offers a draft of your own: tokens that you expect in the output, such as what an editor knows of the file or the call of a
 * tool. `position` is the number of output tokens before the first of them: 0 for the beginning of the output, and all that
 * came in events so far for what comes next. Like any draft they are verified: whatever they are, the text stays the same, or,
 * where request options' verification is a ratio test, its distribution.
 *
 * From the next step on, once the output has come to `position`, they are drafted from as far as the policy finds worth it;
 * FTK_POLICY_GOODPUT compares them with other drafts, the other policies prefer them. Where the request has moved on meanwhile,
 * what agrees with its output is skipped. With the first token that differs the rest is dropped; offer again from there. Another
 * offer takes the place of the one before, and a count of 0 takes it back. Requests with speculation 0 draft nothing, nor do
 * those with FTK_SPECULATION_AUTO under FTK_POLICY_OFF.
 *
 * A sample other than the first goes by `id` + sample_index. `position` and `count` may be as large as the engine's context.
 * Errors: INVALID_ARGUMENT; NOT_FOUND once the sample has finished. */
ftk_status ftk_request_draft(ftk_engine *engine, uint64_t id, uint64_t position, const int32_t *tokens, size_t count);

/* ------------------------------------------------------------------------------------------------------------
 * Events
 * --------------------------------------------------------------------------------------------------------- */

enum {
    FTK_EVENT_TOKENS = 1,            /* tokens, and text where a code point was completed */
    FTK_EVENT_PROMPT_LOGPROBS = 2,   /* once, before the first token */
    FTK_EVENT_FINISH = 3             /* the last event of its request, or of one of its samples */
};

enum {
    FTK_FINISH_NONE = 0,
    FTK_FINISH_LENGTH = 1,           /* max_tokens, or the context is full */
    FTK_FINISH_STOP = 2,             /* an end-of-generation token, stop token or stop text */
    FTK_FINISH_CANCELLED = 3,
    FTK_FINISH_ERROR = 4,            /* see error and error_text */
    FTK_FINISH_DEADLINE = 5          /* deadline_us has passed */
};

/* Why a target was missed. */
enum {
    FTK_LIMITED_BY_NOTHING = 0,      /* no target was missed */
    FTK_LIMITED_BY_QUEUE = 1,        /* half the target or more went by before the request ran */
    FTK_LIMITED_BY_MEMORY = 2,       /* it was preempted */
    FTK_LIMITED_BY_COMPUTE = 3       /* neither: the steps took too long */
};

typedef struct ftk_request_stats {
    uint32_t struct_size;
    uint32_t prompt_tokens;
    uint32_t completion_tokens;      /* emitted tokens */
    uint32_t steps;                  /* passes of the target model that produced them */
    uint32_t draft_tokens;           /* that were verified */
    uint32_t accepted_tokens;        /* drafted tokens that were emitted */
    uint64_t seed;                   /* that was used */
    int64_t queue_us;                /* from submit until the request ran; FTK_UNSET if it never did */
    int64_t ttft_us;                 /* from submit to the first token; FTK_UNSET without one */
    int64_t tpot_us;                 /* (end - first token) / (tokens - 1); FTK_UNSET below two tokens */
    int64_t total_us;                /* from submit to the finish */
    uint32_t cached_tokens;          /* tokens of the prompt that the prefix cache, or another sample, had */
    uint32_t preemptions;            /* how often it gave its place to others; its tokens were computed again */
    int32_t ttft_attained;           /* 1: target_ttft_us was kept, 0: it was not, FTK_UNSET: there was none */
    int32_t tpot_attained;           /* the same of target_tpot_us; FTK_UNSET below two tokens too */
    int32_t limited_by;              /* FTK_LIMITED_BY_* */
    uint32_t reserved;               /* 0 */
    int64_t saved_us;                /* by speculation while it decoded, against steps without drafts by the cost table; negative:
                                        lost */
} ftk_request_stats;

/* Arrays and texts live until the batch is freed. */
typedef struct ftk_event {
    uint32_t struct_size;            /* in: sizeof(ftk_event); out: the bytes that were filled */
    int32_t kind;                    /* FTK_EVENT_* */
    uint64_t request_id;
    void *user_data;
    const int32_t *tokens;           /* [token_count]: of the output, or the prompt's for FTK_EVENT_PROMPT_LOGPROBS */
    size_t token_count;
    const char *text;                /* [text_bytes], NUL-terminated besides; text that a stop text may hold back comes later */
    size_t text_bytes;
    /* For output tokens: of that token. For the prompt: entry i belongs to position i and is the log-probability of the
     * token that follows, given tokens 0 to i; the last one is NAN. NULL where not asked for. */
    const float *logprobs;           /* [token_count] */
    const int32_t *top_tokens;       /* [token_count][top_count], likeliest first; FTK_NO_TOKEN pads */
    const float *top_logprobs;       /* [token_count][top_count] */
    size_t top_count;
    /* FTK_EVENT_FINISH only. */
    int32_t finish_reason;           /* FTK_FINISH_* */
    ftk_status error;                /* FTK_OK unless the reason is FTK_FINISH_ERROR */
    const char *error_text;          /* "" unless there is one */
    const ftk_request_stats *stats;  /* of the sample; NULL in other events */
    uint32_t sample_index;           /* 0 to n - 1 */
    uint32_t reserved;               /* 0 */
} ftk_event;

/* Events in the order in which they happened, each delivered exactly once, whichever thread polls. */
typedef struct ftk_event_batch ftk_event_batch;

/* All waiting events. timeout_us: 0 returns at once, negative waits for ever; in manual mode poll never blocks.
 * FTK_WOULD_BLOCK with a NULL batch when there was none in time. Free the batch with ftk_event_batch_free. */
ftk_status ftk_poll(ftk_engine *engine, int64_t timeout_us, ftk_event_batch **batch);
/* 0 for NULL. */
size_t ftk_event_batch_count(const ftk_event_batch *batch);
ftk_status ftk_event_batch_at(const ftk_event_batch *batch, size_t index, ftk_event *event);
/* NULL does nothing. */
void ftk_event_batch_free(ftk_event_batch *batch);

#ifdef __cplusplus
}
#endif

#endif /* FORETOKEN_H */
