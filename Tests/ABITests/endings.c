/*
 * Creates engines, lets each work for a random while on random requests, and destroys it wherever it is.
 *
 *     endings MODEL ROUNDS SEED
 *
 * Afterwards there must be as many descriptors and threads as before. What leaks is for valgrind to find.
 */
#define _POSIX_C_SOURCE 200809L
#include <foretoken/foretoken.h>

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_REQUESTS = 5, CHECKED = 1000000 };

static uint64_t state;

/* SplitMix64: from 0 to `below` - 1, the same numbers for the same seed. */
static uint32_t below(uint32_t bound) {
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) % bound);
}

static void must(ftk_status status, const char *what) {
    if (status >= 0) return;
    fprintf(stderr, "%s: %s (%s)\n", what, ftk_last_error(), ftk_status_string(status));
    exit(EXIT_FAILURE);
}

static int entries(const char *folder) {
    DIR *directory = opendir(folder);
    int count = 0;
    if (directory == NULL) {
        perror(folder);
        exit(EXIT_FAILURE);
    }
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}

/* A thread that was joined may be listed for a moment longer. */
static int entries_once_at(const char *folder, int expected) {
    int tries, count = entries(folder);
    for (tries = 0; count != expected && tries < CHECKED; tries++) {
        sched_yield();
        count = entries(folder);
    }
    return count;
}

static ftk_engine *create(ftk_model *model, uint32_t round) {
    static const int32_t policies[] = {FTK_POLICY_OFF, FTK_POLICY_STATIC, FTK_POLICY_STATIC, FTK_POLICY_GOODPUT};
    ftk_engine_options options;
    ftk_engine *engine;
    must(ftk_engine_options_init(&options), "ftk_engine_options_init");
    options.run_mode = round % 2 == 0 ? FTK_RUN_MANUAL : FTK_RUN_BACKGROUND;
    options.policy = policies[below(4)];
    options.tree_width = options.policy == FTK_POLICY_STATIC ? 1 + below(2) : 0;
    options.draft_model = below(4) == 0 ? model : NULL;
    options.threads = 1 + below(2);
    options.context_tokens = 128;
    options.kv_budget_bytes = 1 << 21;
    options.max_running_requests = 1 + below(4);
    options.max_step_tokens = 32;
    must(ftk_engine_create(model, &options, &engine), "ftk_engine_create");
    return engine;
}

static uint64_t submit(ftk_engine *engine) {
    static const char *const prompts[] = {"x = 1\n", "def main():", "import os\nimport sys\n\n\nclass Reader:\n    def "};
    static const char *const stops[] = {"\n\n", "return"};
    ftk_request_options request;
    uint64_t id;
    must(ftk_request_options_init(&request), "ftk_request_options_init");
    request.prompt = prompts[below(3)];
    request.prompt_bytes = strlen(request.prompt);
    request.max_tokens = (int32_t)(1 + below(40));
    request.temperature = below(2) == 0 ? 0 : 0.8f;
    request.seed = below(100);
    if (below(3) == 0) {
        request.stop = stops;
        request.stop_count = 2;
    }
    if (below(3) == 0) request.logprobs = 2;
    if (below(4) == 0) request.prompt_logprobs = 1;
    if (below(4) == 0) request.grammar = "root ::= \"a\" [b-y ]* \"z\"";
    if (below(3) == 0) request.repetition_penalty = 1.2f;
    if (below(2) == 0) request.verification = below(2) == 0 ? FTK_VERIFICATION_REJECTION : FTK_VERIFICATION_BLOCK;
    must(ftk_submit(engine, &request, &id), "ftk_submit");
    return id;
}

/* A draft of the host; the request may have finished. */
static void offer(ftk_engine *engine, uint64_t id) {
    int32_t tokens[8];
    uint32_t count = below(9), i;
    ftk_status status;
    for (i = 0; i < count; i++) tokens[i] = (int32_t)below(300);
    status = ftk_request_draft(engine, id, below(16), tokens, count);
    if (status != FTK_ERROR_NOT_FOUND) must(status, "ftk_request_draft");
}

/* A batch outlives its engine, so one of them is freed only after it. */
static ftk_event_batch *work(ftk_engine *engine, int in_background) {
    uint64_t ids[MOST_REQUESTS];
    uint32_t requests = below(MOST_REQUESTS + 1), steps = below(8), i;
    ftk_event_batch *kept = NULL;
    for (i = 0; i < requests; i++) ids[i] = submit(engine);
    for (i = 0; i < steps; i++) {
        ftk_event_batch *batch;
        if (requests > 0 && below(2) == 0) offer(engine, ids[below(requests)]);
        if (!in_background) must(ftk_engine_step(engine), "ftk_engine_step");
        if (requests > 0 && below(6) == 0) (void)ftk_cancel(engine, ids[below(requests)]); /* it may have finished */
        if (below(2) == 0) continue;
        must(ftk_poll(engine, in_background ? (int64_t)below(300) : 0, &batch), "ftk_poll");
        if (batch == NULL) continue;
        ftk_event_batch_free(kept);
        kept = batch;
    }
    return kept;
}

int main(int argc, char **argv) {
    ftk_model *model;
    uint32_t rounds, round;
    int descriptors, threads, left;

    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL ROUNDS SEED\n", argv[0]);
        return EXIT_FAILURE;
    }
    rounds = (uint32_t)atoi(argv[2]);
    state = (uint64_t)atoi(argv[3]);
    must(ftk_model_open(argv[1], NULL, &model), "ftk_model_open");
    descriptors = entries("/proc/self/fd");
    threads = entries("/proc/self/task");
    for (round = 0; round < rounds; round++) {
        ftk_engine *engine = create(model, round);
        ftk_event_batch *batch = work(engine, round % 2 == 1);
        ftk_engine_destroy(engine);
        ftk_event_batch_free(batch);
    }
    left = entries_once_at("/proc/self/task", threads) - threads;
    printf("%" PRIu32 " engines, %d descriptors and %d threads left\n", rounds,
           entries("/proc/self/fd") - descriptors, left);
    ftk_model_release(model);
    return EXIT_SUCCESS;
}
