/* Counts the allocations of some threads, by standing in for the C library's functions. */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

/* From now on the calling thread is counted, and the threads that it starts, and those that they start. Not the others:
   what the system's own threads allocate, and when, is no matter of the code under test. */
void allocations_watch(void);
/* Starts to count at 0. */
void allocations_start(void);
/* How many there were, of the threads that are watched, since then. */
long allocations_counted(void);

#endif
