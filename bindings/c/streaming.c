/*
 * Two requests at once on an engine that works in the background, their text printed as it comes, driven by poll(2):
 * the way a host with an event loop of its own uses the library.
 *
 *     cc streaming.c $(pkg-config --cflags --libs foretoken) -o streaming
 *     ./streaming target.gguf [draft.gguf]
 *
 * With a draft model its drafts are verified by the target, without one what the text itself repeats. The text is the
 * same either way; only the speed changes.
 *
 * Copyright (c) 2026 The Foretoken Authors. Licensed under the Apache License, Version 2.0.
 */
#define _POSIX_C_SOURCE 200809L
#include <foretoken/foretoken.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUESTS = 2 };

/* One request as the host sees it; ftk_event.user_data leads back to it. */
typedef struct text_stream {
    const char *name;
    const char *prompt;
} text_stream;

static int failed(const char *what, ftk_status status) {
    fprintf(stderr, "%s: %s (%s)\n", what, ftk_last_error(), ftk_status_string(status));
    return EXIT_FAILURE;
}

static void print_text(const text_stream *stream, const ftk_event *event) {
    size_t i;
    if (event->text_bytes == 0) return;
    printf("[%s] ", stream->name);
    for (i = 0; i < event->text_bytes; i++) {
        if (event->text[i] == '\n') {
            fputs("\\n", stdout);
        } else {
            putchar(event->text[i]);
        }
    }
    putchar('\n');
    fflush(stdout);
}

static int print_finish(const text_stream *stream, const ftk_event *event) {
    const ftk_request_stats *stats = event->stats;
    if (event->finish_reason == FTK_FINISH_ERROR) {
        fprintf(stderr, "[%s] failed: %s (%s)\n", stream->name, event->error_text, ftk_status_string(event->error));
        return EXIT_FAILURE;
    }
    printf("[%s] finished: %" PRIu32 " tokens in %" PRIu32 " passes, %" PRIu32 " of %" PRIu32 " drafted tokens accepted, "
           "first token after %" PRId64 " us, then %" PRId64 " us each\n",
           stream->name, stats->completion_tokens, stats->steps, stats->accepted_tokens, stats->draft_tokens,
           stats->ttft_us, stats->tpot_us);
    return EXIT_SUCCESS;
}

/* Handles all waiting events; counts the requests that they finish. */
static int handle_events(ftk_engine *engine, int *finished) {
    ftk_event_batch *batch;
    ftk_status status = ftk_poll(engine, 0, &batch);
    int result = EXIT_SUCCESS;
    size_t i;

    if (status < 0) return failed("ftk_poll", status);
    for (i = 0; i < ftk_event_batch_count(batch) && result == EXIT_SUCCESS; i++) {
        ftk_event event = {0};
        text_stream *stream;
        event.struct_size = sizeof event;
        status = ftk_event_batch_at(batch, i, &event);
        if (status < 0) {
            result = failed("ftk_event_batch_at", status);
            break;
        }
        stream = event.user_data;
        print_text(stream, &event);
        if (event.kind == FTK_EVENT_FINISH) {
            result = print_finish(stream, &event);
            *finished += 1;
        }
    }
    ftk_event_batch_free(batch);
    return result;
}

static int submit(ftk_engine *engine, text_stream *stream) {
    ftk_request_options request;
    uint64_t id;
    ftk_status status = ftk_request_options_init(&request);
    if (status < 0) return failed("ftk_request_options_init", status);
    request.prompt = stream->prompt;
    request.prompt_bytes = strlen(stream->prompt);
    request.max_tokens = 32;
    request.temperature = 0;
    request.user_data = stream;
    status = ftk_submit(engine, &request, &id);
    return status < 0 ? failed("ftk_submit", status) : EXIT_SUCCESS;
}

static int print_stats(ftk_engine *engine) {
    ftk_engine_stats stats = {0};
    ftk_status status;
    stats.struct_size = sizeof stats;
    status = ftk_engine_get_stats(engine, &stats);
    if (status < 0) return failed("ftk_engine_get_stats", status);
    printf("engine: %" PRIu64 " requests, %" PRIu64 " tokens in %" PRIu64 " target passes and %" PRIu64
           " draft passes, %" PRIu64 " of %" PRIu64 " drafted tokens accepted\n",
           stats.finished_requests, stats.emitted_tokens, stats.target_passes, stats.draft_passes,
           stats.num_accepted_tokens, stats.num_draft_tokens);
    return EXIT_SUCCESS;
}

static int run(ftk_engine *engine) {
    text_stream streams[REQUESTS] = {{"main", "def main():"}, {"class", "class Stack:\n    def __init__(self):\n"}};
    struct pollfd waiting = {0};
    int32_t descriptor;
    int finished = 0;
    int i;
    ftk_status status = ftk_engine_event_fd(engine, &descriptor);
    if (status < 0) return failed("ftk_engine_event_fd", status);
    for (i = 0; i < REQUESTS; i++) {
        if (submit(engine, &streams[i]) != EXIT_SUCCESS) return EXIT_FAILURE;
    }
    waiting.fd = descriptor;
    waiting.events = POLLIN;
    while (finished < REQUESTS) {
        if (poll(&waiting, 1, -1) < 0 && errno != EINTR) {
            perror("poll");
            return EXIT_FAILURE;
        }
        if (handle_events(engine, &finished) != EXIT_SUCCESS) return EXIT_FAILURE;
    }
    return print_stats(engine);
}

int main(int argc, char **argv) {
    ftk_model *target = NULL;
    ftk_model *draft = NULL;
    ftk_engine *engine = NULL;
    ftk_engine_options options;
    ftk_status status;
    int result = EXIT_FAILURE;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s TARGET [DRAFT]\n", argv[0]);
        return EXIT_FAILURE;
    }
    status = ftk_model_open(argv[1], NULL, &target);
    if (status < 0) {
        failed("ftk_model_open", status);
        goto done;
    }
    if (argc == 3) {
        status = ftk_model_open(argv[2], NULL, &draft);
        if (status < 0) {
            failed("ftk_model_open", status);
            goto done;
        }
    }
    status = ftk_engine_options_init(&options);
    if (status < 0) {
        failed("ftk_engine_options_init", status);
        goto done;
    }
    options.run_mode = FTK_RUN_BACKGROUND;
    options.policy = FTK_POLICY_STATIC;
    options.draft_model = draft;
    status = ftk_engine_create(target, &options, &engine);
    if (status < 0) {
        failed("ftk_engine_create", status);
        goto done;
    }
    result = run(engine);
done:
    ftk_engine_destroy(engine);
    ftk_model_release(draft);
    ftk_model_release(target);
    return result;
}
