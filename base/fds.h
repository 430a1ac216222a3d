/* Descriptors that were inherited. */
#ifndef MOAT_BASE_FDS_H
#define MOAT_BASE_FDS_H

/* Closes every fd but 0, 1, 2 and those listed (any order; negative ones are skipped). */
void fds_close_others(const int *keep, int n);

#endif
