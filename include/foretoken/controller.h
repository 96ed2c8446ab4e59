/*
 * Foretoken's controller: how far to speculate, for hosts that run models themselves.
 *
 * Copyright (c) 2026 The Foretoken Authors. Licensed under the Apache License, Version 2.0.
 *
 * EXPERIMENTAL. Unlike foretoken.h this header may change from one version to the next, without a new FTK_ABI_VERSION.
 * What foretoken.h says of errors, ownership and struct_size holds here too. It compiles as C99, C11 and C++17.
 *
 * The host has a target model, requests, and perhaps a draft model or lookups that draft for them. The controller sees
 * neither tokens nor weights: the host describes a step, the controller says how far each request is drafted for and how much
 * of each draft is verified, and learns from what came of it. For one step, in this order:
 *
 *     ftk_controller_begin      what each request is to draft with, and how far at most
 *     ftk_controller_extend     before every pass of the draft model: which requests take part in it
 *     ftk_controller_select     how many of the drafted tokens the target verifies
 *     ftk_controller_commit     what was accepted, and what it took
 *
 * extend is for draft models only, and both it and select may be left out where nothing was drafted. A call out of order is
 * FTK_ERROR_WRONG_STATE. A call that fails changes nothing: it can be made again with other arguments. Arrays have one element
 * for each request of the step, in its order.
 *
 * The same calls with the same arguments give the same answers: the controller has no clock and draws no random numbers.
 * A controller is used by one thread at a time; different ones by different threads at any time.
 */
#ifndef FORETOKEN_CONTROLLER_H
#define FORETOKEN_CONTROLLER_H

#include "foretoken.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ftk_controller ftk_controller;

/* What passes of one model take: base(rows) + per_context_us * (tokens of the requests in the pass) + per_attended_us *
 * (sum over the rows of the tokens that each attends to). It is where the controller begins: passes correct it.
 * With width_count 0 the sizes say what passes cost, as on a processor that reads 30 GB/s. */
typedef struct ftk_controller_costs {
    uint32_t struct_size;            /* sizeof(ftk_controller_costs) */
    uint32_t width_count;            /* at most 1024; 0: see the sizes */
    const uint32_t *widths;          /* [width_count]: numbers of rows, ascending from 1 to at most 1048576 */
    const double *base_us;           /* [width_count]: above 0; falling times are raised */
    double per_context_us;
    double per_attended_us;
    uint64_t weights_bytes;          /* sizes of the model: read only where width_count is 0 */
    uint64_t parameters;
    uint64_t kv_bytes_per_token;
} ftk_controller_costs;

typedef struct ftk_controller_options {
    uint32_t struct_size;
    int32_t policy;                  /* FTK_POLICY_*. Default FTK_POLICY_GOODPUT */
    uint32_t max_draft_tokens;       /* as draft_tokens of ftk_engine_options, to FTK_MAX_DRAFT_TOKENS. Default 0 */
    uint32_t max_step_rows;          /* rows of the widest pass, 1 to 1048576; where sizes say what passes cost. Default 256 */
    const ftk_controller_costs *target;  /* must be given. Default NULL */
    const ftk_controller_costs *draft;   /* NULL: there is no draft model. Default NULL */
    double overhead_us;              /* of a step besides its passes. Default 0 */
} ftk_controller_options;

#define ftk_controller_options_init(options) ftk_controller_options_init_sized((options), (uint32_t)sizeof(*(options)))
ftk_status ftk_controller_options_init_sized(ftk_controller_options *options, uint32_t struct_size);

/* Destroy with ftk_controller_destroy. */
ftk_status ftk_controller_create(const ftk_controller_options *options, ftk_controller **controller);
/* NULL does nothing. */
void ftk_controller_destroy(ftk_controller *controller);

