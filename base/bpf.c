#include "base/bpf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

#define SECCOMP_DATA_SIZE 64

struct bpf_prog {
	enum bpf_kind kind;
	unsigned len;
	struct sock_filter insns[];
};

/* Is the opcode one that the interpreter has? */
static bool known_code(uint16_t code, enum bpf_kind kind)
{
	switch (code) {
	case BPF_LD | BPF_W | BPF_ABS:
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_IMM:
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
	case BPF_ALU | BPF_ADD | BPF_K:
	case BPF_ALU | BPF_ADD | BPF_X:
	case BPF_ALU | BPF_SUB | BPF_K:
	case BPF_ALU | BPF_SUB | BPF_X:
	case BPF_ALU | BPF_MUL | BPF_K:
	case BPF_ALU | BPF_MUL | BPF_X:
	case BPF_ALU | BPF_DIV | BPF_K:
	case BPF_ALU | BPF_DIV | BPF_X:
	case BPF_ALU | BPF_AND | BPF_K:
	case BPF_ALU | BPF_AND | BPF_X:
	case BPF_ALU | BPF_OR | BPF_K:
	case BPF_ALU | BPF_OR | BPF_X:
	case BPF_ALU | BPF_XOR | BPF_K:
	case BPF_ALU | BPF_XOR | BPF_X:
	case BPF_ALU | BPF_LSH | BPF_K:
	case BPF_ALU | BPF_LSH | BPF_X:
	case BPF_ALU | BPF_RSH | BPF_K:
	case BPF_ALU | BPF_RSH | BPF_X:
	case BPF_ALU | BPF_NEG:
	case BPF_MISC | BPF_TAX:
	case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K:
	case BPF_RET | BPF_A:
	case BPF_JMP | BPF_JA:
	case BPF_JMP | BPF_JEQ | BPF_K:
	case BPF_JMP | BPF_JEQ | BPF_X:
	case BPF_JMP | BPF_JGE | BPF_K:
	case BPF_JMP | BPF_JGE | BPF_X:
	case BPF_JMP | BPF_JGT | BPF_K:
	case BPF_JMP | BPF_JGT | BPF_X:
	case BPF_JMP | BPF_JSET | BPF_K:
	case BPF_JMP | BPF_JSET | BPF_X:
		return true;
	case BPF_LD | BPF_H | BPF_ABS:
	case BPF_LD | BPF_B | BPF_ABS:
	case BPF_LD | BPF_W | BPF_IND:
	case BPF_LD | BPF_H | BPF_IND:
	case BPF_LD | BPF_B | BPF_IND:
	case BPF_LDX | BPF_B | BPF_MSH:
	case BPF_ALU | BPF_MOD | BPF_K:
	case BPF_ALU | BPF_MOD | BPF_X:
		return kind == BPF_PACKET;
	default:
		return false;
	}
}

static bool insn_ok(const struct sock_filter *f, unsigned pc, unsigned len, enum bpf_kind kind)
{
	if (!known_code(f->code, kind))
		return false;
	switch (f->code) {
	case BPF_ALU | BPF_DIV | BPF_K:
	case BPF_ALU | BPF_MOD | BPF_K:
		return f->k != 0;
	case BPF_ALU | BPF_LSH | BPF_K:
	case BPF_ALU | BPF_RSH | BPF_K:
		return f->k < 32;
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
		return f->k < BPF_MEMWORDS;
	case BPF_JMP | BPF_JA:
		return f->k < len - pc - 1;
	case BPF_LD | BPF_W | BPF_ABS:
		return kind != BPF_SECCOMP || (f->k < SECCOMP_DATA_SIZE && !(f->k & 3));
	default:
		if (BPF_CLASS(f->code) == BPF_JMP)
			return pc + f->jt + 1u < len && pc + f->jf + 1u < len;
		return true;
	}
}

/* A scratch word must have been written on every path before it is read: man 7 bpf-classic's rule
 * in Linux; here words start as 0, so reading one early is harmless, but refuse it all the same. */
static bool memory_ok(const struct sock_filter *f, unsigned len)
{
	uint16_t *masks = malloc(len * sizeof(*masks));
	uint16_t valid = 0;
	bool ok = masks != NULL;

	for (unsigned i = 0; ok && i < len; i++)
		masks[i] = 0xffff;
	for (unsigned pc = 0; ok && pc < len; pc++) {
		valid &= masks[pc];
		switch (f[pc].code) {
		case BPF_ST:
		case BPF_STX:
			valid |= 1 << f[pc].k;
			break;
		case BPF_LD | BPF_MEM:
		case BPF_LDX | BPF_MEM:
			ok = valid & (1 << f[pc].k);
			break;
		case BPF_JMP | BPF_JA:
			masks[pc + 1 + f[pc].k] &= valid;
			valid = 0xffff;
			break;
		default:
			if (BPF_CLASS(f[pc].code) == BPF_JMP) {
				masks[pc + 1 + f[pc].jt] &= valid;
				masks[pc + 1 + f[pc].jf] &= valid;
				valid = 0xffff;
			}
		}
	}
	free(masks);
	return ok;
}

int bpf_prog_create(const struct sock_filter *insns, unsigned len, enum bpf_kind kind,
		    struct bpf_prog **out)
{
	struct bpf_prog *p;

