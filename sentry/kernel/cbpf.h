/* Classic BPF programs (Linux: Documentation/networking/filter.rst), for seccomp. */
#ifndef MOAT_SENTRY_KERNEL_CBPF_H
#define MOAT_SENTRY_KERNEL_CBPF_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

/* May it be run over `words` 32-bit words of data: every instruction known, every jump forward and
 * inside, no word of scratch memory read before it is written, and the end a return? BPF_LD | BPF_W
 * | BPF_ABS reads words in the machine's byte order, at aligned offsets. */
bool cbpf_check(const struct sock_filter *prog, unsigned len, unsigned words);
/* The value that a checked program returns. */
uint32_t cbpf_run(const struct sock_filter *prog, const uint32_t *data, unsigned words);
/* Does it return *value for all data that begin with these `known` words? False also if this cannot
 * be told simply. */
bool cbpf_constant(const struct sock_filter *prog, const uint32_t *data, unsigned known,
		   uint32_t *value);

#endif
