/*
 * Classic BPF: checking and running filter programs, for socket filters and seccomp. Programs come
 * from guests: bpf_prog_create checks every instruction, bpf_run always ends (jumps go forward).
 */
#ifndef MOAT_BASE_BPF_H
#define MOAT_BASE_BPF_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

struct bpf_prog;

enum bpf_kind {
	BPF_PACKET,  /* socket filter: big-endian packet bytes, ancillary loads */
	BPF_SECCOMP, /* loads are 32-bit words of struct seccomp_data, host order, aligned */
};

/* Offsets of loads relative to the link and network header (SKF_LL_OFF, SKF_NET_OFF). */
#define BPF_FROM_LL ((uint32_t)SKF_LL_OFF)
#define BPF_FROM_NET ((uint32_t)SKF_NET_OFF)

/*
 * How a program reads its input. load: `size` is 1, 2 or 4; off may be in the SKF_LL_OFF or
 * SKF_NET_OFF range; false ends the program with result 0. ancillary: SKF_AD_* (packets only; may
 * be NULL).
 */
struct bpf_ops {
	bool (*load)(void *ctx, uint32_t off, uint32_t size, uint32_t *out);
	bool (*ancillary)(void *ctx, uint32_t what, uint32_t *out);
};

/* Checks and copies a program of 1..4096 instructions. -EINVAL, -ENOMEM. */
int bpf_prog_create(const struct sock_filter *insns, unsigned len, enum bpf_kind kind,
		    struct bpf_prog **out);
void bpf_prog_free(struct bpf_prog *p);
unsigned bpf_prog_len(const struct bpf_prog *p);
const struct sock_filter *bpf_prog_insns(const struct bpf_prog *p);
/* The program's return value. len is what BPF_LEN loads. */
uint32_t bpf_run(const struct bpf_prog *p, const struct bpf_ops *ops, void *ctx, uint32_t len);
/* Does a seccomp program return *value for all data that begin with these `known` words? False also
 * where this cannot be told simply. */
bool bpf_constant(const struct bpf_prog *p, const uint32_t *data, unsigned known, uint32_t *value);

#endif
