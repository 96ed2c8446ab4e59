/* Linux calls that Swift's Glibc module does not name. */
#ifndef FORETOKEN_SYSTEM_H
#define FORETOKEN_SYSTEM_H

#include <sys/eventfd.h>

/* A non-blocking event counter that a child of exec does not inherit; -1 with errno on failure. */
static inline int system_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

#endif
