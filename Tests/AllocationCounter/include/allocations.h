/* Counts the allocations of this process, by standing in for the C library's functions. */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

/* Starts to count at 0. */
void allocations_start(void);
/* How many there were, of all threads, since then. */
long allocations_counted(void);

#endif