/* Where drafted tokens come from. */
enum {
    FTK_CONTROLLER_SOURCE_NONE = 0,      /* no draft */
    FTK_CONTROLLER_SOURCE_LOOKUP = 1,    /* copied from the same text */
    FTK_CONTROLLER_SOURCE_SUFFIX = 2,    /* copied from any text */
    FTK_CONTROLLER_SOURCE_MODEL = 3,     /* the draft model */
    FTK_CONTROLLER_SOURCE_HOST = 4       /* anything else that costs no pass */
};

/* Why a draft is not longer. */
enum {
    FTK_CONTROLLER_LIMIT_GAIN = 0,       /* another token would cost more than it is worth */
    FTK_CONTROLLER_LIMIT_BUDGET = 1,     /* row_budget */
    FTK_CONTROLLER_LIMIT_TARGET = 2,     /* a latency target needs the time */
    FTK_CONTROLLER_LIMIT_MEMORY = 3,     /* free_tokens */
    FTK_CONTROLLER_LIMIT_GUARD = 4,      /* speculation was measured to lose, that of all requests or of this one */
    FTK_CONTROLLER_LIMIT_END = 5,        /* room_tokens */
    FTK_CONTROLLER_LIMIT_DRAFTER = 6,    /* there is no more to draft with */
    FTK_CONTROLLER_LIMIT_LENGTH = 7      /* the most that the policy drafts */
};

/* What is known of one drafted token before the target has seen it. */
typedef struct ftk_controller_feature {
    float margin;                    /* of a model: how far the token's logit leads before the next, >= 0; others: 0 */
    float probability;               /* of a model: the token's own; copied: the share of places that go on like this; HOST: what
                                        you believe before anything was learned; 0 to 1 */
    int32_t match_length;            /* copied: tokens before it that matched; HOST: of its draft, those that were right; a model: 0 */
    int32_t support;                 /* copied: how many places matched; a model: 0 */
} ftk_controller_feature;

/* A draft as far as it goes. */
typedef struct ftk_controller_draft {
    uint32_t struct_size;            /* sizeof(ftk_controller_draft), the same in every element of an array */
    int32_t source;                  /* FTK_CONTROLLER_SOURCE_*; NONE has no features */
    const ftk_controller_feature *features;
    size_t feature_count;            /* drafted tokens, at most 1024 */
} ftk_controller_draft;

/* A request that decodes. */
typedef struct ftk_controller_request {
    uint32_t struct_size;            /* sizeof(ftk_controller_request), the same in every element of an array */
    uint32_t is_peculiar;            /* 1: penalties or a grammar bend its distribution, and teach nothing about others */
    uint64_t id;                     /* no two of a step have the same */
    uint64_t context_tokens;         /* that each of its rows attends to, at most 2^30 */
    uint64_t room_tokens;            /* the most drafted tokens that are of use and that fit, at most 2^30 */
    uint64_t draft_backlog_tokens;   /* tokens that the draft model has yet to see, the latest included; 0: it cannot draft */
    uint64_t remaining_tokens;       /* that the request may still get, at most 2^30 + 1; 0: room_tokens and one more */
    double needed_tokens;            /* that the step has to give for the request to keep its target; 0: none */
    double target_tpot_us;           /* time that a token may take; 0: none */
    const ftk_controller_draft *proposals;   /* what could be copied, at most one for each source */
    size_t proposal_count;
} ftk_controller_request;

typedef struct ftk_controller_step {
    uint32_t struct_size;
    uint32_t prefill_rows;           /* of prompts that the step carries too */
    uint64_t prefill_context_tokens;     /* of their requests */
    uint64_t prefill_attended_tokens;    /* summed over these rows */
    uint64_t row_budget;             /* the most drafted rows of all requests together, at most 1048576 */
    uint64_t free_tokens;            /* that the KV cache has room for; UINT64_MAX: no matter */
    double coin;                     /* in [0, 1), another in every step: it decides which drafts are tried out of turn */
    const ftk_controller_request *requests;
    size_t request_count;            /* 1 to 65536 */
} ftk_controller_step;

