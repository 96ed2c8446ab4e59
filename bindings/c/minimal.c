/*
 * The smallest complete host: one request, stepped by hand, printed when it has finished.
 *
 *     cc minimal.c $(pkg-config --cflags --libs foretoken) -o minimal
 *     ./minimal model.gguf "def main():"
 *
 * Copyright (c) 2026 The Foretoken Authors. Licensed under the Apache License, Version 2.0.
 */
#include <foretoken/foretoken.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what, ftk_status status) {
    fprintf(stderr, "%s: %s (%s)\n", what, ftk_last_error(), ftk_status_string(status));
    return EXIT_FAILURE;
}

/* Prints the text of all waiting events. */
static int print_events(ftk_engine *engine) {
    ftk_event_batch *batch;
    ftk_status status = ftk_poll(engine, 0, &batch);
    int result = EXIT_SUCCESS;
    size_t i;

    if (status < 0) return failed("ftk_poll", status);
    for (i = 0; i < ftk_event_batch_count(batch); i++) {
        ftk_event event = {0};
        event.struct_size = sizeof event;
        status = ftk_event_batch_at(batch, i, &event);
        if (status < 0) {
            result = failed("ftk_event_batch_at", status);
            break;
        }
        fwrite(event.text, 1, event.text_bytes, stdout);
        if (event.kind == FTK_EVENT_FINISH && event.finish_reason == FTK_FINISH_ERROR) {
            fprintf(stderr, "the request failed: %s (%s)\n", event.error_text, ftk_status_string(event.error));
            result = EXIT_FAILURE;
        }
    }
    ftk_event_batch_free(batch);
    return result;
}

static int generate(ftk_engine *engine, const char *prompt) {
    ftk_request_options request;
    uint64_t id;
    ftk_status status = ftk_request_options_init(&request);
    if (status < 0) return failed("ftk_request_options_init", status);
    request.prompt = prompt;
    request.prompt_bytes = strlen(prompt);
    request.max_tokens = 24;
    request.temperature = 0;
    status = ftk_submit(engine, &request, &id);
    if (status < 0) return failed("ftk_submit", status);

    while ((status = ftk_engine_step(engine)) == FTK_OK) {
        if (print_events(engine) != EXIT_SUCCESS) return EXIT_FAILURE;
    }
    if (status < 0) return failed("ftk_engine_step", status);
    putchar('\n');
    return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    ftk_model *model;
    ftk_engine *engine;
    ftk_status status;
    int result;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s MODEL [PROMPT]\n", argv[0]);
        return EXIT_FAILURE;
    }
    status = ftk_model_open(argv[1], NULL, &model);
    if (status < 0) return failed("ftk_model_open", status);
    status = ftk_engine_create(model, NULL, &engine);
    ftk_model_release(model); /* the engine keeps it alive */
    if (status < 0) return failed("ftk_engine_create", status);

    result = generate(engine, argc == 3 ? argv[2] : "def main():");
    ftk_engine_destroy(engine);
    return result;
}
