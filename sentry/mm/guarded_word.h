/*
 * Words of mapped files, changed by the sentry itself. The file may be truncated at any moment, by
 * a guest or on the host; touching it then raises SIGBUS, which must not be the sentry's end.
 */
#ifndef MOAT_SENTRY_MM_GUARDED_WORD_H
#define MOAT_SENTRY_MM_GUARDED_WORD_H

#include <stdbool.h>
#include <stdint.h>

/* If *word is *expected, makes it `desired` in one step: 0. Otherwise -EAGAIN and *expected is what
 * it was. -EFAULT: there is no memory at word. word is aligned and in a mapping of a file. */
int guarded_cmpxchg(uint32_t *word, uint32_t *expected, uint32_t desired);

/* For the process's handler of SIGBUS: true if the fault was guarded_cmpxchg()'s, which goes on
 * with its error when the handler returns. context is the handler's third argument. */
bool guarded_word_fixup(void *context);

#endif
