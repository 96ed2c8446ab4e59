/* What Swift's Glibc module does not name. */
#ifndef FORETOKEN_SYSTEM_H
#define FORETOKEN_SYSTEM_H

#include <sys/eventfd.h>
#include <xmmintrin.h>

/* A non-blocking event counter that a child of exec does not inherit; -1 with errno on failure. */
static inline int system_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

/* The floating-point state of this thread: rounding, and how subnormals are treated. */
static inline unsigned system_float_state(void) { return _mm_getcsr(); }
static inline void system_set_float_state(unsigned state) { _mm_setcsr(state); }

#endif
