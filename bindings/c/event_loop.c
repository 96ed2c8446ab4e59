/*
 * Two engines in one event loop, next to a timer and Ctrl-C: how a server that waits with epoll(7) uses the library. The
 * engines work in threads of their own; this thread only waits, reads what is ready, and never blocks in the library.
 *
 *     cc event_loop.c $(pkg-config --cflags --libs foretoken) -o event_loop
 *     ./event_loop model.gguf [TOKENS]
 *
 * Copyright (c) 2026 The Foretoken Authors. Licensed under the Apache License, Version 2.0.
 */
#define _POSIX_C_SOURCE 200809L
#include <foretoken/foretoken.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* What the loop waits for; each engine has one descriptor, however many requests it runs. */
enum { ENGINES = 2, TIMER = ENGINES, SIGNALS, SOURCES };

/* One request, on an engine of its own. */
typedef struct text_stream {
    const char *name;
    const char *prompt;
    ftk_engine *engine;
    uint64_t id;
} text_stream;

typedef struct host {
    text_stream streams[ENGINES];
    int descriptors[SOURCES]; /* those of the engines belong to the engines: never read, written or closed here */
    int loop;
    int live; /* requests that have not finished */
    unsigned long ticks;
} host;

static int failed(const char *what, ftk_status status) {
    fprintf(stderr, "%s: %s (%s)\n", what, ftk_last_error(), ftk_status_string(status));
    return EXIT_FAILURE;
}

static int failed_call(const char *what) {
    perror(what);
    return EXIT_FAILURE;
}

static const char *reason(const ftk_event *event) {
    switch (event->finish_reason) {
    case FTK_FINISH_CANCELLED: return "cancelled";
    case FTK_FINISH_ERROR: return event->error_text;
    default: return "complete";
    }
}

static void print_event(const text_stream *stream, const ftk_event *event) {
    size_t i;
    if (event->text_bytes > 0) {
        printf("[%s] ", stream->name);
        for (i = 0; i < event->text_bytes; i++) {
            if (event->text[i] == '\n') {
                fputs("\\n", stdout);
            } else {
                putchar(event->text[i]);
            }
        }
        putchar('\n');
    }
    if (event->kind == FTK_EVENT_FINISH) {
        printf("[%s] %s after %" PRIu32 " tokens\n", stream->name, reason(event), event->stats->completion_tokens);
    }
    fflush(stdout);
}

/* Takes all events that wait, which also makes the descriptor unreadable until there are new ones. */
static int read_events(host *self, text_stream *stream) {
    ftk_event_batch *batch;
    ftk_status status = ftk_poll(stream->engine, 0, &batch); /* 0: does not wait */
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
        /* A host with many requests for each engine finds its own object in event.user_data. */
        print_event(stream, &event);
        if (event.kind == FTK_EVENT_FINISH) {
            self->live -= 1;
            if (event.finish_reason == FTK_FINISH_ERROR) result = EXIT_FAILURE;
        }
    }
    ftk_event_batch_free(batch);
    return result;
}

/* The loop goes on until every request has said that it has finished, which takes one step at most. */
static int cancel_all(host *self) {
    int i;
    for (i = 0; i < ENGINES; i++) {
        ftk_status status = ftk_cancel(self->streams[i].engine, self->streams[i].id);
        /* The finish event of a request that is not found any more is on its way, or was read already. */
        if (status < 0 && status != FTK_ERROR_NOT_FOUND) return failed("ftk_cancel", status);
    }
    return EXIT_SUCCESS;
}

static int handle(host *self, uint32_t source) {
    if (source < ENGINES) return read_events(self, &self->streams[source]);
    if (source == TIMER) {
        uint64_t expirations;
        if (read(self->descriptors[TIMER], &expirations, sizeof expirations) < 0) return failed_call("read");
        self->ticks += expirations;
        return EXIT_SUCCESS;
    } else {
        struct signalfd_siginfo signal;
        if (read(self->descriptors[SIGNALS], &signal, sizeof signal) < 0) return failed_call("read");
        return cancel_all(self);
    }
}

static int run_loop(host *self) {
    while (self->live > 0) {
        struct epoll_event ready[SOURCES];
        int count = epoll_wait(self->loop, ready, SOURCES, -1);
        int i;
        if (count < 0 && errno != EINTR) return failed_call("epoll_wait");
        for (i = 0; i < count; i++) {
            if (handle(self, ready[i].data.u32) != EXIT_SUCCESS) return EXIT_FAILURE;
        }
    }
    printf("loop: %lu ticks of the timer\n", self->ticks);
    return EXIT_SUCCESS;
}