	if (!insns || len == 0 || len > BPF_MAXINSNS)
		return -EINVAL;
	p = malloc(sizeof(*p) + len * sizeof(*insns));
	if (!p)
		return -ENOMEM;
	p->kind = kind;
	p->len = len;
	memcpy(p->insns, insns, len * sizeof(*insns));
	for (unsigned i = 0; i < len; i++)
		if (!insn_ok(&p->insns[i], i, len, kind))
			goto bad;
	if (BPF_CLASS(p->insns[len - 1].code) != BPF_RET || !memory_ok(p->insns, len))
		goto bad;
	*out = p;
	return 0;
bad:
	free(p);
	return -EINVAL;
}

void bpf_prog_free(struct bpf_prog *p)
{
	free(p);
}

unsigned bpf_prog_len(const struct bpf_prog *p)
{
	return p->len;
}

const struct sock_filter *bpf_prog_insns(const struct bpf_prog *p)
{
	return p->insns;
}

static bool load(const struct bpf_prog *p, const struct bpf_ops *ops, void *ctx, uint32_t off,
		 uint32_t size, uint32_t *out)
{
	if (p->kind == BPF_PACKET && off >= (uint32_t)SKF_AD_OFF)
		return ops->ancillary && ops->ancillary(ctx, off - (uint32_t)SKF_AD_OFF, out);
	return ops->load(ctx, off, size, out);
}

/* ALU step; false: division by zero ends the program. */
static bool alu(uint16_t code, uint32_t *a, uint32_t v)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		*a += v;
		break;
	case BPF_SUB:
		*a -= v;
		break;
	case BPF_MUL:
		*a *= v;
		break;
	case BPF_DIV:
		if (!v)
			return false;
		*a /= v;
		break;
	case BPF_MOD:
		if (!v)
			return false;
		*a %= v;
		break;
	case BPF_AND:
		*a &= v;
		break;
	case BPF_OR:
		*a |= v;
		break;
	case BPF_XOR:
		*a ^= v;
		break;
	case BPF_LSH:
		*a <<= v & 31;
		break;
	case BPF_RSH:
		*a >>= v & 31;
		break;
	case BPF_NEG:
		*a = -*a;
		break;
	}
	return true;
}

static bool jump(uint16_t code, uint32_t a, uint32_t v)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == v;
	case BPF_JGT:
		return a > v;
	case BPF_JGE:
		return a >= v;
	default:
		return a & v;
	}
}

static uint32_t load_size(uint16_t code)
{
	return BPF_SIZE(code) == BPF_W ? 4 : BPF_SIZE(code) == BPF_H ? 2 : 1;
}

uint32_t bpf_run(const struct bpf_prog *p, const struct bpf_ops *ops, void *ctx, uint32_t len)
{
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = {0};

	for (unsigned pc = 0; pc < p->len; pc++) {
		const struct sock_filter *f = &p->insns[pc];
		uint32_t v = BPF_SRC(f->code) == BPF_X ? x : f->k, off;

		switch (BPF_CLASS(f->code)) {
		case BPF_RET:
			return BPF_RVAL(f->code) == BPF_A ? a : f->k;
		case BPF_LD:
			switch (BPF_MODE(f->code)) {
			case BPF_IMM:
				a = f->k;
				break;
			case BPF_MEM:
				a = mem[f->k];
				break;
			case BPF_LEN:
				a = len;
				break;
			case BPF_IND:
				if (__builtin_add_overflow(x, f->k, &off))
					return 0;
				if (!load(p, ops, ctx, off, load_size(f->code), &a))
					return 0;
				break;
			default:
				if (!load(p, ops, ctx, f->k, load_size(f->code), &a))
					return 0;
			}
			break;
		case BPF_LDX:
			switch (BPF_MODE(f->code)) {
			case BPF_IMM:
				x = f->k;
				break;
			case BPF_MEM:
				x = mem[f->k];
				break;
			case BPF_LEN:
				x = len;
				break;
			default: /* BPF_MSH: 4 * the low nibble, the IP header length */
				if (!load(p, ops, ctx, f->k, 1, &x))
					return 0;
				x = (x & 0xf) << 2;
			}
			break;
		case BPF_ST:
			mem[f->k] = a;
			break;
		case BPF_STX:
			mem[f->k] = x;
			break;
		case BPF_ALU:
			if (!alu(f->code, &a, v))
				return 0;
			break;
		case BPF_JMP:
			if (BPF_OP(f->code) == BPF_JA)
				pc += f->k;
			else
				pc += jump(f->code, a, v) ? f->jt : f->jf;
			break;
		case BPF_MISC:
			if (BPF_MISCOP(f->code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		}
	}
	return 0;
}

bool bpf_constant(const struct bpf_prog *p, const uint32_t *data, unsigned known, uint32_t *value)
{
	const struct sock_filter *f = p->insns;
	uint32_t a = 0;

	for (;; f++) {
		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (f->k / 4 >= known)
				return false;
			a = data[f->k / 4];
			break;
		case BPF_RET | BPF_K:
			*value = f->k;
			return true;
		case BPF_JMP | BPF_JA:
			f += f->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			f += a == f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			f += a > f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			f += a >= f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			f += a & f->k ? f->jt : f->jf;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= f->k;
			break;
		default:
			return false;
		}
	}
}
