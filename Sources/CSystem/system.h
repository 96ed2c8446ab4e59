/* What Swift's Glibc module does not name. */
#ifndef FORETOKEN_SYSTEM_H
#define FORETOKEN_SYSTEM_H

#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xmmintrin.h>

/* A non-blocking event counter that a child of exec does not inherit; -1 with errno on failure. */
static inline int system_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

/* The floating-point state of this thread: rounding, and how subnormals are treated. */
static inline unsigned system_float_state(void) { return _mm_getcsr(); }
static inline void system_set_float_state(unsigned state) { _mm_setcsr(state); }

/* Sleeps while `word` holds `seen`; may wake for nothing. Threads of this process only. */
static inline void system_sleep_while(const void *word, uint32_t seen) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, 0, 0, 0);
}
static inline void system_wake_all(const void *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0); }

/* Tells the processor that this is a waiting loop. */
static inline void system_pause(void) { _mm_pause(); }

/* Asks for large pages; only speed depends on the answer. */
static inline void system_prefer_large_pages(void *start, size_t length) { madvise(start, length, MADV_HUGEPAGE); }

#endif