static int open_engine(host *self, int index, ftk_model *model) {
    text_stream *stream = &self->streams[index];
    ftk_engine_options options;
    int32_t descriptor;
    ftk_status status = ftk_engine_options_init(&options);
    if (status < 0) return failed("ftk_engine_options_init", status);
    options.run_mode = FTK_RUN_BACKGROUND;
    options.threads = 1; /* engines that work at the same time share the processors */
    status = ftk_engine_create(model, &options, &stream->engine);
    if (status < 0) return failed("ftk_engine_create", status);
    status = ftk_engine_event_fd(stream->engine, &descriptor);
    if (status < 0) return failed("ftk_engine_event_fd", status);
    self->descriptors[index] = descriptor;
    return EXIT_SUCCESS;
}

static int submit(host *self, text_stream *stream, int32_t tokens) {
    ftk_request_options request;
    ftk_status status = ftk_request_options_init(&request);
    if (status < 0) return failed("ftk_request_options_init", status);
    request.prompt = stream->prompt;
    request.prompt_bytes = strlen(stream->prompt);
    request.max_tokens = tokens;
    request.temperature = 0;
    request.ignore_eos = 1;
    status = ftk_submit(stream->engine, &request, &stream->id);
    if (status < 0) return failed("ftk_submit", status);
    self->live += 1;
    return EXIT_SUCCESS;
}

/* The host's own sources: a timer that ticks every 5 ms, and Ctrl-C. */
static int open_sources(host *self, const sigset_t *signals) {
    struct itimerspec every = {{0, 5000000}, {0, 5000000}};
    uint32_t i;
    self->descriptors[TIMER] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (self->descriptors[TIMER] < 0) return failed_call("timerfd_create");
    if (timerfd_settime(self->descriptors[TIMER], 0, &every, NULL) < 0) return failed_call("timerfd_settime");
    self->descriptors[SIGNALS] = signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (self->descriptors[SIGNALS] < 0) return failed_call("signalfd");
    self->loop = epoll_create1(EPOLL_CLOEXEC);
    if (self->loop < 0) return failed_call("epoll_create1");
    for (i = 0; i < SOURCES; i++) {
        struct epoll_event event = {0};
        event.events = EPOLLIN; /* level-triggered: readable while events wait */
        event.data.u32 = i;
        if (epoll_ctl(self->loop, EPOLL_CTL_ADD, self->descriptors[i], &event) < 0) return failed_call("epoll_ctl");
    }
    return EXIT_SUCCESS;
}

static int run(host *self, ftk_model *model, int32_t tokens) {
    sigset_t signals;
    int i;
    /* Blocked before the engines start their threads, which inherit this: else one of them could get the signal. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0) return failed_call("sigprocmask");
    for (i = 0; i < ENGINES; i++) {
        if (open_engine(self, i, model) != EXIT_SUCCESS) return EXIT_FAILURE;
    }
    if (open_sources(self, &signals) != EXIT_SUCCESS) return EXIT_FAILURE;
    for (i = 0; i < ENGINES; i++) {
        if (submit(self, &self->streams[i], tokens) != EXIT_SUCCESS) return EXIT_FAILURE;
    }
    return run_loop(self);
}

int main(int argc, char **argv) {
    host self = {{{"main", "def main():", NULL, 0}, {"class", "class Stack:\n    def __init__(self):\n", NULL, 0}},
                 {-1, -1, -1, -1}, -1, 0, 0};
    ftk_model *model;
    ftk_status status;
    int result, i;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s MODEL [TOKENS]\n", argv[0]);
        return EXIT_FAILURE;
    }
    status = ftk_model_open(argv[1], NULL, &model);
    if (status < 0) return failed("ftk_model_open", status);
    result = run(&self, model, argc == 3 ? atoi(argv[2]) : 48);
    /* The loop lets go of the descriptors before the engines that they belong to end. */
    if (self.loop >= 0) close(self.loop);
    for (i = ENGINES; i < SOURCES; i++) {
        if (self.descriptors[i] >= 0) close(self.descriptors[i]);
    }
    for (i = 0; i < ENGINES; i++) ftk_engine_destroy(self.streams[i].engine);
    ftk_model_release(model);
    return result;
}
