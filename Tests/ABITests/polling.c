/*
 * Counts the bytes that polling allocates, by standing in for malloc.
 *
 *     polling MODEL
 *
 * Prints the tokens that came, and the most bytes that were allocated to poll and read the events of one step.
 */
#include <foretoken/foretoken.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static size_t allocated;

void *malloc(size_t size) {
    allocated += size;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocated += count * size;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    allocated += size;
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    allocated += size;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    allocated += size;
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}

static void must(ftk_status status, const char *what) {
    if (status >= 0) return;
    fprintf(stderr, "%s: %s (%s)\n", what, ftk_last_error(), ftk_status_string(status));
    exit(EXIT_FAILURE);
}

/* Reads everything that waits; the number of tokens. */
static size_t read_events(ftk_engine *engine) {
    ftk_event_batch *batch;
    size_t tokens = 0, i;
    must(ftk_poll(engine, 0, &batch), "ftk_poll");
    for (i = 0; i < ftk_event_batch_count(batch); i++) {
        ftk_event event = {0};
        event.struct_size = sizeof event;
        must(ftk_event_batch_at(batch, i, &event), "ftk_event_batch_at");
        tokens += event.token_count;
    }
    ftk_event_batch_free(batch);
    return tokens;
}

int main(int argc, char **argv) {
    ftk_model *model;
    ftk_engine *engine;
    ftk_engine_options options;
    ftk_request_options request;
    uint64_t id;
    size_t tokens, most = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return EXIT_FAILURE;
    }
    must(ftk_model_open(argv[1], NULL, &model), "ftk_model_open");
    must(ftk_engine_options_init(&options), "ftk_engine_options_init");
    options.threads = 1; /* none that allocates meanwhile */
    must(ftk_engine_create(model, &options, &engine), "ftk_engine_create");
    must(ftk_request_options_init(&request), "ftk_request_options_init");
    request.prompt = "x";
    request.prompt_bytes = 1;
    request.max_tokens = 50;
    request.ignore_eos = 1;
    request.logprobs = 2;
    must(ftk_submit(engine, &request, &id), "ftk_submit");
    /* The first step makes the caches of the language runtime. */
    must(ftk_engine_step(engine), "ftk_engine_step");
    tokens = read_events(engine);
    while (ftk_engine_step(engine) == FTK_OK) {
        size_t before = allocated;
        tokens += read_events(engine);
        if (allocated - before > most) most = allocated - before;
    }
    printf("%zu tokens, at most %zu bytes\n", tokens, most);
    ftk_engine_destroy(engine);
    ftk_model_release(model);
    return EXIT_SUCCESS;
}