typedef struct ftk_controller_wish {
    int32_t source;                  /* FTK_CONTROLLER_SOURCE_* */
    uint32_t length;                 /* the most tokens; of a proposal the first ones */
    int32_t limit;                   /* FTK_CONTROLLER_LIMIT_*: why it is not more */
} ftk_controller_wish;

/* Begins a step. wish_count must be the step's request_count. */
ftk_status ftk_controller_begin(ftk_controller *controller, const ftk_controller_step *step,
                                ftk_controller_wish *wishes, size_t wish_count);

/* `drafts` are what was drafted so far, of the source and at most of the length that was wished for. A request goes on where
 * goes_on is 1; one that once did not is done. The first pass needs no answer: it is for all that wish for the model. */
ftk_status ftk_controller_extend(ftk_controller *controller, const ftk_controller_draft *drafts, size_t draft_count,
                                 uint32_t *goes_on);

/* `drafts` are complete, those that are copied too. The first `lengths` tokens of each are to be verified.
 *
 * Not so where tokens are drawn from a distribution and verified by a ratio test (rejection sampling or block verification): to
 * leave one out because of what was drawn bends the distribution of the text. All that was drawn is verified, its rows come off
 * row_budget before those of others, and verified_tokens says so. What limits such a draft has to be settled before the token
 * is drawn: the wish, goes_on, and a row and memory that are there for it. */
ftk_status ftk_controller_select(ftk_controller *controller, const ftk_controller_draft *drafts, size_t draft_count,
                                 uint32_t *lengths);

/* How far a proposal would have been right, whether it was used or not. */
typedef struct ftk_controller_judgement {
    uint32_t judged_tokens;          /* that can be compared with what the target gave; the last may be the first that differs */
    uint32_t accepted_tokens;
} ftk_controller_judgement;

typedef struct ftk_controller_outcome {
    uint32_t struct_size;            /* sizeof(ftk_controller_outcome), the same in every element of an array */
    uint32_t verified_tokens;        /* drafted tokens that went through the target */
    uint32_t accepted_tokens;        /* of them */
    uint32_t emitted_tokens;         /* that the request got: as a rule one more */
    uint32_t was_cut;                /* 1: the request ended within its draft, so that nothing was refused */
    uint32_t reserved;               /* 0 */
    const ftk_controller_judgement *judgements;  /* one for each of its proposals, or none */
    size_t judgement_count;
} ftk_controller_outcome;

/* A pass of the draft model. */
typedef struct ftk_controller_pass {
    uint32_t requests;
    uint32_t rows;
    uint64_t context_tokens;         /* of its requests */
    double time_us;
} ftk_controller_pass;

typedef struct ftk_controller_result {
    uint32_t struct_size;
    uint32_t reserved;               /* 0 */
    const ftk_controller_outcome *outcomes;
    size_t outcome_count;            /* the step's request_count */
    const ftk_controller_pass *draft_passes;
    size_t draft_pass_count;         /* at most 1024 */
    double draft_time_us;            /* of the draft model */
    double target_time_us;           /* of the target, with sampling */
    double step_time_us;             /* of all; 0: the sum of both */
} ftk_controller_result;

/* Ends a step: lengths, acceptance and costs are learned. */
ftk_status ftk_controller_commit(ftk_controller *controller, const ftk_controller_result *result);

/* Ends a step that failed; nothing is learned of it. */
ftk_status ftk_controller_abandon(ftk_controller *controller);

/* The request is gone, or was never known: what is known of it is dropped. Between steps or within one. */
ftk_status ftk_controller_forget(ftk_controller *controller, uint64_t id);

/* What a pass is believed to take now: of the draft model if is_draft is 1, of the target if 0. `rows` is at least 1. */
ftk_status ftk_controller_predict(const ftk_controller *controller, uint32_t is_draft, uint32_t rows,
                                  uint64_t context_tokens, uint64_t attended_tokens, double *time_us);

#ifdef __cplusplus
}
#endif

#endif /* FORETOKEN_CONTROLLER_H */
